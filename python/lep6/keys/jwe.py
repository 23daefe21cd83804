"""Encrypted tokens: JWE in compact form under a password, as keyrings have them (docs/formats.md, "Keyring").

RFC 7516 and 7518, of which one choice of algorithms is read: PBES2-HS256+A128KW and A256GCM.
"""

import base64
import binascii
import hashlib
import json
from typing import Any, Final

from attrs import frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from lep6.errors import KeyNotOpened

ALGORITHM: Final = "PBES2-HS256+A128KW"
ENCRYPTION: Final = "A256GCM"
MAX_ITERATIONS: Final = 1_300_000
"""Of PBKDF2, about half a second; jose2go, the other reader of these tokens, draws the line here too."""
MIN_SALT: Final = 8
"""Bytes (RFC 7518, 4.8.1.1)."""
SIZES: Final = (40, 12, 16)
"""Bytes of the encrypted key (32 and 8), the nonce and the tag."""


@frozen
class _Header:
    iterations: int
    salt: bytes


def open_token(token: bytes, password: bytes) -> bytes:
    """The plaintext of a token.

    Raises:
        KeyNotOpened: it is not such a token, asks for what is not known here or for too much work, is damaged, or the
            password is another. The last two cannot be told apart.
    """
    parts = token.split(b".")
    if len(parts) != 5:  # noqa: PLR2004
        raise KeyNotOpened("it is not an encrypted item: it has not five parts")
    header = _header(_decoded(parts[0]))
    wrapped, nonce, sealed, tag = map(_decoded, parts[1:])
    if (len(wrapped), len(nonce), len(tag)) != SIZES:
        raise KeyNotOpened("it is damaged: a part has not its length")
    salt = ALGORITHM.encode() + b"\0" + header.salt
    try:
        key = aes_key_unwrap(hashlib.pbkdf2_hmac("sha256", password, salt, header.iterations, 16), wrapped)
        return AESGCM(key).decrypt(nonce, sealed + tag, parts[0])
    except InvalidUnwrap:
        raise KeyNotOpened("the passphrase is wrong, or the file is damaged") from None
    except InvalidTag:
        raise KeyNotOpened("it is damaged: what it holds is not what was encrypted") from None


def _decoded(part: bytes) -> bytes:
    """Bytes of base64url without padding, in their one spelling."""
    try:
        data = base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        data = b""
    if base64.urlsafe_b64encode(data).rstrip(b"=") != part:
        raise KeyNotOpened("it is damaged: a part is not base64url")
    return data


def _header(text: bytes) -> _Header:
    """The protected header. Members that nobody must understand (`created`, `kid`) are ignored, as the RFC says."""
    try:
        header = json.loads(text.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise KeyNotOpened("it is not an encrypted item: its header is not a JSON object")
    for name, known in (("alg", ALGORITHM), ("enc", ENCRYPTION)):
        if header.get(name) != known:
            raise KeyNotOpened(f"its header has another {name!r} than {known}")
    for name in ("crit", "zip", "b64"):
        if name in header:
            raise KeyNotOpened(f"its header has {name!r}, which is not known here")
    iterations, salt = header.get("p2c"), header.get("p2s")
    if type(iterations) is not int or not 1 <= iterations <= MAX_ITERATIONS:
        raise KeyNotOpened(f"its header has no iteration count 'p2c' from 1 to {MAX_ITERATIONS}")
    if not isinstance(salt, str) or not salt.isascii() or len(decoded := _decoded(salt.encode())) < MIN_SALT:
        raise KeyNotOpened(f"its header has no salt 'p2s' of {MIN_SALT} bytes or more")
    return _Header(iterations, decoded)


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(members)
    if len(unique) != len(members):
        raise ValueError("a member stands there twice")
    return unique
