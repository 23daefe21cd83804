package main

import (
	"bytes"
	"crypto/ecdh"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"syscall"
)

// faults are the ways in which a node can be told to misbehave, so that the
// other end can be seen to refuse it, and three ways to record and replay.
type faults struct {
	curve        string
	compressed   bool
	badSignature bool
	highS        bool
	claim        string
	recordLength int64
	recordType   int64
	truncate     bool
	replay, save string
	ephemeral    *ecdh.PrivateKey
	speakFirst   bool
}

var greeting = []byte("hello")

func (f *faults) declare(flags *flag.FlagSet) {
	flags.StringVar(&f.curve, "curve", "P256", "`NAME` in the info block's curve field; the key stays on P-256")
	flags.BoolVar(&f.compressed, "compressed", false, "send the ephemeral key compressed")
	flags.BoolVar(&f.badSignature, "bad-signature", false, "sign something other than the info block")
	flags.BoolVar(&f.highS, "high-s", false, "sign with S in the upper half")
	flags.StringVar(&f.claim, "claim", "", "claim to be `ACCOUNT`, which is not the key's")
	flags.Int64Var(&f.recordLength, "record-length", -1, "after the handshake send a record of length field `L`, then nothing")
	flags.Int64Var(&f.recordType, "record-type", -1, "give all records the type `T`")
	flags.BoolVar(&f.truncate, "truncate", false, "after the handshake close in the middle of a frame")
	flags.StringVar(&f.replay, "replay", "", "send the handshake message in `FILE` in place of our own")
	flags.Func("ephemeral", "use this P-256 private key, 32 bytes in `HEX`, for every handshake: a recording can be made anew", f.useEphemeral)
	flags.StringVar(&f.save, "save", "", "write the handshake message of the peer to `FILE`")
}

func (f *faults) useEphemeral(text string) error {
	secret, err := hex.DecodeString(text)
	if err == nil {
		f.ephemeral, err = ecdh.P256().NewPrivateKey(secret)
	}
	return err
}

func (f *faults) check() error {
	if f.recordLength < -1 || f.recordLength > math.MaxUint32 || f.recordType < -1 || f.recordType > math.MaxUint32 {
		return errors.New("--record-length and --record-type are 32-bit fields")
	}
	return nil
}

// recorded is the replayed message, after a look at its lengths.
func (f *faults) recorded() ([]byte, error) {
	raw, err := os.ReadFile(f.replay)
	if err != nil {
		return nil, err
	}
	m, err := readMessage(bytes.NewReader(raw))
	if err == nil && len(m.encode()) != len(raw) {
		err = errors.New("more than one message")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.replay, err)
	}
	return raw, nil
}

func (f *faults) keep(m message) error {
	if f.save == "" {
		return nil
	}
	return os.WriteFile(f.save, m.encode(), 0o600)
}

// breaksRecords: the connection ends with a deliberately bad record.
func (f *faults) breaksRecords() bool {
	return f.truncate || f.recordLength >= 0
}

// breakRecords sends the bad record and then only listens: it returns the
// bytes the peer still sent, and how the connection ended.
func (f *faults) breakRecords(conn *wire, r *records) (received int, err error) {
	if f.truncate {
		err = sendHalf(conn, r)
	} else {
		_, err = conn.Write(badRecord(uint32(f.recordLength)))
	}
	for err == nil {
		var plaintext []byte
		plaintext, err = r.next()
		received += len(plaintext)
	}
	if closed(err) {
		return received, errors.New("bad record sent, the peer closed")
	}
	return received, fmt.Errorf("bad record sent, the peer did not close: %w", err)
}

// sendHalf stops inside an otherwise good frame. Only our half is closed, so
// that unread data of the peer cannot turn the end of stream into a reset.
func sendHalf(conn *wire, r *records) error {
	frame, err := r.send.seal(nil, greeting, r.wireType)
	if err == nil {
		_, err = conn.Write(frame[:len(frame)/2])
	}
	if err == nil {
		err = conn.CloseWrite()
	}
	return err
}

// badRecord carries as many bytes as its length promises, unless that is
// absurd: they are all 06, which is what panics a careless reader (§10.8).
func badRecord(length uint32) []byte {
	body := 16
	if length >= 4 && length <= maxLength {
		body = int(length) - 4
	}
	out := binary.LittleEndian.AppendUint32(nil, length)
	out = binary.LittleEndian.AppendUint32(out, recordType)
	return append(out, bytes.Repeat([]byte{6}, body)...)
}

// compress turns an uncompressed SEC 1 point into its short form.
func compress(point []byte) []byte {
	width := (len(point) - 1) / 2
	return append([]byte{2 | point[len(point)-1]&1}, point[1:1+width]...)
}

func closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
