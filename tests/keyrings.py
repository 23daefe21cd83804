"""Keyrings and key files as others write them, and a search for secrets in all that an exception shows."""

import base64
import functools
import json
import warnings
from contextlib import contextmanager
from pathlib import Path

import jwcrypto.jwe
import pytest
from joserfc.jwe import JWERegistry, encrypt_compact
from joserfc.jwk import OctKey

from lep6.errors import KeyNotOpened
from lep6.keys import KeyKind, PrivateKey, address_bytes

MNEMONIC = "test test test test test test test test test test test junk"
ETHEREUM_SECRET = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
COSMOS_SECRET = bytes.fromhex("1b39ae4b9e9aee59ed2a3d9c4ca7a8b3f4a5d6e7f8091a2b3c4d5e6f70819203")
PASSPHRASE = "correct horse, 8 or more"  # noqa: S105
ALGORITHMS = ["PBES2-HS256+A128KW", "A256GCM"]
PACKAGES = {KeyKind.COSMOS: "/cosmos.crypto.secp256k1", KeyKind.ETHEREUM: "/cosmos.evm.crypto.v1.ethsecp256k1"}
HEADER = {
    "alg": ALGORITHMS[0],
    "created": "2025-11-25 03:18:17.123456789 +0000 UTC m=+0.012345678",
    "enc": ALGORITHMS[1],
    "p2c": 1000,
    "p2s": "MDEyMzQ1Njc4OWFi",
}


def by_joserfc(plaintext, password, header=HEADER):
    registry = JWERegistry(algorithms=ALGORITHMS, strict_check_header=False)
    with warnings.catch_warnings(action="ignore"):  # the password of `test` is short
        return encrypt_compact(header, plaintext, OctKey.import_key(password), registry=registry).encode()


def by_jwcrypto(plaintext, password, header=HEADER):
    token = jwcrypto.jwe.JWE(plaintext, protected=json.dumps(header))
    token.allowed_algs = ALGORITHMS
    token.add_recipient(password)
    return token.serialize(compact=True).encode()


def field(number, content):
    """A field of protobuf that is bytes, text or a message."""
    size, length = len(content), b""
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def packed(type_url, key):
    return field(1, type_url.encode()) + field(2, field(1, key))


def record(name, kind, secret, public=None):
    """A record with a private key."""
    public = public or PrivateKey(kind, secret).public.compressed
    return (
        field(1, name.encode())
        + field(2, packed(PACKAGES[kind] + ".PubKey", public))
        + field(3, field(1, packed(PACKAGES[kind] + ".PrivKey", secret)))
    )


def item(key, data, **others):
    """The plaintext of an item."""
    written = {"Key": key, "Data": base64.b64encode(data).decode(), "Label": "", "Description": ""}
    flags = {"KeychainNotTrustApplication": False, "KeychainNotSynchronizable": False}
    return json.dumps({**written, **flags, **others}).encode()


def put(folder, key, token):
    """Write an item's file as the SDK does."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / key.replace("%", "%25").replace("/", "%2F")
    path.write_bytes(token)
    path.chmod(0o600)
    return path


def add_key(folder, password, name, private, write=by_joserfc):
    """Put a key into a keyring's folder; the path of its record."""
    address = address_bytes(private.public.address).hex()
    put(folder, f"{address}.address", write(item(f"{address}.address", f"{name}.info".encode()), password))
    return put(
        folder, f"{name}.info", write(item(f"{name}.info", record(name, private.kind, private._secret)), password)
    )


def snapshot(directory: Path):
    """All that a directory holds."""
    return {
        path: (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in sorted(directory.rglob("*"))
    }


@functools.cache
def spellings(secret):
    """How a secret may be written."""
    if isinstance(secret, str):
        secret = secret.encode()
    number = int.from_bytes(secret, "big")
    written = {secret.hex(), repr(secret)[2:-1], str(list(secret))[1:-1], f"{number}", f"{number:x}", f"{number:X}"}
    written.add(secret.hex().upper())
    for at in range(3):  # wherever it lies in what is written in base64
        part = secret[at:][: (len(secret) - at) // 3 * 3]
        written |= {base64.b64encode(part).decode(), base64.urlsafe_b64encode(part).decode()}
    written |= {secret.decode()} if secret.isascii() else set()
    return {spelling for spelling in written if len(spelling) > 7}  # shorter ones stand in any text


def shown(error, seen=None):
    """All that can be shown of an exception: texts, attributes, and the variables of every frame but the tests' own."""
    seen = set() if seen is None else seen
    if error is None or id(error) in seen:
        return ""
    seen.add(id(error))
    parts = [str(error), repr(error), repr(error.args), repr(vars(error))]
    parts += [str(getattr(error, name, "")) for name in ("doc", "object", "strerror", "filename")]
    trace = error.__traceback__
    while trace is not None:
        if "/tests/" not in trace.tb_frame.f_code.co_filename:
            parts += [f"{name}={value!r}" for name, value in trace.tb_frame.f_locals.items()]
        trace = trace.tb_next
    return "\n".join([*parts, shown(error.__cause__, seen), shown(error.__context__, seen)])


def assert_shows_none(text, *secrets):
    for secret in secrets:
        for spelling in spellings(secret):
            assert spelling not in text


@contextmanager
def refused(match=None, *secrets):
    """What is done here raises `KeyNotOpened`, which shows none of the secrets, nor those of this module."""
    with pytest.raises(KeyNotOpened, match=match) as raised:
        yield
    assert_shows_none(shown(raised.value), ETHEREUM_SECRET, COSMOS_SECRET, PASSPHRASE, MNEMONIC, *secrets)
