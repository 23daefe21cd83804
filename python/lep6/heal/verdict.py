"""What a verifier tells the chain, and why: pure functions from what it saw to its vote (LEP-6 §20)."""

import enum
from hashlib import sha256
from typing import final

from attrs import frozen

from lep6.cascade.text import to_base64
from lep6.heal.hashes import digest_in
from lep6.model import HealOp
from lep6.transaction import Vote

MOST_DETAILS = 128
"""Bytes of text beside the reason that may go to the chain, where they stay for ever."""


class Reason(enum.Enum):
    """Why a vote is negative."""

    HASH_MISMATCH = "hash_mismatch"
    """The whole file came, and it is another."""
    FETCH_FAILED = "fetch_failed"
    """It could not be had whole."""
    HASH_COMPUTE_FAILED = "hash_compute_failed"
    """It came, and this node could not hash it."""


@final
@frozen
class WholeFile:
    """The whole file came from the healer."""

    digest: bytes
    """BLAKE3-256 of it."""


@final
@frozen
class NoFile:
    """No attempt gave a whole file."""

    reason: Reason
    """Of the last attempt."""
    kinds: tuple[str, ...]
    """How each attempt failed, in a word."""


def vote_on(op: HealOp, seen: WholeFile | NoFile) -> Vote:
    """The vote on an op. Evidence is only a whole file; it is compared with what the op's healer has claimed."""
    match seen:
        case WholeFile(digest) if digest == digest_in(op.result_hash):
            # The chain compares texts: it gets its own back.
            return Vote(op.op_id, verified=True, hash=op.result_hash, details="")
        case WholeFile(digest):
            return Vote(op.op_id, verified=False, hash=to_base64(digest), details=Reason.HASH_MISMATCH.value)
        case NoFile(reason, kinds):
            details = f"{reason.value}:{clean(', '.join(kinds))}" if kinds else reason.value
            return Vote(op.op_id, verified=False, hash=placeholder(reason), details=details)


def placeholder(reason: Reason) -> str:
    """What stands for a hash where there is none: the chain refuses an empty one on a negative vote too."""
    return to_base64(sha256(f"lep6:negative-attestation:{reason.value}".encode()).digest())


def clean(text: str) -> str:
    """Text that may go to the chain: printable ASCII, `MOST_DETAILS` bytes at most."""
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in text)[:MOST_DETAILS]
