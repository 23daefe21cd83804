package main

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// maxPart bounds both lengths of a message. Go has no bound (§3.1); this one
// is only there so that a test cannot make us allocate gigabytes.
const maxPart = 1 << 20

// node is one end: who it is and how it behaves.
type node struct {
	account  *account
	peerType int32
	refused  map[string]bool // stands in for the chain's answers (V7)
	frame    int
	piece    int
	limit    time.Duration
	faults   faults
}

// message is what one side sends: an info block and its signature (§3.1).
type message struct {
	block, signature []byte
}

func (m message) encode() []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(m.block)))
	out = append(out, m.block...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(m.signature)))
	return append(out, m.signature...)
}

// readMessage reads exact lengths, so that records sent right behind the
// message stay in the stream (§3.1).
func readMessage(in io.Reader) (m message, err error) {
	part := func() []byte {
		var head [4]byte
		if err != nil {
			return nil
		}
		if _, err = io.ReadFull(in, head[:]); err != nil {
			return nil
		}
		size := binary.BigEndian.Uint32(head[:])
		if size > maxPart {
			err = fmt.Errorf("a part of %d bytes", size)
			return nil
		}
		out := make([]byte, size)
		_, err = io.ReadFull(in, out)
		return out
	}
	m.block, m.signature = part(), part()
	if err != nil {
		err = fmt.Errorf("read handshake: %w", err)
	}
	return m, err
}

// address is what our info block says, which a fault may bend.
func (n *node) address() string {
	if n.faults.claim != "" {
		return n.faults.claim
	}
	return n.account.public.address()
}

func (n *node) info(ephemeral *ecdh.PublicKey) info {
	point := ephemeral.Bytes() // SEC 1 uncompressed (§3.2)
	if n.faults.compressed {
		point = compress(point)
	}
	return info{n.address(), n.peerType, point, n.account.public.any(), n.faults.curve}
}

func (n *node) message(ephemeral *ecdh.PublicKey) message {
	block := n.info(ephemeral).encode()
	digest := n.account.kind.digest(block)
	if n.faults.badSignature { // well formed, but over something else
		digest = n.account.kind.digest(append([]byte("not "), block...))
	}
	return message{block, n.account.sign(digest, n.faults.highS)}
}

// session is an accepted peer and the records exchanged with it.
type session struct {
	peer    info
	records *records
}

// client runs C2 to C8 of §3.4; expect is the identity that was dialed.
func (n *node) client(conn io.ReadWriter, expect string) (*session, error) {
	ephemeral, own, err := n.prepare()
	if err != nil {
		return nil, err
	}
	if _, err = conn.Write(own); err != nil {
		return nil, fmt.Errorf("write handshake: %w", err)
	}
	theirs, peer, err := n.receive(conn)
	if err != nil {
		return nil, err
	}
	if peer.address != expect {
		return nil, fmt.Errorf("C6: dialed %s, met %s", expect, peer.address)
	}
	if err = n.verify(theirs, peer); err != nil {
		return nil, err
	}
	secret, err := agree(ephemeral, peer)
	if err != nil {
		return nil, err
	}
	s, err := newSchedule(secret, n.address(), expect)
	if err != nil {
		return nil, err
	}
	return &session{peer, n.records(conn, s, false)}, nil
}

// server runs S2 to S7 of §3.4: it answers first and verifies afterwards.
func (n *node) server(conn io.ReadWriter) (*session, error) {
	theirs, peer, err := n.receive(conn)
	if err != nil {
		return nil, err
	}
	ephemeral, own, err := n.prepare()
	if err != nil {
		return nil, err
	}
	var r *records
	secret, refusal := agree(ephemeral, peer)
	if refusal == nil {
		s, err := newSchedule(secret, peer.address, n.address())
		if err != nil {
			return nil, err
		}
		r = n.records(conn, s, true)
		if n.faults.speakFirst { // one write with the message (§3.1)
			if own, err = r.send.seal(own, greeting, r.wireType); err != nil {
				return nil, err
			}
		}
	}
	if _, err = conn.Write(own); err != nil {
		return nil, fmt.Errorf("write handshake: %w", err)
	}
	if err = n.verify(theirs, peer); err == nil {
		err = refusal // V8 comes last
	}
	if err != nil {
		return nil, err
	}
	return &session{peer, r}, nil
}

// prepare makes the message that carries our ephemeral key, a fresh one
// unless one was given. A replayed message carries a key whose private half
// we do not have.
func (n *node) prepare() (*ecdh.PrivateKey, []byte, error) {
	ephemeral, err := n.faults.ephemeral, error(nil)
	if ephemeral == nil {
		ephemeral, err = ecdh.P256().GenerateKey(rand.Reader)
	}
	if err != nil {
		return nil, nil, err
	}
	if n.faults.replay != "" {
		own, err := n.faults.recorded()
		return ephemeral, own, err
	}
	return ephemeral, n.message(ephemeral.PublicKey()).encode(), nil
}

func (n *node) receive(conn io.Reader) (message, info, error) {
	m, err := readMessage(conn)
	if err == nil {
		err = n.faults.keep(m)
	}
	if err != nil {
		return m, info{}, err
	}
	peer, err := parseInfo(m.block)
	if err != nil {
		err = fmt.Errorf("parse info: %w", err)
	}
	return m, peer, err
}

// verify is V2 to V7 of §3.4. V1 has no counterpart here: our ephemeral key
// lives with the connection, not in a table (§3.5).
func (n *node) verify(m message, peer info) error {
	if len(peer.accountKey) == 0 {
		return errors.New("V2: no account key")
	}
	key, err := parseAny(peer.accountKey)
	if err != nil {
		return fmt.Errorf("V3: %w", err)
	}
	if key.address() != peer.address {
		return fmt.Errorf("V4: the key belongs to %s, not %s", key.address(), peer.address)
	}
	if err = key.verify(key.kind.digest(m.block), m.signature); err != nil {
		return fmt.Errorf("V5: %w", err)
	}
	if peer.peerType != 1 && peer.peerType != 2 {
		return fmt.Errorf("V6: peer type %d", peer.peerType)
	}
	if n.refused[peer.address] {
		return fmt.Errorf("V7: %s refused", peer.address)
	}
	return nil
}

// agree is V8 and the raw x-coordinate (§4). The library takes uncompressed
// points on its own curve and nothing else.
func agree(ephemeral *ecdh.PrivateKey, peer info) ([]byte, error) {
	public, err := ephemeral.Curve().NewPublicKey(peer.publicKey)
	if err != nil {
		return nil, fmt.Errorf("V8: %w", err)
	}
	secret, err := ephemeral.ECDH(public)
	if err != nil {
		return nil, fmt.Errorf("V8: %w", err)
	}
	return secret, nil
}

func (n *node) records(conn io.ReadWriter, s *schedule, server bool) *records {
	r := newRecords(conn, s, server, n.frame)
	if n.faults.recordType >= 0 {
		r.wireType = uint32(n.faults.recordType)
	}
	return r
}
