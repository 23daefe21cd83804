package main

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"golang.org/x/crypto/ripemd160"
	"golang.org/x/crypto/sha3"
)

// keyKind is one of the two account key types in use (§3.2, §3.3).
type keyKind struct {
	typeURL string
	digest  func([]byte) []byte
	address func(*secp256k1.PublicKey) []byte
	withV   bool // signatures are sent with a trailing V, and accepted with or without
}

var kinds = map[string]*keyKind{
	"eth_secp256k1": {
		typeURL: "/cosmos.evm.crypto.v1.ethsecp256k1.PubKey",
		digest:  keccak256,
		address: func(p *secp256k1.PublicKey) []byte {
			return keccak256(p.SerializeUncompressed()[1:])[12:]
		},
		withV: true,
	},
	"secp256k1": {
		typeURL: "/cosmos.crypto.secp256k1.PubKey",
		digest:  sha256Sum,
		address: func(p *secp256k1.PublicKey) []byte {
			h := ripemd160.New()
			h.Write(sha256Sum(p.SerializeCompressed()))
			return h.Sum(nil)
		},
	},
}

func sha256Sum(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}

// keccak256 has the original padding; it is not SHA3-256 (§3.3).
func keccak256(b []byte) []byte {
	h := sha3.NewLegacyKeccak256()
	h.Write(b)
	return h.Sum(nil)
}

// account is our own identity.
type account struct {
	kind    *keyKind
	private *secp256k1.PrivateKey
	public  accountKey
}

// accountKey is the public half, of either side.
type accountKey struct {
	kind  *keyKind
	point *secp256k1.PublicKey
}

func newAccount(kindName string, secret []byte) (*account, error) {
	kind := kinds[kindName]
	if kind == nil {
		return nil, fmt.Errorf("unknown key kind %q", kindName)
	}
	var scalar secp256k1.ModNScalar
	if len(secret) != 32 || scalar.SetByteSlice(secret) || scalar.IsZero() {
		return nil, errors.New("the key is not a secp256k1 private key of 32 bytes")
	}
	private := secp256k1.NewPrivateKey(&scalar)
	return &account{kind, private, accountKey{kind, private.PubKey()}}, nil
}

func (k accountKey) address() string {
	return bech32Address(k.kind.address(k.point))
}

// sign returns R‖S, low S, deterministic; eth keys add V (§3.3).
func (a *account) sign(digest []byte, upperS bool) []byte {
	const recoveryBase = 27 // of the library's compact form: V+27, R, S
	compact := ecdsa.SignCompact(a.private, digest, false)
	v, sig := compact[0]-recoveryBase, compact[1:]
	if upperS { // equally valid mathematically, refused by every verifier
		var s secp256k1.ModNScalar
		s.SetByteSlice(sig[32:])
		s.Negate()
		s.PutBytesUnchecked(sig[32:])
		v ^= 1
	}
	if a.kind.withV {
		sig = append(sig, v)
	}
	return sig
}

// verify enforces low S and never looks at V (§3.3).
func (k accountKey) verify(digest, sig []byte) error {
	if k.kind.withV && len(sig) == 65 {
		sig = sig[:64]
	}
	if len(sig) != 64 {
		return fmt.Errorf("a signature of %d bytes", len(sig))
	}
	var r, s secp256k1.ModNScalar
	if r.SetByteSlice(sig[:32]) || s.SetByteSlice(sig[32:]) {
		return errors.New("R or S out of range")
	}
	if s.IsOverHalfOrder() {
		return errors.New("S in the upper half")
	}
	if !ecdsa.NewSignature(&r, &s).Verify(digest, k.point) {
		return errors.New("the signature does not verify")
	}
	return nil
}
