package main

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"

	"golang.org/x/crypto/chacha20poly1305"
)

// protocol is the record protocol in use; it is never sent (§4).
const protocol = "ALTSRP_XCHACHA20_POLY1305_REKEY"

var keySizes = map[string]int{
	"ALTSRP_GCM_AES128":       16,
	"ALTSRP_GCM_AES128_REKEY": 44,
	protocol:                  56,
}

// hkdfInfo names the dialing side first, whoever computes it (§4).
func hkdfInfo(protocol, client, server string) string {
	return protocol + "-" + client + "-" + server
}

// needsHKDF: a long enough ECDH output is truncated instead (§4).
func needsHKDF(protocol string, secret []byte) bool {
	return keySizes[protocol] > len(secret)
}

func expand(protocol string, secret []byte, client, server string) ([]byte, error) {
	size := keySizes[protocol]
	if !needsHKDF(protocol, secret) {
		return secret[:size], nil
	}
	return hkdf.Key(sha256.New, secret, nil, hkdfInfo(protocol, client, server), size)
}

// schedule is what the record layer needs of the expanded key (§5.3).
type schedule struct {
	aead cipher.AEAD
	mask [12]byte // 24 were derived, 12 are used
}

func newSchedule(secret []byte, client, server string) (*schedule, error) {
	key, err := expand(protocol, secret, client, server)
	if err != nil {
		return nil, err
	}
	s := &schedule{}
	copy(s.mask[:], key[32:])
	s.aead, err = chacha20poly1305.NewX(key[:32])
	return s, err
}
