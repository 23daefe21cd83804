"""Tokens of two other JOSE libraries, in the variants of a header that there are (RFC 7516, RFC 7518)."""

import base64
import json
import time

import jwcrypto.jwe
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrings import HEADER, PASSPHRASE, by_joserfc, by_jwcrypto
from lep6.errors import KeyNotOpened
from lep6.keys.jwe import open_token

SECRET = b"what only its owner may know"
PASSWORD = PASSPHRASE.encode()
TOKEN = by_joserfc(SECRET, PASSPHRASE)
writers = st.sampled_from([by_joserfc, by_jwcrypto])


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def with_header(text):
    """A token of which the header says something else: enough where it is refused for what it says."""
    return b".".join([encoded(text if isinstance(text, bytes) else json.dumps(text).encode()), *TOKEN.split(b".")[1:]])


@given(st.binary(), st.text(st.characters(exclude_categories=["Cs"]), min_size=1), writers)
def test_tokens_of_other_libraries_open_with_their_password_only(plaintext, password, write):
    token = write(plaintext, password)
    assert open_token(token, password.encode()) == plaintext
    with pytest.raises(KeyNotOpened, match="the passphrase is wrong, or the file is damaged"):
        open_token(token, password.encode() + b"x")


@pytest.mark.parametrize("write", [by_joserfc, by_jwcrypto])
@pytest.mark.parametrize(
    "header",
    [
        {name: HEADER[name] for name in ("alg", "enc", "p2c", "p2s")},
        dict(reversed(HEADER.items())),
        {**HEADER, "created": 5},
        {**HEADER, "kid": "ключ", "typ": "JWE", "cty": "json", "of later years": {"a": [1]}},
        {**HEADER, "p2s": encoded(bytes(8)).decode()},
        {**HEADER, "p2s": encoded(bytes(range(200))).decode()},
        {**HEADER, "p2c": 1001},
    ],
)
def test_headers_may_have_any_order_and_members_that_nobody_must_understand(write, header):
    assert open_token(write(SECRET, PASSPHRASE, header), PASSWORD) == SECRET


def test_the_white_space_of_a_header_does_not_matter():
    token = jwcrypto.jwe.JWE(SECRET, protected=json.dumps(HEADER, indent=4).replace('"p2c"', '"p\\u0032c"'))
    token.allowed_algs = [HEADER["alg"], HEADER["enc"]]
    token.add_recipient(PASSPHRASE)
    assert open_token(token.serialize(compact=True).encode(), PASSWORD) == SECRET


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"alg": "PBES2-HS512+A256KW"}, "another 'alg' than PBES2-HS256"),
        ({"alg": "dir"}, "another 'alg'"),
        ({"alg": None}, "another 'alg'"),
        ({"alg": ["PBES2-HS256+A128KW"]}, "another 'alg'"),
        ({"enc": "A128GCM"}, "another 'enc' than A256GCM"),
        ({"enc": "A128CBC-HS256"}, "another 'enc'"),
        ({"crit": ["exp"]}, "'crit', which is not known"),
        ({"crit": []}, "'crit', which is not known"),
        ({"zip": "DEF"}, "'zip', which is not known"),
        ({"b64": True}, "'b64', which is not known"),
        ({"p2c": 0}, "iteration count"),
        ({"p2c": -1}, "iteration count"),
        ({"p2c": 1_300_001}, "iteration count 'p2c' from 1 to 1300000"),
        ({"p2c": 10**400}, "iteration count"),
        ({"p2c": 8192.0}, "iteration count"),
        ({"p2c": True}, "iteration count"),
        ({"p2c": "8192"}, "iteration count"),
        ({"p2c": None}, "iteration count"),
        ({"p2c": float("nan")}, "iteration count"),
        ({"p2s": ""}, "salt"),
        ({"p2s": encoded(bytes(7)).decode()}, "salt 'p2s' of 8 bytes or more"),
        ({"p2s": "MDEyMzQ1Njc4OWE="}, "base64url"),
        ({"p2s": "MDEyMzQ1Njc4OWFi\n"}, "base64url"),
        ({"p2s": "MDEyMzQ1Njc4O+/i"}, "base64url"),
        ({"p2s": "ключ"}, "salt"),
        ({"p2s": 5}, "salt"),
        ({"p2s": None}, "salt"),
    ],
)
def test_a_header_that_asks_for_what_is_not_known_is_refused_before_any_work(changed, reason):
    begun = time.monotonic()
    with pytest.raises(KeyNotOpened, match=reason):
        open_token(with_header({**HEADER, **changed}), PASSWORD)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("missing", ["alg", "enc", "p2c", "p2s"])
def test_a_header_without_a_member_is_refused(missing):
    with pytest.raises(KeyNotOpened, match=missing):
        open_token(with_header({name: value for name, value in HEADER.items() if name != missing}), PASSWORD)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b"null",
        b"\xff\xfe",
        json.dumps(HEADER).encode("utf-16"),
        b"[" * 40_000,
        b'{"p2c":' + b"1" * 10_000 + b"}",
        json.dumps(HEADER).encode()[:-1] + b', "p2c": 1}',
        json.dumps(HEADER).encode()[:-1] + b', "created": 1}',
    ],
)
def test_a_header_that_is_no_json_object_or_names_a_member_twice_is_refused(text):
    with pytest.raises(KeyNotOpened, match="its header is not a JSON object"):
        open_token(with_header(text), PASSWORD)


@pytest.mark.parametrize("part", range(5))
@pytest.mark.parametrize(
    "change", [bytes.upper, lambda part: part[:-1], lambda part: part + b"A", lambda part: part[:0], bytes.swapcase]
)
def test_a_changed_part_is_refused(part, change):
    parts = by_joserfc(SECRET, PASSPHRASE).split(b".")
    parts[part] = change(parts[part])
    with pytest.raises(KeyNotOpened):
        open_token(b".".join(parts), PASSWORD)


@pytest.mark.parametrize("change", [b"%s.", b".%s", b"%s\n", b" %s", b"%s=", b"%s.%s", b"%s\0"])
def test_what_stands_around_a_token_is_refused(change):
    token = by_joserfc(SECRET, PASSPHRASE)
    with pytest.raises(KeyNotOpened):
        open_token(change.replace(b"%s", token), PASSWORD)


@pytest.mark.parametrize("at", [1, 3, 4])
def test_another_spelling_of_the_same_bytes_is_refused(at):
    """The bits of a last character that belong to no byte are zero."""
    parts = by_joserfc(SECRET + b"12", PASSPHRASE).split(b".")  # 30 bytes: its characters are full
    spare = -len(parts[at]) % 4
    if not spare:
        parts[at] += b"="
    else:
        parts[at] = parts[at][:-1] + bytes([parts[at][-1] + 1])
    with pytest.raises(KeyNotOpened, match="base64url"):
        open_token(b".".join(parts), PASSWORD)


def test_a_token_of_other_sizes_is_refused():
    parts = by_joserfc(SECRET, PASSPHRASE).split(b".")
    for part, size in ((1, 24), (1, 48), (2, 8), (2, 16), (4, 12), (4, 15)):
        changed = [*parts[:part], encoded(bytes(size)), *parts[part + 1 :]]
        with pytest.raises(KeyNotOpened, match="a part has not its length"):
            open_token(b".".join(changed), PASSWORD)
