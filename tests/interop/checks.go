package main

import (
	"bufio"
	"bytes"
	"crypto/ecdh"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// checks counts comparisons and keeps the names of those that failed.
type checks struct {
	Checked int      `json:"checked"`
	Failed  []string `json:"failed"`
}

func (c *checks) that(ok bool, name ...any) {
	c.Checked++
	if !ok {
		c.Failed = append(c.Failed, strings.ReplaceAll(strings.TrimSpace(fmt.Sprintln(name...)), " ", "/"))
	}
}

func (c *checks) equal(got, want []byte, name ...any) {
	c.that(len(want) > 0 && bytes.Equal(got, want), name...)
}

func checkVectors(v vectorFile) *checks {
	c := &checks{Failed: []string{}}
	c.session("eth", v.Eth)
	c.session("cosmos", v.Cosmos)
	secret := v.Eth.Secret
	s, err := newSchedule(secret, v.Eth.Client.Address, v.Eth.Server.Address)
	c.that(err == nil, "schedule")
	if err == nil {
		c.fragmentation(s, v)
		c.nonces(s, v)
	}
	c.matrix(v)
	return c
}

func (c *checks) session(name string, v vectorSession) {
	c.that(v.Curve == "P256", name, "curve")
	client := c.side(name+"/client", v.KeyType, v.Client)
	server := c.side(name+"/server", v.KeyType, v.Server)
	if client == nil || server == nil {
		return
	}
	for _, pair := range []struct {
		name    string
		private *ecdh.PrivateKey
		public  []byte
	}{{"client", client, v.Server.EphemeralPublic}, {"server", server, v.Client.EphemeralPublic}} {
		secret, err := agree(pair.private, info{publicKey: pair.public})
		c.that(err == nil, name, pair.name, "agree")
		c.equal(secret, v.Secret, name, pair.name, "ecdh_shared_secret")
	}
	for p := range keySizes {
		c.expansion(name+"/"+p, p, v)
	}
	c.recordLayer(name, v)
}

// side rebuilds a handshake message from the keys, and reads it back.
func (c *checks) side(name, kind string, v vectorSide) *ecdh.PrivateKey {
	own, err := newAccount(kind, v.Private)
	c.that(err == nil, name, "account_private_key")
	ephemeral, ephemeralErr := ecdh.P256().NewPrivateKey(v.EphemeralPrivate)
	c.that(ephemeralErr == nil, name, "ephemeral_private_key")
	if err != nil || ephemeralErr != nil {
		return nil
	}
	c.equal(own.public.point.SerializeCompressed(), v.Public, name, "account_public_key_compressed")
	c.equal(own.kind.address(own.public.point), v.AddressBytes, name, "account_address_bytes")
	c.that(own.public.address() == v.Address, name, "address")
	c.equal(ephemeral.PublicKey().Bytes(), v.EphemeralPublic, name, "ephemeral_public_key_uncompressed")
	c.equal(own.public.any(), v.Any, name, "account_public_key_any")

	n := &node{account: own, peerType: v.PeerType, faults: faults{curve: "P256"}}
	m := n.message(ephemeral.PublicKey())
	c.equal(m.block, v.Info, name, "handshake_info")
	c.equal(own.kind.digest(m.block), v.Digest, name, "signed_digest")
	c.equal(m.signature, v.Signature, name, "signature")
	c.equal(m.encode(), v.Message, name, "handshake_message")

	read, err := readMessage(bytes.NewReader(v.Message))
	c.that(err == nil && bytes.Equal(read.block, v.Info) && bytes.Equal(read.signature, v.Signature), name, "read message")
	peer, err := parseInfo(v.Info)
	c.that(err == nil && peer.address == v.Address && peer.peerType == v.PeerType && peer.curve == "P256" &&
		bytes.Equal(peer.publicKey, v.EphemeralPublic) && bytes.Equal(peer.accountKey, v.Any), name, "parse info")
	c.that(n.verify(read, peer) == nil, name, "verify")
	if len(read.signature) > 64 { // the prefix without V must do as well (§3.3)
		read.signature = read.signature[:64]
		c.that(n.verify(read, peer) == nil, name, "verify without V")
	}
	return ephemeral
}

func (c *checks) expansion(name, protocol string, v vectorSession) {
	p := v.Protocols[protocol]
	c.that(p.KeyLength == keySizes[protocol], name, "key_length")
	c.that(p.HKDF == needsHKDF(protocol, v.Secret), name, "hkdf_applied")
	key, err := expand(protocol, v.Secret, v.Client.Address, v.Server.Address)
	c.that(err == nil, name, "expand")
	c.equal(key, p.Key, name, "expanded_key")
	if p.HKDF {
		info := hkdfInfo(protocol, v.Client.Address, v.Server.Address)
		c.that(p.Info != nil && *p.Info == info, name, "hkdf_info_ascii")
	} else {
		c.that(p.Info == nil, name, "hkdf_info_ascii")
	}
}

// recordLayer looks at the frames of the protocol in use only; the AES ones
// are dormant (§5.4).
func (c *checks) recordLayer(name string, v vectorSession) {
	p := v.Protocols[protocol]
	if len(p.Key) != keySizes[protocol] {
		c.that(false, name, "key")
		return
	}
	c.equal(p.Key[:32], p.AEADKey, name, "aead_key")
	c.equal(p.Key[44:], p.MaskUnused, name, "nonce_mask_unused")
	s, err := newSchedule(v.Secret, v.Client.Address, v.Server.Address)
	c.that(err == nil, name, "schedule")
	if err != nil {
		return
	}
	c.equal(s.mask[:], p.MaskUsed, name, "nonce_mask_used")
	c.frames(name+"/client_to_server", s, false, p.ClientToServer)
	c.frames(name+"/server_to_client", s, true, p.ServerToClient)
}

func (c *checks) frames(name string, s *schedule, server bool, list []vectorRecord) {
	c.that(len(list) > 0, name)
	send := direction{schedule: s, fromServer: server}
	var stream bytes.Buffer
	for i, v := range list {
		c.that(v.Index == i, name, i, "index")
		counter, nonce := send.counter(), send.nonce()
		c.equal(counter[:], v.Counter, name, i, "counter")
		c.equal(nonce[:], v.Nonce, name, i, "nonce")
		frame, err := send.seal(nil, v.Plaintext, recordType)
		c.that(err == nil, name, i, "seal")
		c.equal(frame, v.Frame, name, i, "frame")
		stream.Write(v.Frame)
	}
	r := &records{in: bufio.NewReader(&stream), receive: direction{schedule: s, fromServer: server}}
	for i, v := range list {
		plaintext, err := r.next()
		c.that(err == nil, name, i, "open")
		c.equal(plaintext, v.Plaintext, name, i, "plaintext")
	}
}

func (c *checks) fragmentation(s *schedule, file vectorFile) {
	v := file.Fragmentation
	const name = "fragmentation"
	plaintext := make([]byte, 5000)
	for i := range plaintext {
		plaintext[i] = byte(7*i + 3)
	}
	c.equal(sha256Sum(plaintext), v.PlaintextSHA256, name, "plaintext_sha256")
	send := direction{schedule: s}
	stream, err := send.fragment(nil, plaintext, defaultFrame, recordType)
	c.that(err == nil, name, "seal")
	c.equal(sha256Sum(stream), v.WireSHA256, name, "wire_sha256")
	c.that(bytes.HasPrefix(stream, v.FirstFrameHead) && len(v.FirstFrameHead) > 0, name, "first_frame_head")

	var frames [][]byte
	for rest := stream; len(rest) > 0; {
		size := 4 + int(binary.LittleEndian.Uint32(rest))
		frames, rest = append(frames, rest[:size]), rest[size:]
	}
	c.that(len(frames) == len(v.FrameLengths) && len(frames) == len(v.FrameLengthFields) && len(frames) == 2, name, "frames")
	for i, f := range frames {
		c.that(i < len(v.FrameLengths) && len(f) == v.FrameLengths[i], name, i, "frame_lengths")
		c.that(i < len(v.FrameLengthFields) && binary.LittleEndian.Uint32(f) == v.FrameLengthFields[i], name, i, "frame_length_fields")
	}
	if len(frames) == 2 {
		c.equal(frames[0][len(frames[0])-16:], v.FirstFrameTag, name, "first_frame_tag")
		c.equal(frames[1][len(frames[1])-16:], v.SecondFrameTag, name, "second_frame_tag")
	}
	r := &records{in: bufio.NewReader(bytes.NewReader(stream)), receive: direction{schedule: s}}
	got, err := collect(r, len(plaintext))
	c.that(err == nil, name, "open")
	c.equal(got, plaintext, name, "plaintext")
}

func (c *checks) nonces(s *schedule, file vectorFile) {
	const name = "nonces"
	v := file.Nonces
	if key := file.Eth.Protocols[protocol].Key; len(key) == keySizes[protocol] {
		c.equal(key[32:], v.Mask24, name, "mask24")
	}
	c.that(len(v.Cases) > 0, name)
	for _, k := range v.Cases {
		index, err := strconv.ParseUint(k.RecordIndex, 10, 64)
		c.that(err == nil && (k.Sender == "client" || k.Sender == "server"), name, k.RecordIndex, k.Sender)
		d := direction{schedule: s, fromServer: k.Sender == "server", number: index}
		counter, nonce := d.counter(), d.nonce()
		c.equal(counter[:], k.Counter, name, k.RecordIndex, k.Sender, "counter")
		c.equal(nonce[:], k.Nonce, name, k.RecordIndex, k.Sender, "nonce")
	}
	// The last number still works, once (§5.2).
	send, receive := direction{schedule: s, number: 1<<64 - 1}, direction{schedule: s, number: 1<<64 - 1}
	frame, err := send.seal(nil, greeting, recordType)
	c.that(err == nil, name, "last seal")
	_, err = receive.open(bytes.Clone(frame[8:]))
	c.that(err == nil, name, "last open")
	_, err = send.seal(nil, greeting, recordType)
	c.that(err == errSpent, name, "seal after last")
	_, err = receive.open(bytes.Clone(frame[8:]))
	c.that(err == errSpent, name, "open after last")
}

func (c *checks) matrix(file vectorFile) {
	curves := map[string]ecdh.Curve{"P256": ecdh.P256(), "P384": ecdh.P384(), "P521": ecdh.P521()}
	v := file.Matrix
	c.that(len(v.Rows) == len(curves)*len(keySizes), "matrix")
	for _, row := range v.Rows {
		name := "matrix/" + row.Curve + "/" + row.Protocol
		curve := curves[row.Curve]
		c.that(curve != nil && keySizes[row.Protocol] > 0, name)
		if curve == nil || keySizes[row.Protocol] == 0 {
			continue
		}
		client, err := ephemeralOn(curve, v.ClientEphemeral)
		server, serverErr := ephemeralOn(curve, v.ServerEphemeral)
		c.that(err == nil && serverErr == nil, name, "keys")
		if err != nil || serverErr != nil {
			continue
		}
		c.equal(client.PublicKey().Bytes(), row.ClientPublic, name, "client_ephemeral_public")
		c.equal(server.PublicKey().Bytes(), row.ServerPublic, name, "server_ephemeral_public")
		secret, err := agree(client, info{publicKey: row.ServerPublic})
		c.that(err == nil, name, "agree")
		c.equal(secret, row.Secret, name, "ecdh_shared_secret")
		c.that(needsHKDF(row.Protocol, row.Secret) == row.HKDF, name, "hkdf_applied")
		key, err := expand(row.Protocol, row.Secret, v.Client, v.Server)
		c.that(err == nil, name, "expand")
		c.equal(key, row.Key, name, "expanded_key")
	}
}

// ephemeralOn reads the 32-byte number of the vectors as a private key of a
// wider curve too.
func ephemeralOn(curve ecdh.Curve, number []byte) (*ecdh.PrivateKey, error) {
	width := map[ecdh.Curve]int{ecdh.P256(): 32, ecdh.P384(): 48, ecdh.P521(): 66}[curve]
	padded := make([]byte, width)
	copy(padded[max(0, width-len(number)):], number)
	return curve.NewPrivateKey(padded)
}
