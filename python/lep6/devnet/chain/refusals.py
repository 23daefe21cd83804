"""What the chain's refusals mean (chain contract §3.4): by code where there is one, by text after a simulation."""

import re
from typing import Final

from lep6.devnet.chain.failures import AUDIT, DESCRIPTIONS, SDK
from lep6.transaction import Refusal

REFUSALS: Final = {
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

_SIMULATED = re.compile(r"(?P<text>.*?)( \[[^\]]*\])?( with gas used: '\d+')?", re.DOTALL)
_EXPECTED = re.compile(r"account sequence mismatch, expected (\d+), got \d+")


def refusal_of(codespace: str, code: int) -> Refusal:
    """The refusal of a code."""
    return REFUSALS.get((codespace, code), Refusal.OTHER)


def refusal_in(text: str) -> Refusal:
    """The refusal that a failed simulation's text tells of.

    Only the end counts, where the registered description is: what comes before may quote anything.
    """
    match = _SIMULATED.fullmatch(text)
    words = match["text"] if match else text
    for code, refusal in REFUSALS.items():
        if words.endswith(f": {DESCRIPTIONS[code]}"):
            return refusal
    return Refusal.OTHER


def expected_sequence(text: str) -> int | None:
    """The sequence that a mismatch's text says is expected."""
    found = _EXPECTED.search(text)
    return int(found[1]) if found else None
