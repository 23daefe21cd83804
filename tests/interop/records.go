package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	recordType   = 6
	overhead     = 4 + 4 + 16 // length, type, tag (§5.1)
	defaultFrame = 4096       // what Go sends
	minLength    = 4 + 16     // below this there is no room for type and tag (§10.8)
	maxLength    = 1 << 20    // what Go accepts
	batch        = 512 << 10  // of frames in one socket write
)

// direction is one half of a connection: the key with a counter (§5.2).
type direction struct {
	*schedule
	fromServer bool
	number     uint64
	spent      bool // the counter has wrapped: never seal or open again
}

func (d *direction) counter() (c [12]byte) {
	binary.LittleEndian.PutUint64(c[:], d.number)
	if d.fromServer {
		c[11] = 0x80
	}
	return c
}

// nonce masks twelve bytes and leaves the other twelve zero (§5.3).
func (d *direction) nonce() (n [24]byte) {
	for i, c := range d.counter() {
		n[i] = c ^ d.mask[i]
	}
	return n
}

func (d *direction) step() {
	d.number++
	d.spent = d.number == 0
}

var errSpent = errors.New("the record counter is exhausted")

// seal appends one frame to out.
func (d *direction) seal(out, plaintext []byte, wireType uint32) ([]byte, error) {
	if d.spent {
		return out, errSpent
	}
	out = binary.LittleEndian.AppendUint32(out, uint32(overhead-4+len(plaintext)))
	out = binary.LittleEndian.AppendUint32(out, wireType)
	nonce := d.nonce()
	out = d.aead.Seal(out, nonce[:], plaintext, nil)
	d.step()
	return out, nil
}

// fragment seals a write of any size as full frames and a rest (§5.1).
func (d *direction) fragment(out, plaintext []byte, frame int, wireType uint32) (_ []byte, err error) {
	for len(plaintext) > 0 && err == nil {
		n := min(len(plaintext), frame-overhead)
		out, err = d.seal(out, plaintext[:n], wireType)
		plaintext = plaintext[n:]
	}
	return out, err
}

// open takes ciphertext and tag; the header is not authenticated.
func (d *direction) open(sealed []byte) ([]byte, error) {
	if d.spent {
		return nil, errSpent
	}
	nonce := d.nonce()
	plaintext, err := d.aead.Open(sealed[:0], nonce[:], sealed, nil)
	if err != nil {
		return nil, errors.New("the record does not authenticate")
	}
	d.step()
	return plaintext, nil
}

// records is the byte stream after the handshake.
type records struct {
	in       *bufio.Reader
	out      io.Writer
	send     direction
	receive  direction
	frame    int
	wireType uint32
	broken   error // no reading after a failure (§5.5)
}

func newRecords(conn io.ReadWriter, s *schedule, server bool, frame int) *records {
	return &records{
		in:       bufio.NewReader(conn),
		out:      conn,
		send:     direction{schedule: s, fromServer: server},
		receive:  direction{schedule: s, fromServer: !server},
		frame:    frame,
		wireType: recordType,
	}
}

// next returns the plaintext of one record; io.EOF only between frames.
func (r *records) next() (plaintext []byte, err error) {
	if r.broken != nil {
		return nil, r.broken
	}
	defer func() { r.broken = err }()
	var head [4]byte
	if _, err = io.ReadFull(r.in, head[:]); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint32(head[:])
	if length < minLength || length > maxLength {
		return nil, fmt.Errorf("a record of length %d", length)
	}
	body := make([]byte, length)
	if _, err = io.ReadFull(r.in, body); err == io.EOF {
		err = io.ErrUnexpectedEOF // inside a frame it is an error (§5.5)
	}
	if err != nil {
		return nil, err
	}
	if body[0] != recordType { // Go looks at the low 8 bits only (§5.1)
		return nil, fmt.Errorf("a record of type %d", binary.LittleEndian.Uint32(body))
	}
	return r.receive.open(body[4:])
}

// write sends everything, many frames to one socket write (§5.1).
func (r *records) write(plaintext []byte) error {
	perWrite := max(1, batch/r.frame) * (r.frame - overhead)
	for len(plaintext) > 0 {
		n := min(len(plaintext), perWrite)
		wire, err := r.send.fragment(nil, plaintext[:n], r.frame, r.wireType)
		if err != nil {
			return err
		}
		if _, err = r.out.Write(wire); err != nil {
			return err
		}
		plaintext = plaintext[n:]
	}
	return nil
}
