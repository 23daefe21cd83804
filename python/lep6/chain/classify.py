"""What the chain's errors mean: one table, and the only place in lep6 where an error's text is looked at.

By (codespace, code) where there is one: in a block's result and in CheckTx's. By the text where the code is lost: a
simulation fails with the status Unknown and prose (chain contract §2.7, §3).
"""

import enum
import re
from typing import Final

from grpclib.const import Status

from lep6.transaction import Refusal

AUDIT: Final = "audit"
SDK: Final = "sdk"

BY_CODE: Final = {
    (AUDIT, 11): Refusal.OP_UNKNOWN,
    (AUDIT, 12): Refusal.NOT_ASSIGNED,
    (AUDIT, 13): Refusal.WRONG_STATUS,
    (AUDIT, 14): Refusal.WRONG_TICKET,
    (AUDIT, 15): Refusal.VOTE_EXISTS,
    (AUDIT, 17): Refusal.WRONG_HASH,
    (SDK, 4): Refusal.KEY,
    (SDK, 5): Refusal.FUNDS,
    (SDK, 9): Refusal.FUNDS,  # an account that does not exist was never given anything
    (SDK, 11): Refusal.GAS,
    (SDK, 13): Refusal.FEE,
    (SDK, 20): Refusal.MEMPOOL,
    (SDK, 30): Refusal.LATE,
    (SDK, 32): Refusal.SEQUENCE,
}
"""The refusal of each code that has one of its own."""

IN_MEMPOOL: Final = (SDK, 19)
"""The transaction waits already: no refusal."""

BY_DESCRIPTION: Final = {
    "heal op not found": Refusal.OP_UNKNOWN,
    "heal op unauthorized actor": Refusal.NOT_ASSIGNED,
    "heal op invalid state transition": Refusal.WRONG_STATUS,
    "heal op ticket mismatch": Refusal.WRONG_TICKET,
    "heal verification already submitted": Refusal.VOTE_EXISTS,
    "invalid heal verification": Refusal.WRONG_HASH,
    "unauthorized": Refusal.KEY,
    "insufficient funds": Refusal.FUNDS,
    "unknown address": Refusal.FUNDS,
    "out of gas": Refusal.GAS,
    "insufficient fee": Refusal.FEE,
    "mempool is full": Refusal.MEMPOOL,
    "tx timeout height": Refusal.LATE,
    "incorrect account sequence": Refusal.SEQUENCE,
}
"""The registered description that ends the text of each. What comes before it may quote anything."""

BY_PHRASE: Final = {
    "does not accept healer completion claim": Refusal.WRONG_STATUS,
    "does not accept verification": Refusal.WRONG_STATUS,
    "verification already submitted by creator": Refusal.VOTE_EXISTS,
    "mismatches heal-op result hash": Refusal.WRONG_HASH,
    "is not assigned healer": Refusal.NOT_ASSIGNED,
    "is not assigned verifier": Refusal.NOT_ASSIGNED,
    "does not match heal op ticket_id": Refusal.WRONG_TICKET,
    "account sequence mismatch": Refusal.SEQUENCE,
    "wrong sequence": Refusal.SEQUENCE,
    "out of gas": Refusal.GAS,
}
"""Where a chain describes otherwise: phrases of the detail, the first that is found."""

_SIMULATED: Final = re.compile(r"(?P<text>.*?)( \[[^\]]*\])?( with gas used: '\d+')?", re.DOTALL)
_EXPECTED: Final = re.compile(r"expected (\d+), got \d+")


class Answer(enum.Enum):
    """What a failed query says."""

    ABSENT = "there is no such thing"
    UNINDEXED = "the node does not index transactions"
    NOTHING = "nothing: it may be asked again, here or elsewhere"


ABSENCES: Final = {
    "HealOp": ("heal op not found",),
    "GetAction": ("failed to get action by ID",),
    "GetTx": ("tx not found",),
    "AccountInfo": ("account ",),
    "Account": ("account ",),
    "GetSuperNodeBySuperNodeAddress": ("supernode not found",),
    "MigrationRecordByNewAddress": ("",),
}
"""What a NOT_FOUND of a method has to say to mean that the thing asked for is not there. Any other means nothing."""

NO_INDEX: Final = "transaction indexing is disabled"

TRANSIENT: Final = frozenset(
    {Status.CANCELLED, Status.DEADLINE_EXCEEDED, Status.RESOURCE_EXHAUSTED, Status.ABORTED, Status.UNAVAILABLE}
)
"""Statuses that say nothing about what was asked."""

UNSERVED: Final = frozenset({Status.UNIMPLEMENTED, Status.PERMISSION_DENIED, Status.UNAUTHENTICATED})
"""Statuses with which a node, or a proxy before it, does not serve a method: another node may."""


def refusal_of(codespace: str, code: int) -> Refusal:
    """The refusal of a transaction with this code."""
    return BY_CODE.get((codespace, code), Refusal.OTHER)


def refusal_in(text: str) -> Refusal | None:
    """The refusal that a failed simulation's text tells of; `None` when it tells of none that is known."""
    match = _SIMULATED.fullmatch(text)
    words = match["text"] if match else text
    for description, refusal in BY_DESCRIPTION.items():
        if words == description or words.endswith(f": {description}"):
            return refusal
    return next((refusal for phrase, refusal in BY_PHRASE.items() if phrase in words), None)


def expected_sequence(text: str) -> int | None:
    """The sequence that a mismatch's text says is expected."""
    found = _EXPECTED.search(text)
    return int(found[1]) if found else None


def answer_of(method: str, status: Status, text: str) -> Answer:
    """What a refused query of a method says."""
    if method == "GetTx" and NO_INDEX in text:
        return Answer.UNINDEXED
    if status is Status.NOT_FOUND and any(text.startswith(words) for words in ABSENCES.get(method, ())):
        return Answer.ABSENT
    return Answer.NOTHING
