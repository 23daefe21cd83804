package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

// hexBytes is a byte string as the vectors spell it.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// vectorFile is the layout of secure_rpc_vectors.json (§11).
type vectorFile struct {
	Eth           vectorSession `json:"session_eth_keys_supernode_to_supernode"`
	Cosmos        vectorSession `json:"session_cosmos_keys_simplenode_to_supernode"`
	Fragmentation struct {
		PlaintextSHA256   hexBytes `json:"plaintext_sha256"`
		FrameLengths      []int    `json:"frame_lengths"`
		FrameLengthFields []uint32 `json:"frame_length_fields"`
		WireSHA256        hexBytes `json:"wire_sha256"`
		FirstFrameHead    hexBytes `json:"first_frame_head"`
		FirstFrameTag     hexBytes `json:"first_frame_tag"`
		SecondFrameTag    hexBytes `json:"second_frame_tag"`
	}
	Nonces struct {
		Mask24 hexBytes
		Cases  []struct {
			RecordIndex string `json:"record_index"`
			Sender      string
			Counter     hexBytes
			Nonce       hexBytes `json:"xchacha_nonce"`
		}
	}
	Matrix struct {
		Client          string   `json:"client_address"`
		Server          string   `json:"server_address"`
		ClientEphemeral hexBytes `json:"client_ephemeral_private"`
		ServerEphemeral hexBytes `json:"server_ephemeral_private"`
		Rows            []struct {
			Curve, Protocol string
			Secret          hexBytes `json:"ecdh_shared_secret"`
			ClientPublic    hexBytes `json:"client_ephemeral_public"`
			ServerPublic    hexBytes `json:"server_ephemeral_public"`
			HKDF            bool     `json:"hkdf_applied"`
			Key             hexBytes `json:"expanded_key"`
		}
	} `json:"key_expansion_matrix"`
}

type vectorSession struct {
	KeyType        string `json:"key_type"`
	Curve          string
	Client, Server vectorSide
	Secret         hexBytes `json:"ecdh_shared_secret"`
	Protocols      map[string]struct {
		KeyLength      int            `json:"key_length"`
		HKDF           bool           `json:"hkdf_applied"`
		Info           *string        `json:"hkdf_info_ascii"`
		Key            hexBytes       `json:"expanded_key"`
		AEADKey        hexBytes       `json:"aead_key"`
		MaskUsed       hexBytes       `json:"nonce_mask_used"`
		MaskUnused     hexBytes       `json:"nonce_mask_unused"`
		ClientToServer []vectorRecord `json:"client_to_server"`
		ServerToClient []vectorRecord `json:"server_to_client"`
	}
}

type vectorSide struct {
	Private          hexBytes `json:"account_private_key"`
	Public           hexBytes `json:"account_public_key_compressed"`
	AddressBytes     hexBytes `json:"account_address_bytes"`
	Address          string
	PeerType         int32    `json:"peer_type"`
	EphemeralPrivate hexBytes `json:"ephemeral_private_key"`
	EphemeralPublic  hexBytes `json:"ephemeral_public_key_uncompressed"`
	Any              hexBytes `json:"account_public_key_any"`
	Info             hexBytes `json:"handshake_info"`
	Digest           hexBytes `json:"signed_digest"`
	Signature        hexBytes
	Message          hexBytes `json:"handshake_message"`
}

type vectorRecord struct {
	Index                            int
	Plaintext, Counter, Nonce, Frame hexBytes
}

func vectorsCommand(file string) int {
	raw, err := os.ReadFile(file)
	var v vectorFile
	if err == nil {
		err = json.Unmarshal(raw, &v)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	c := checkVectors(v)
	slices.Sort(c.Failed)
	printLine(c)
	if len(c.Failed) > 0 {
		return 1
	}
	return 0
}
