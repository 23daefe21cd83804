"""Hash texts: what they stand for, however they are spelt."""

from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lep6.heal.hashes import digest_in, is_same_hash

ONES = b"\xff" * 32
COUNTED = bytes(range(32))
DIGESTS = st.binary(min_size=32, max_size=32)
BLANKS = st.text(" \t\r\n", max_size=4)


@st.composite
def spelt(draw, digest):
    """A digest in any spelling."""
    encode = draw(st.sampled_from([b64encode, urlsafe_b64encode]))
    text = encode(digest).decode()
    return draw(BLANKS) + (text if draw(st.booleans()) else text.rstrip("=")) + draw(BLANKS)


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", COUNTED),
        ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", COUNTED),
        (" AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\r\n", COUNTED),
        ("//////////////////////////////////////////8=", ONES),
        ("__________________________________________8=", ONES),
        ("__________________________________________8", ONES),
        ("_/_/______________________________________8", ONES),
    ],
)
def test_a_digest_is_read_in_either_alphabet_with_or_without_padding_and_blanks_around(text, digest):
    assert digest_in(text) == digest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=",
        " \n",
        "not base64",
        b64encode(ONES[:31]).decode(),
        b64encode(ONES + b"\xff").decode(),
        COUNTED.hex(),
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=AAAA",
        "AAECAwQFBgcICQoLDA0O DxAREhMUFRYXGBkaGxwdHh8=",
        "AAECAwQFBgcICQoLDA0O\nDxAREhMUFRYXGBkaGxwdHh8=",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh\0=",
        "\u0410AECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "\ud800" * 43,
        "A" * 41,
        "A" * 1_000_000,
    ],
)
def test_what_is_not_32_bytes_of_base64_stands_for_nothing(text):
    assert digest_in(text) is None
    assert not is_same_hash(text, text)


@given(st.data(), DIGESTS)
def test_spellings_of_one_digest_are_the_same_hash(data, digest):
    one, other = data.draw(spelt(digest)), data.draw(spelt(digest))
    assert digest_in(one) == digest
    assert is_same_hash(one, other)


@given(st.data(), DIGESTS, DIGESTS)
def test_digests_that_differ_are_not_the_same_hash(data, one, other):
    assert is_same_hash(data.draw(spelt(one)), data.draw(spelt(other))) == (one == other)


@given(st.text())
def test_any_text_stands_for_32_bytes_or_for_nothing(text):
    digest = digest_in(text)
    assert digest is None or len(digest) == 32
