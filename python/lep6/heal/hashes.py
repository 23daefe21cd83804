"""Hash texts of the chain. It compares texts; we compare what they stand for, and give it back its own text."""

import base64
import binascii
from typing import Final

DIGEST_SIZE: Final = 32

_PLAIN: Final = str.maketrans("-_", "+/")


def digest_in(text: str) -> bytes | None:
    """The 32 bytes that a hash text stands for, however it is spelt; `None` when it does not stand for 32 bytes.

    Either alphabet of base64, with or without padding, blanks around it.
    """
    plain = text.strip().rstrip("=").translate(_PLAIN)
    try:
        digest = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest if len(digest) == DIGEST_SIZE else None


def is_same_hash(one: str, other: str) -> bool:
    """Whether two hash texts stand for the same digest."""
    digest = digest_in(one)
    return digest is not None and digest == digest_in(other)
