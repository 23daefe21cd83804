"""Bech32 addresses of accounts."""

from lep6 import _core
from lep6.errors import InvalidArtefact, InvalidKey

ACCOUNT_PREFIX = "lumera"
ADDRESS_SIZE = 20
"""Bytes of an account address."""


def account_address(raw: bytes) -> str:
    """The text of an account address of 20 bytes."""
    if len(raw) != ADDRESS_SIZE:
        raise InvalidKey(f"an account address has {ADDRESS_SIZE} bytes, not {len(raw)}")
    return _core.bech32_encode(ACCOUNT_PREFIX, raw)


def address_bytes(text: str) -> bytes:
    """The 20 bytes of an account address.

    Raises:
        InvalidKey: it is not bech32, has another prefix, or another length.
    """
    if not text.isascii():
        raise InvalidKey("an address is bech32, which is ASCII")
    try:
        prefix, raw = _core.bech32_decode(text)
    except InvalidArtefact as error:
        raise InvalidKey(str(error)) from error
    if prefix != ACCOUNT_PREFIX or len(raw) != ADDRESS_SIZE:
        raise InvalidKey(f"{text!r} is not a {ACCOUNT_PREFIX} account address")
    return raw
