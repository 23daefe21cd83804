"""Account keys against the `ecdsa` and `pycryptodome` packages (docs/formats.md, "Signatures")."""

from hashlib import sha256

import bech32
import pytest
from Crypto.Hash import RIPEMD160, keccak
from ecdsa import SECP256k1, SigningKey, util
from hypothesis import given
from hypothesis import strategies as st

from lep6.errors import InvalidKey
from lep6.keys import KeyKind, PrivateKey, PublicKey, recover
from world import CREATOR, VECTORS

EXAMPLE = VECTORS["signed_example_1000B"]
EXAMPLE_SECRET = bytes.fromhex(EXAMPLE["private_key_hex"])
ORDER = SECP256k1.order

secrets = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
kinds = st.sampled_from(KeyKind)


def digest_of(kind, message):
    if kind is KeyKind.COSMOS:
        return sha256(message).digest()
    return keccak.new(digest_bits=256, data=message).digest()


def oracle_signature(secret, kind, message, encode=util.sigencode_string_canonize):
    key = SigningKey.from_string(secret, SECP256k1)
    return key.sign_digest_deterministic(digest_of(kind, message), hashfunc=sha256, sigencode=encode)


def oracle_address(secret, kind):
    key = SigningKey.from_string(secret, SECP256k1).verifying_key
    if kind is KeyKind.COSMOS:
        raw = RIPEMD160.new(sha256(key.to_string("compressed")).digest()).digest()
    else:
        raw = digest_of(kind, key.to_string("raw"))[-20:]
    return bech32.bech32_encode("lumera", bech32.convertbits(raw, 8, 5))


def test_the_examples_key_has_its_addresses():
    public = PrivateKey(KeyKind.COSMOS, EXAMPLE_SECRET).public
    assert public.compressed.hex() == EXAMPLE["pubkey_compressed_hex"]
    assert public.address == EXAMPLE["cosmos_address"]
    assert PrivateKey(KeyKind.ETHEREUM, EXAMPLE_SECRET).public.address == EXAMPLE["eth_style_address"]


@given(secrets, kinds)
def test_public_keys_and_addresses_are_those_of_other_libraries(secret, kind):
    public = PrivateKey(kind, secret).public
    assert public.compressed == SigningKey.from_string(secret, SECP256k1).verifying_key.to_string("compressed")
    assert public.address == oracle_address(secret, kind)


@given(secrets, kinds, st.binary(max_size=200))
def test_signatures_are_deterministic_and_those_of_another_library(secret, kind, message):
    signature = PrivateKey(kind, secret).sign(message)
    assert signature == oracle_signature(secret, kind, message)
    assert PrivateKey(kind, secret).public.verify(message, signature)


@given(secrets, kinds, st.binary(max_size=50))
def test_a_high_s_is_refused_in_verifying_and_recovering(secret, kind, message):
    signature = PrivateKey(kind, secret).sign(message)
    high = signature[:32] + (ORDER - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
    assert not PrivateKey(kind, secret).public.verify(message, high)
    assert recover(kind, message, high) == []


def test_a_key_verifies_only_its_own_kind_message_and_signature():
    cosmos, ethereum = (PrivateKey(kind, EXAMPLE_SECRET) for kind in KeyKind)
    signature = cosmos.sign(b"a message")
    assert cosmos.public.verify(b"a message", signature)
    assert not cosmos.public.verify(b"a messagf", signature)
    assert not ethereum.public.verify(b"a message", signature)
    assert not CREATOR.public.verify(b"a message", signature)


def test_a_signature_with_any_bit_changed_is_refused():
    signature = int.from_bytes(CREATOR.sign(b"a message"), "big")
    for bit in range(512):
        assert not CREATOR.public.verify(b"a message", (signature ^ 1 << bit).to_bytes(64, "big"))


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        bytes(63),
        bytes(64),
        b"\xff" * 64,
        ORDER.to_bytes(32, "big") + (1).to_bytes(32, "big"),
        (1).to_bytes(32, "big") + bytes(32),
        CREATOR.sign(b"a message") + b"\0",
        CREATOR.sign(b"a message")[:-1],
    ],
)
def test_what_is_no_signature_verifies_nothing_and_recovers_nobody(signature):
    assert not CREATOR.public.verify(b"a message", signature)
    assert recover(KeyKind.COSMOS, b"a message", signature) == []


@given(secrets, kinds, st.binary(max_size=50))
def test_the_signers_key_is_among_the_few_recovered(secret, kind, message):
    private = PrivateKey(kind, secret)
    recovered = recover(kind, message, private.sign(message))
    assert private.public in recovered
    assert len(recovered) <= 4
    assert all(key.verify(message, private.sign(message)) for key in recovered)


@pytest.mark.parametrize(
    "compressed",
    [
        b"",
        bytes(33),
        b"\x02" + b"\xff" * 32,
        b"\x02" + (5).to_bytes(32, "big"),  # x³ + 7 is no square there
        CREATOR.public.compressed[:-1],
        CREATOR.public.compressed + b"\0",
        b"\x04" + CREATOR.public.compressed[1:],
        SigningKey.from_string(EXAMPLE_SECRET, SECP256k1).verifying_key.to_string("uncompressed"),
        SigningKey.from_string(EXAMPLE_SECRET, SECP256k1).verifying_key.to_string("raw"),
    ],
)
@pytest.mark.parametrize("kind", KeyKind)
def test_what_is_no_compressed_point_is_no_public_key(compressed, kind):
    with pytest.raises(InvalidKey):
        PublicKey(kind, compressed)


@pytest.mark.parametrize(
    "secret", [b"", bytes(32), ORDER.to_bytes(32, "big"), b"\xff" * 32, b"\x11" * 31, b"\x11" * 33]
)
def test_a_private_key_outside_the_curves_order_is_refused_without_a_word_of_it(secret):
    with pytest.raises(InvalidKey, match=r"^(not a secp256k1 private key|a private key has 32 bytes, not \d+)$"):
        PrivateKey(KeyKind.COSMOS, secret)


def test_a_private_key_shows_in_no_representation():
    private = PrivateKey(KeyKind.ETHEREUM, b"secret of 32 bytes, not for show")
    assert "secret of" not in repr(private)
    assert b"secret of 32 bytes, not for show".hex() not in repr(private)


@pytest.mark.parametrize("tag", [0, 1, 4, 5, 6, 7, 0xFF])
def test_a_compressed_key_begins_with_2_or_3(tag):
    with pytest.raises(InvalidKey):
        PublicKey(KeyKind.COSMOS, bytes([tag]) + CREATOR.public.compressed[1:])
