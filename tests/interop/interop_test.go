package main

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newNode is a node as the command line would make it, without faults.
func newNode(t *testing.T, kind string, seed byte) *node {
	t.Helper()
	own, err := newAccount(kind, bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		t.Fatal(err)
	}
	n := &node{account: own, peerType: 2, refused: map[string]bool{}, frame: defaultFrame, limit: 5 * time.Second}
	n.faults.declare(flag.NewFlagSet("", flag.ContinueOnError)) // sets the defaults
	return n
}

// meeting is one connection between the two; expect defaults to the server's
// own account.
type meeting struct {
	client, server *node
	expect         string
	size           int
	greeted        bool
}

func (m meeting) run(t *testing.T) (dialed, served) {
	t.Helper()
	lines := make(chan any, 2)
	failed := make(chan error, 1)
	go func() { failed <- m.server.listen(1, func(v any) { lines <- v }) }()
	at := (<-lines).(listening)
	if m.expect == "" {
		m.expect = at.Account
	}
	d := m.client.dial(at.Port, m.expect, m.size, m.greeted)
	s := (<-lines).(served)
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	return d, s
}

func TestEcho(t *testing.T) {
	for _, clientKind := range []string{"eth_secp256k1", "secp256k1"} {
		for _, serverKind := range []string{"eth_secp256k1", "secp256k1"} {
			for types := range 4 {
				client, server := newNode(t, clientKind, 1), newNode(t, serverKind, 2)
				client.peerType, server.peerType = int32(1+types&1), int32(1+types>>1)
				for _, size := range []int{0, 1, 4072, 4073, 5000, 1 << 20} {
					t.Run(fmt.Sprint(clientKind, serverKind, types, size), func(t *testing.T) {
						d, s := meeting{client: client, server: server, size: size}.run(t)
						wantD := dialed{server.address(), server.peerType, size, true, ""}
						wantS := served{client.address(), client.peerType, size, ""}
						if d != wantD || s != wantS {
							t.Fatalf("%+v %+v", d, s)
						}
					})
				}
			}
		}
	}
}

// TestFrames: the receiver is indifferent to sizes and pieces (§5.1).
func TestFrames(t *testing.T) {
	for _, frame := range []int{overhead + 1, 100, maxLength + 4} {
		for _, piece := range []int{0, 1, 7} {
			client, server := newNode(t, "eth_secp256k1", 1), newNode(t, "eth_secp256k1", 2)
			client.frame, server.frame, client.piece = frame, frame, piece
			size := 3000
			if piece == 0 {
				size = 3 << 20 / max(1, 1000/frame)
			}
			d, s := meeting{client: client, server: server, size: size}.run(t)
			if !d.Equal || d.Error != "" || s.Error != "" || s.Bytes != size {
				t.Fatalf("frame %d piece %d: %+v %+v", frame, piece, d, s)
			}
		}
	}
}

func TestServerSpeaksFirst(t *testing.T) {
	client, server := newNode(t, "eth_secp256k1", 1), newNode(t, "eth_secp256k1", 2)
	server.faults.speakFirst = true
	d, s := meeting{client: client, server: server, size: 5000, greeted: true}.run(t)
	if !d.Equal || d.Bytes != 5000 || d.Error != "" || s.Error != "" {
		t.Fatalf("%+v %+v", d, s)
	}
}

// bend is a misbehaviour and what an honest peer says about it.
type bend struct {
	name string
	do   func(*node)
	want string
}

func bends(stranger string) []bend {
	out := []bend{
		{"compressed", func(n *node) { n.faults.compressed = true }, "V8: "},
		{"bad signature", func(n *node) { n.faults.badSignature = true }, "V5: the signature"},
		{"high s", func(n *node) { n.faults.highS = true }, "V5: S in the upper half"},
		{"claim", func(n *node) { n.faults.claim = stranger }, "V4: "},
		{"type 0", func(n *node) { n.peerType = 0 }, "V6: peer type 0"},
		{"type 3", func(n *node) { n.peerType = 3 }, "V6: peer type 3"},
		{"type -1", func(n *node) { n.peerType = -1 }, "V6: peer type -1"},
		{"record type", func(n *node) { n.faults.recordType = 7 }, "a record of type 7"},
		{"truncate", func(n *node) { n.faults.truncate = true }, "unexpected EOF"},
		{"forged record", func(n *node) { n.faults.recordLength = 20 }, "does not authenticate"},
		{"longest record", func(n *node) { n.faults.recordLength = maxLength }, "does not authenticate"},
	}
	for _, length := range []int64{0, 1, 2, 3, 4, 19, maxLength + 1, 1<<32 - 1} {
		out = append(out, bend{fmt.Sprint("length ", length),
			func(n *node) { n.faults.recordLength = length }, fmt.Sprint("a record of length ", length)})
	}
	return out
}

func TestRefusals(t *testing.T) {
	stranger := newNode(t, "eth_secp256k1", 9).address()
	for kind := range kinds {
		for _, b := range bends(stranger) {
			t.Run(kind+"/client/"+b.name, func(t *testing.T) {
				client, server := newNode(t, kind, 1), newNode(t, kind, 2)
				b.do(client)
				d, s := meeting{client: client, server: server, size: 100}.run(t)
				if !strings.Contains(s.Error, b.want) || d.Error == "" || d.Equal || s.Bytes != 0 {
					t.Fatalf("%+v %+v", d, s)
				}
			})
			t.Run(kind+"/server/"+b.name, func(t *testing.T) {
				client, server := newNode(t, kind, 1), newNode(t, kind, 2)
				b.do(server)
				d, s := meeting{client: client, server: server, size: 100, expect: server.address()}.run(t)
				if !strings.Contains(d.Error, b.want) || d.Equal || d.Bytes != 0 {
					t.Fatalf("%+v %+v", d, s)
				}
			})
		}
	}
}

// TestCurveName: Go does not look at it (§3.4).
func TestCurveName(t *testing.T) {
	client, server := newNode(t, "eth_secp256k1", 1), newNode(t, "eth_secp256k1", 2)
	client.faults.curve, server.faults.curve = "P384", ""
	if d, s := (meeting{client: client, server: server, size: 9}).run(t); !d.Equal || s.Error != "" {
		t.Fatalf("%+v %+v", d, s)
	}
}

func TestWrongIdentity(t *testing.T) {
	client, server := newNode(t, "eth_secp256k1", 1), newNode(t, "eth_secp256k1", 2)
	d, _ := meeting{client: client, server: server, size: 9, expect: client.address()}.run(t)
	if !strings.HasPrefix(d.Error, "C6: ") {
		t.Fatalf("%+v", d)
	}
}

// TestRefusedAccount: the client sees a whole handshake and then the end.
func TestRefusedAccount(t *testing.T) {
	client, server := newNode(t, "eth_secp256k1", 1), newNode(t, "eth_secp256k1", 2)
	server.refused[client.address()] = true
	d, s := meeting{client: client, server: server, size: 9}.run(t)
	if !strings.HasPrefix(s.Error, "V7: ") || d.Peer != server.address() || !strings.Contains(d.Error, "possibly refused") {
		t.Fatalf("%+v %+v", d, s)
	}
	server.refused, client.refused[server.address()] = nil, true
	if d, _ = (meeting{client: client, server: server, size: 9}).run(t); !strings.HasPrefix(d.Error, "V7: ") {
		t.Fatalf("%+v", d)
	}
}

// TestReplay: a recorded message passes every check, and only the first
// record shows that there is no key behind it (§10.1, §10.2).
func TestReplay(t *testing.T) {
	dir := t.TempDir()
	client, server := newNode(t, "eth_secp256k1", 1), newNode(t, "eth_secp256k1", 2)
	client.faults.save, server.faults.save = filepath.Join(dir, "server"), filepath.Join(dir, "client")
	if d, _ := (meeting{client: client, server: server, size: 9}).run(t); !d.Equal {
		t.Fatalf("%+v", d)
	}
	impostor := newNode(t, "eth_secp256k1", 9)
	impostor.faults.replay = filepath.Join(dir, "client")
	client.faults.save, server.faults.save = "", ""
	d, s := meeting{client: impostor, server: server, size: 9}.run(t)
	if s.Peer != client.address() || !strings.Contains(s.Error, "authenticate") || !strings.Contains(d.Error, "possibly refused") {
		t.Fatalf("%+v %+v", d, s)
	}
	impostor.faults.replay = filepath.Join(dir, "server")
	d, s = meeting{client: client, server: impostor, size: 9, expect: server.address()}.run(t)
	if d.Peer != server.address() || d.Equal || d.Error == "" || !strings.Contains(s.Error, "authenticate") {
		t.Fatalf("%+v %+v", d, s)
	}
}

// TestEphemeral: with the key given, the message is always the same.
func TestEphemeral(t *testing.T) {
	n := newNode(t, "eth_secp256k1", 1)
	if err := n.faults.useEphemeral(strings.Repeat("03", 32)); err != nil {
		t.Fatal(err)
	}
	key, first, err := n.prepare()
	if err != nil {
		t.Fatal(err)
	}
	again, second, err := n.prepare()
	if err != nil || !bytes.Equal(first, second) || !again.Equal(key) {
		t.Fatal(err)
	}
	n.faults.ephemeral = nil
	if other, third, err := n.prepare(); err != nil || bytes.Equal(first, third) || other.Equal(key) {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "03", "zz", strings.Repeat("ff", 32), strings.Repeat("00", 32)} {
		if n.faults.useEphemeral(bad) == nil {
			t.Fatal(bad)
		}
	}
}

// TestProbe: a port scan is not a failure of the listener (§1).
func TestProbe(t *testing.T) {
	n := newNode(t, "eth_secp256k1", 2)
	lines := make(chan any, 2)
	go n.listen(1, func(v any) { lines <- v })
	port := (<-lines).(listening).Port
	c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if s := (<-lines).(served); s.Error != "read handshake: EOF" {
		t.Fatalf("%+v", s)
	}
}

func TestInfoIgnoresUnknownFields(t *testing.T) {
	n := newNode(t, "secp256k1", 1)
	want := info{n.address(), -5, []byte{4}, n.account.public.any(), "P256"}
	block := binary.AppendUvarint(nil, 100<<3|2) // number 100, three bytes
	block = append(block, 3, 'a', 'b', 'c')
	block = append(block, want.encode()...)
	block = append(binary.AppendUvarint(block, 101<<3|5), 1, 2, 3, 4)
	block = append(binary.AppendUvarint(block, 102<<3|1), 1, 2, 3, 4, 5, 6, 7, 8)
	block = append(binary.AppendUvarint(block, 103<<3), 0x80, 1)
	got, err := parseInfo(block)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%v %v", got, err)
	}
	for cut := 1; cut < len(block); cut++ { // never panics
		_, _ = parseInfo(block[:cut])
	}
}

func TestEmptyRecord(t *testing.T) {
	s, err := newSchedule(make([]byte, 32), "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	var stream bytes.Buffer
	client, server := newRecords(&stream, s, false, defaultFrame), newRecords(&stream, s, true, defaultFrame)
	if err := client.write(nil); err != nil || stream.Len() != 0 {
		t.Fatal("Go sends nothing for an empty write (§5.1)")
	}
	empty, _ := client.send.seal(nil, nil, recordType)
	stream.Write(empty)
	if err := client.write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"", "x"} {
		if got, err := server.next(); err != nil || string(got) != want {
			t.Fatal(got, err)
		}
	}
	if _, err := server.next(); err != io.EOF {
		t.Fatal(err)
	}
}

// TestVectors needs the file that stands beside the contract.
func TestVectors(t *testing.T) {
	file := os.Getenv("INTEROP_VECTORS")
	if file == "" {
		t.Skip("INTEROP_VECTORS does not name the vectors")
	}
	if vectorsCommand(file) != 0 {
		t.Fail()
	}
}
