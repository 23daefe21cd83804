"""Writes keyrings of the Cosmos SDK's backend `test`, for nodes of a box: lep6 itself only reads them."""

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from lep6.keys import KeyKind, PublicKey, address_bytes, pack_key
from lep6.keys.jwe import ALGORITHM, ENCRYPTION
from lep6.keys.keyring import TEST_PASSWORD
from lep6.wire.cosmos.crypto.keyring.v1 import Record, RecordLocal
from lep6.wire.cosmos.crypto.secp256k1 import PrivKey
from lep6.wire.google.protobuf import Any

ITERATIONS: Final = 1000
_PRIVATE: Final = {
    KeyKind.COSMOS: "/cosmos.crypto.secp256k1.PrivKey",
    KeyKind.ETHEREUM: "/cosmos.evm.crypto.v1.ethsecp256k1.PrivKey",
}


def write_key(directory: Path, name: str, public: PublicKey, secret: bytes) -> None:
    """Put a key into the keyring `test` of a keyring directory. Everybody knows its password.

    Raises:
        OSError: the system refused a write.
    """
    folder = directory / "keyring-test"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    private = Any(_PRIVATE[public.kind], bytes(PrivKey(secret)))
    record = Record(name=name, pub_key=pack_key(public), local=RecordLocal(private))
    _put(folder, f"{name}.info", bytes(record))
    _put(folder, f"{address_bytes(public.address).hex()}.address", f"{name}.info".encode())


def _put(folder: Path, item: str, data: bytes) -> None:
    plaintext = json.dumps({"Key": item, "Data": _text(data), "Label": "", "Description": ""}).encode()
    path = folder / item
    path.touch(mode=0o600)
    path.write_bytes(_token(plaintext))


def _token(plaintext: bytes) -> bytes:
    """A JWE in compact form, under the password of the backend `test`."""
    salt, nonce, key = os.urandom(12), os.urandom(12), os.urandom(32)
    header = _encoded(
        json.dumps({"alg": ALGORITHM, "enc": ENCRYPTION, "p2c": ITERATIONS, "p2s": _encoded(salt).decode()}).encode()
    )
    wrapping = hashlib.pbkdf2_hmac("sha256", TEST_PASSWORD, ALGORITHM.encode() + b"\0" + salt, ITERATIONS, 16)
    sealed = AESGCM(key).encrypt(nonce, plaintext, header)
    return b".".join([header, *map(_encoded, (aes_key_wrap(wrapping, key), nonce, sealed[:-16], sealed[-16:]))])


def _encoded(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
