"""Keys from mnemonics against the `mnemonic` package and BIP-32 in a few lines on `ecdsa`."""

import hashlib
import hmac

import pytest
from ecdsa import SECP256k1, SigningKey
from hypothesis import given
from hypothesis import strategies as st
from mnemonic import Mnemonic

from lep6._core import hd_private_key
from lep6.errors import InvalidArtefact

WORDS = b"test test test test test test test test test test test junk"
ORDER = SECP256k1.order

entropies = st.sampled_from([16, 20, 24, 28, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size))
steps = st.tuples(st.integers(0, 2**31 - 1), st.sampled_from(["", "'"]))


def oracle(words, path):
    secret, chain = halves(b"Bitcoin seed", Mnemonic.to_seed(words, ""))
    for step in path.split("/")[1:]:
        hardened = step.endswith("'")
        number = int(step.rstrip("'")) + (hardened << 31)
        key = SigningKey.from_string(secret, SECP256k1).verifying_key.to_string("compressed")
        tweak, chain = halves(chain, (b"\0" + secret if hardened else key) + number.to_bytes(4, "big"))
        secret = ((int.from_bytes(tweak, "big") + int.from_bytes(secret, "big")) % ORDER).to_bytes(32, "big")
    return secret


def halves(key, data):
    both = hmac.digest(key, data, hashlib.sha512)
    return both[:32], both[32:]


@given(entropies, st.lists(steps, min_size=1, max_size=6))
def test_keys_are_those_of_other_libraries(entropy, path):
    words = Mnemonic("english").to_mnemonic(entropy)
    path = "/".join(["m", *(f"{number}{mark}" for number, mark in path)])
    assert hd_private_key(words.encode(), path) == oracle(words, path)


@pytest.mark.parametrize(
    "path", ["", "m", "m/", "44'/60'", "M/0", "m/0/", "m//0", "m/-1", "m/2147483648", "m/0''", "m/a"]
)
def test_what_is_no_path_is_refused(path):
    with pytest.raises(InvalidArtefact, match="not a derivation path"):
        hd_private_key(WORDS, path)


def test_the_deepest_path_is_of_255_steps():
    assert len(hd_private_key(WORDS, "m" + "/0" * 255)) == 32
    with pytest.raises(InvalidArtefact, match="no key at this path"):
        hd_private_key(WORDS, "m" + "/0" * 256)


@given(st.binary(max_size=200))
def test_any_bytes_are_no_mnemonic(words):
    with pytest.raises(InvalidArtefact):
        hd_private_key(words, "m/0")


@given(st.lists(st.sampled_from(Mnemonic("english").wordlist), min_size=12, max_size=12))
def test_twelve_words_are_a_mnemonic_when_their_check_sum_is_right(words):
    words = " ".join(words)
    if Mnemonic("english").check(words):
        assert hd_private_key(words.encode(), "m/0") == oracle(words, "m/0")
    else:
        with pytest.raises(InvalidArtefact, match="check sum"):
            hd_private_key(words.encode(), "m/0")


def test_a_word_cut_to_its_first_letters_is_none():
    with pytest.raises(InvalidArtefact, match="word 12"):
        hd_private_key(WORDS.replace(b"junk", b"jun"), "m/0")
