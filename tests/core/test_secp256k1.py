import base64
from hashlib import sha256

import bech32 as bech32_oracle
import pytest
from Crypto.Hash import RIPEMD160, keccak
from ecdsa import SECP256k1, SigningKey, VerifyingKey
from ecdsa.util import sigencode_string_canonize
from hypothesis import assume, example, given
from hypothesis import strategies as st

from lep6._core import (
    bech32_decode,
    bech32_encode,
    keccak256,
    ripemd160,
    secp256k1_point,
    secp256k1_public_key,
    secp256k1_recover,
    secp256k1_sign,
    secp256k1_verify,
)
from lep6.errors import InvalidArtefact
from world import VECTORS

SIGNED = VECTORS["signed_example_1000B"]
PRIVATE = bytes.fromhex(SIGNED["private_key_hex"])
PUBLIC = bytes.fromhex(SIGNED["pubkey_compressed_hex"])
ORDER = SECP256k1.order
CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

privates = st.integers(1, ORDER - 1).map(lambda secret: secret.to_bytes(32))
digests = st.binary(min_size=32, max_size=32)


def high_s(signature):
    """The other signature with the same R, which many programs take and the chain does not."""
    return signature[:32] + (ORDER - int.from_bytes(signature[32:])).to_bytes(32)


def test_keys_and_addresses_are_those_of_the_vectors():
    assert secp256k1_public_key(PRIVATE) == PUBLIC
    assert bech32_encode("lumera", ripemd160(sha256(PUBLIC).digest())) == SIGNED["cosmos_address"]
    assert bech32_encode("lumera", keccak256(secp256k1_point(PUBLIC))[12:]) == SIGNED["eth_style_address"]


@pytest.mark.parametrize(
    ("message", "signature", "digest"),
    [
        ("layout_b64", "layout_signature_b64", lambda text: sha256(text).digest()),
        ("index_b64", "creator_signature_b64", lambda text: sha256(text).digest()),
        ("adr36_doc_legacy", "adr36_sig_legacy_b64", lambda text: sha256(text).digest()),
        ("adr36_doc_js_style", "adr36_sig_js_style_b64", lambda text: sha256(text).digest()),
        ("index_b64", "eth_sig_over_index_b64_64byte_b64", keccak256),
    ],
)
def test_signatures_are_those_of_the_vectors(message, signature, digest):
    digest = digest(SIGNED[message].encode())
    expected = base64.b64decode(SIGNED[signature])
    assert secp256k1_sign(PRIVATE, digest)[:64] == expected
    assert secp256k1_verify(PUBLIC, digest, expected)
    assert PUBLIC in secp256k1_recover(digest, expected)


@given(privates, digests)
@example((1).to_bytes(32), bytes(32))
@example((ORDER - 1).to_bytes(32), b"\xff" * 32)
def test_signing_agrees_with_another_implementation(private, digest):
    key = SigningKey.from_string(private, curve=SECP256k1)
    public = key.verifying_key.to_string("compressed")
    signed = secp256k1_sign(private, digest)
    assert secp256k1_public_key(private) == public
    assert secp256k1_point(public) == key.verifying_key.to_string("raw")
    assert len(signed) == 65
    assert signed[:64] == key.sign_digest_deterministic(digest, hashfunc=sha256, sigencode=sigencode_string_canonize)
    assert secp256k1_verify(public, digest, signed[:64])
    assert not secp256k1_verify(public, digest, high_s(signed[:64]))


@given(privates, digests)
def test_the_signer_is_found_from_the_signature_and_its_last_byte_says_which(private, digest):
    signed = secp256k1_sign(private, digest)
    found = secp256k1_recover(digest, signed[:64])
    oracle = VerifyingKey.from_public_key_recovery_with_digest(signed[:64], digest, SECP256k1, hashfunc=sha256)
    assert sorted(found) == sorted(key.to_string("compressed") for key in oracle)
    assert found[signed[64]] == secp256k1_public_key(private)
    assert secp256k1_recover(digest, high_s(signed[:64])) == []


@given(st.integers(0, 63), st.integers(1, 255), st.sampled_from(["digest", "signature", "key"]))
def test_a_signature_is_good_for_one_key_and_one_digest(position, mask, what):
    digest = sha256(b"message").digest()
    parts = {"digest": digest, "signature": secp256k1_sign(PRIVATE, digest)[:64], "key": PRIVATE}
    changed = bytearray(parts[what])
    changed[position % len(changed)] ^= mask
    parts[what] = bytes(changed)
    assume(0 < int.from_bytes(parts["key"]) < ORDER)
    assert not secp256k1_verify(secp256k1_public_key(parts["key"]), parts["digest"], parts["signature"])


@pytest.mark.parametrize("r", [0, 1, ORDER, 2**256 - 1])
@pytest.mark.parametrize("s", [0, ORDER, 2**256 - 1])
def test_numbers_outside_the_group_are_no_signature(r, s):
    signature = r.to_bytes(32) + s.to_bytes(32)
    assert not secp256k1_verify(PUBLIC, bytes(32), signature)
    assert secp256k1_recover(bytes(32), signature) == []


@pytest.mark.parametrize("secret", [0, ORDER, 2**256 - 1])
def test_a_private_key_outside_the_group_is_refused_without_being_told(secret):
    private = secret.to_bytes(32)
    for refuse in (secp256k1_public_key, lambda key: secp256k1_sign(key, bytes(32))):
        with pytest.raises(InvalidArtefact) as refused:
            refuse(private)
        assert private.hex() not in str(refused.value)


@pytest.mark.parametrize(
    "public",
    [
        b"",
        PUBLIC[:-1],
        PUBLIC + b"\x00",
        bytes(33),
        b"\x04" + PUBLIC[1:],
        b"\x05" + PUBLIC[1:],
        b"\x02" + (5).to_bytes(32),
        b"\x02" + b"\xff" * 32,
    ],
    ids=["empty", "short", "long", "infinity", "uncompressed", "compact", "off the curve", "above the field"],
)
def test_what_is_not_a_compressed_key_is_refused(public):
    for refuse in (secp256k1_point, lambda key: secp256k1_verify(key, bytes(32), bytes(64))):
        with pytest.raises(InvalidArtefact):
            refuse(public)


@given(st.binary(max_size=300))
def test_digests_agree_with_another_implementation(data):
    assert keccak256(data) == keccak.new(digest_bits=256, data=data).digest()
    assert ripemd160(data) == RIPEMD160.new(data).digest()


@given(st.from_regex(r"[a-z][a-z0-9]{0,9}", fullmatch=True), st.binary(max_size=32))
def test_addresses_agree_with_another_implementation(prefix, data):
    text = bech32_encode(prefix, data)
    assert text == bech32_oracle.bech32_encode(prefix, bech32_oracle.convertbits(data, 8, 5))
    assert bech32_decode(text) == (prefix, data)
    assert bech32_decode(text.upper()) == (prefix, data)


@given(st.data())
def test_one_false_character_in_an_address_is_noticed(data):
    text = SIGNED["cosmos_address"]
    at = data.draw(st.integers(len("lumera1"), len(text) - 1))
    character = data.draw(st.sampled_from(CHARACTERS.replace(text[at], "")))
    with pytest.raises(InvalidArtefact):
        bech32_decode(text[:at] + character + text[at + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lumera",
        "lumera1",
        "1qqqqqq",
        "L" + SIGNED["cosmos_address"][1:],
        SIGNED["cosmos_address"] + "q",
        "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
        "l\N{LATIN SMALL LETTER U WITH DIAERESIS}mera1qqqqqqqq",
    ],
    ids=["nothing", "a word", "no data", "no prefix", "mixed case", "one more character", "bech32m", "not ASCII"],
)
def test_what_is_not_bech32_is_no_address(text):
    with pytest.raises(InvalidArtefact):
        bech32_decode(text)


@pytest.mark.parametrize("prefix", ["", "Lumera", "lu mera", "l\N{LATIN SMALL LETTER U WITH DIAERESIS}mera", "x" * 84])
def test_an_address_needs_a_proper_prefix(prefix):
    with pytest.raises(InvalidArtefact):
        bech32_encode(prefix, bytes(20))
