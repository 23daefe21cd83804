"""From the shared secret of a handshake to the key of its records (secure RPC contract §4)."""

from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PROTOCOL: Final = "ALTSRP_XCHACHA20_POLY1305_REKEY"
"""Of the records. It is never sent: both sides know it."""
KEY_SIZE: Final = 56
"""Bytes: the cipher's key, and the mask of its nonces."""


def record_key(own: ec.EllipticCurvePrivateKey, peer: ec.EllipticCurvePublicKey, *, client: str, server: str) -> bytes:
    """The expanded key of a connection. `client` is the account that has dialled, `server` the one that was.

    The secret of P-256 is shorter than the key, so that it is always expanded, and bound to both accounts.
    """
    secret = own.exchange(ec.ECDH(), peer)
    info = f"{PROTOCOL}-{client}-{server}".encode()
    return HKDF(SHA256(), KEY_SIZE, salt=None, info=info).derive(secret)
