package main

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// info is lumera.lumeraid.HandshakeInfo (§3.2).
type info struct {
	address    string
	peerType   int32
	publicKey  []byte
	accountKey []byte // serialized google.protobuf.Any
	curve      string
}

// encode writes ascending fields and omits empty ones, as Go does.
func (i info) encode() []byte {
	out := putBytes(nil, 1, []byte(i.address))
	if i.peerType != 0 {
		out = append(out, 2<<3)
		out = binary.AppendUvarint(out, uint64(int64(i.peerType)))
	}
	out = putBytes(out, 3, i.publicKey)
	out = putBytes(out, 4, i.accountKey)
	return putBytes(out, 5, []byte(i.curve))
}

func parseInfo(block []byte) (i info, err error) {
	err = eachField(block, func(number, scalar uint64, bytes []byte) {
		switch {
		case number == 2 && bytes == nil:
			i.peerType = int32(scalar)
		case bytes == nil: // no other field of ours is a number
		case number == 1:
			i.address = string(bytes)
		case number == 3:
			i.publicKey = bytes
		case number == 4:
			i.accountKey = bytes
		case number == 5:
			i.curve = string(bytes)
		}
	})
	return i, err
}

// any is the key as google.protobuf.Any (§3.2).
func (k accountKey) any() []byte {
	message := putBytes(nil, 1, k.point.SerializeCompressed())
	return putBytes(putBytes(nil, 1, []byte(k.kind.typeURL)), 2, message)
}

// parseAny accepts the two key types of §3.2 and nothing else.
func parseAny(raw []byte) (k accountKey, err error) {
	var url string
	var value, key []byte
	if err = eachField(raw, func(number, _ uint64, bytes []byte) {
		switch {
		case number == 1 && bytes != nil:
			url = string(bytes)
		case number == 2 && bytes != nil:
			value = bytes
		}
	}); err != nil {
		return k, err
	}
	if err = eachField(value, func(number, _ uint64, bytes []byte) {
		if number == 1 && bytes != nil {
			key = bytes
		}
	}); err != nil {
		return k, err
	}
	for _, kind := range kinds {
		if kind.typeURL == url {
			k.kind = kind
		}
	}
	if k.kind == nil {
		return k, fmt.Errorf("key type %q", url)
	}
	if len(key) != 33 {
		return k, fmt.Errorf("a key of %d bytes", len(key))
	}
	k.point, err = secp256k1.ParsePubKey(key)
	return k, err
}

// putBytes appends a length-delimited field, unless it is empty. Our numbers
// are all below 16, so the tag is one byte.
func putBytes(out []byte, number byte, value []byte) []byte {
	if len(value) == 0 {
		return out
	}
	out = append(out, number<<3|2)
	out = binary.AppendUvarint(out, uint64(len(value)))
	return append(out, value...)
}

var errProtobuf = errors.New("malformed protobuf")

// eachField walks a message; the visitor ignores the numbers it does not
// know. Length-delimited values come as bytes (never nil), varints as scalar;
// fixed-width fields are stepped over, for none of ours has that form.
func eachField(message []byte, visit func(number, scalar uint64, bytes []byte)) error {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29-1 {
			return errProtobuf
		}
		message = message[n:]
		skip := 0
		switch tag & 7 {
		case 0:
			scalar, n := binary.Uvarint(message)
			if n <= 0 {
				return errProtobuf
			}
			visit(tag>>3, scalar, nil)
			skip = n
		case 1:
			skip = 8
		case 2:
			size, n := binary.Uvarint(message)
			if n <= 0 || size > uint64(len(message)-n) {
				return errProtobuf
			}
			skip = n + int(size)
			visit(tag>>3, 0, message[n:skip:skip])
		case 5:
			skip = 4
		default: // groups were never used here
			return errProtobuf
		}
		if skip > len(message) {
			return errProtobuf
		}
		message = message[skip:]
	}
	return nil
}
