"""Account addresses against the `bech32` package."""

import bech32
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lep6.errors import InvalidKey
from lep6.keys import account_address, address_bytes

RAW = bytes(range(20))
ADDRESS = "lumera1qqqsyqcyq5rqwzqfpg9scrgwpugpzysnmf3plt"


def spelled(raw, prefix="lumera"):
    return bech32.bech32_encode(prefix, bech32.convertbits(raw, 8, 5))


@given(st.binary(min_size=20, max_size=20))
def test_addresses_are_those_of_another_library_and_read_back(raw):
    assert account_address(raw) == spelled(raw)
    assert address_bytes(account_address(raw)) == raw


def test_an_address_in_capitals_is_the_same_address():
    assert address_bytes(ADDRESS.upper()) == RAW


@pytest.mark.parametrize("size", [0, 19, 21, 32])
def test_other_lengths_than_20_bytes_are_no_account(size):
    with pytest.raises(InvalidKey, match="20"):
        account_address(bytes(size))
    with pytest.raises(InvalidKey, match="not a lumera account"):
        address_bytes(spelled(bytes(size)))


@pytest.mark.parametrize("prefix", ["cosmos", "lumer", "lumeravaloper", "lumerapub", "l"])
def test_an_address_of_another_prefix_is_refused(prefix):
    with pytest.raises(InvalidKey, match="not a lumera account"):
        address_bytes(spelled(RAW, prefix))


def test_every_mistyped_character_is_noticed():
    for position in range(len("lumera1"), len(ADDRESS)):
        for character in bech32.CHARSET.replace(ADDRESS[position], ""):
            with pytest.raises(InvalidKey):
                address_bytes(ADDRESS[:position] + character + ADDRESS[position + 1 :])


def test_the_checksum_of_bech32m_is_refused():
    values = bech32.bech32_hrp_expand("lumera") + bech32.convertbits(RAW, 8, 5)
    checksum = bech32.bech32_polymod([*values, 0, 0, 0, 0, 0, 0]) ^ 0x2BC830A3
    letters = "".join(bech32.CHARSET[checksum >> 5 * (5 - place) & 31] for place in range(6))
    with pytest.raises(InvalidKey, match="bech32"):
        address_bytes(ADDRESS[:-6] + letters)


@pytest.mark.parametrize(
    "text",
    ["", "lumera", "lumera1", f"{ADDRESS} ", f" {ADDRESS}", f"{ADDRESS}\n", ADDRESS[:-1] + "T", ADDRESS[1:], "1" * 50],
)
def test_what_is_nearly_an_address_is_none(text):
    with pytest.raises(InvalidKey):
        address_bytes(text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_an_address_or_an_invalid_key(text):
    try:
        raw = address_bytes(text)
    except InvalidKey:
        return
    assert account_address(raw) == text.lower()


@pytest.mark.parametrize("surplus", [[0], [1], [31]])
def test_a_surplus_group_of_bits_is_refused(surplus):
    text = bech32.bech32_encode("lumera", bech32.convertbits(RAW, 8, 5) + surplus)
    with pytest.raises(InvalidKey):
        address_bytes(text)


def test_text_that_is_no_unicode_is_no_address():
    with pytest.raises(InvalidKey):
        address_bytes("lumera1\ud800")
