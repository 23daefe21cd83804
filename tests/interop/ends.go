package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// wire is a TCP connection that may write in small pieces.
type wire struct {
	*net.TCPConn
	piece int
}

func (w *wire) Write(b []byte) (done int, err error) {
	if w.piece == 0 {
		return w.TCPConn.Write(b)
	}
	for done < len(b) && err == nil {
		var n int
		n, err = w.TCPConn.Write(b[done:min(len(b), done+w.piece)])
		done += n
	}
	return done, err
}

func (n *node) wire(c net.Conn) (*wire, error) {
	return &wire{c.(*net.TCPConn), n.piece}, c.SetDeadline(time.Now().Add(n.limit))
}

type listening struct {
	Port    int    `json:"port"`
	Account string `json:"account"`
}

type served struct {
	Peer     string `json:"peer"`
	PeerType int32  `json:"peer_type"`
	Bytes    int    `json:"bytes"`
	Error    string `json:"error"`
}

type dialed struct {
	Peer     string `json:"peer"`
	PeerType int32  `json:"peer_type"`
	Bytes    int    `json:"bytes"`
	Equal    bool   `json:"equal"`
	Error    string `json:"error"`
}

// listen serves so many connections in parallel and reports each.
func (n *node) listen(connections int, report func(any)) error {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	defer l.Close()
	report(listening{l.Addr().(*net.TCPAddr).Port, n.account.public.address()})
	var serving sync.WaitGroup
	defer serving.Wait()
	for range connections {
		if err = l.SetDeadline(time.Now().Add(n.limit)); err != nil {
			return err
		}
		conn, err := l.Accept()
		if err != nil {
			report(served{Error: fmt.Sprintf("accept: %v", err)})
			return nil
		}
		serving.Go(func() { report(n.serve(conn)) })
	}
	return nil
}

// serve echoes every plaintext until the peer has had enough.
func (n *node) serve(c net.Conn) (out served) {
	defer c.Close()
	conn, err := n.wire(c)
	defer func() { out.Error = text(err) }()
	if err != nil {
		return
	}
	s, err := n.server(conn)
	if err != nil {
		return
	}
	out.Peer, out.PeerType = s.peer.address, s.peer.peerType
	if n.faults.breaksRecords() {
		out.Bytes, err = n.faults.breakRecords(conn, s.records)
		return
	}
	for {
		var plaintext []byte
		if plaintext, err = s.records.next(); err != nil {
			break
		}
		out.Bytes += len(plaintext)
		if err = s.records.write(plaintext); err != nil {
			break
		}
	}
	if err == io.EOF { // between frames: a clean end (§5.5)
		err = nil
	}
	return
}

// dial sends a pattern, and reads at the same time until it has come back.
func (n *node) dial(port int, expect string, size int, greeted bool) (out dialed) {
	var err error
	defer func() { out.Error = text(err) }()
	c, err := net.DialTimeout("tcp4", fmt.Sprintf("127.0.0.1:%d", port), n.limit)
	if err != nil {
		return
	}
	defer c.Close()
	conn, err := n.wire(c)
	if err != nil {
		return
	}
	s, err := n.client(conn, expect)
	if err != nil {
		return
	}
	out.Peer, out.PeerType = s.peer.address, s.peer.peerType
	if n.faults.breaksRecords() {
		out.Bytes, err = n.faults.breakRecords(conn, s.records)
		return
	}
	sent := pattern(size)
	wanted := sent
	if greeted {
		wanted = append(bytes.Clone(greeting), sent...)
	}
	writing := make(chan error, 1)
	go func() { writing <- s.records.write(sent) }()
	got, err := collect(s.records, len(wanted))
	if err != nil {
		conn.Close() // or the writer might wait for a peer that is gone
	}
	if failure := <-writing; err == nil {
		err = failure
	}
	out.Bytes, out.Equal = len(got), bytes.Equal(got, wanted)
	if greeted {
		out.Bytes = max(0, len(got)-len(greeting))
	}
	if err == nil {
		err = hangUp(conn, s.records)
	}
	return
}

// pattern is what dial sends: byte i is i*31+7.
func pattern(size int) []byte {
	out := make([]byte, size)
	for i := range out {
		out[i] = byte(i*31 + 7)
	}
	return out
}

func collect(r *records, size int) (got []byte, err error) {
	for len(got) < size {
		plaintext, err := r.next()
		switch {
		case closed(err) && r.receive.number == 0: // a refusal looks like this (§3.4)
			return got, fmt.Errorf("closed before the first record, possibly refused: %w", err)
		case err != nil:
			return got, fmt.Errorf("%d bytes short of the echo: %w", size-len(got), err)
		}
		got = append(got, plaintext...)
	}
	return got, nil
}

// hangUp closes our half and gives the peer a moment to close its own, in
// which it must not say anything more.
func hangUp(conn *wire, r *records) error {
	err := conn.CloseWrite()
	if err == nil {
		err = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	}
	if err != nil {
		return err
	}
	for {
		plaintext, err := r.next()
		var network net.Error
		switch {
		case len(plaintext) > 0:
			return errors.New("more came than was sent")
		case closed(err), errors.As(err, &network) && network.Timeout():
			return nil
		case err != nil:
			return err
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
