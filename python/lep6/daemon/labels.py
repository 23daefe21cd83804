"""The values that labels of metrics may have. There are no others, and none that comes from outside."""

from typing import Final, Literal, assert_never, get_args

from lep6.heal.events import Event, What
from lep6.heal.rows import Role

Query = Literal[
    "latest_block",
    "parameters",
    "heal_op",
    "heal_ops",
    "action",
    "public_key",
    "legacy_address",
    "supernode",
    "is_account",
    "prepare",
    "broadcast",
    "lookup",
]
"""What the chain is asked, by the names of the ports."""
Said = Literal["claim", "vote"]
Result = Literal["pooled", "refused", "indeterminate", "accepted", "dead"]
"""What became of a transaction."""
Moved = Literal["retrieved", "stored", "fetched", "served"]
"""Which way bytes of artefacts went: from and to the network, from a healer, to a verifier."""
Success = Literal["chain", "claim", "vote", "publish"]

QUERIES: Final[tuple[Query, ...]] = get_args(Query)
SAID: Final[tuple[Said, ...]] = get_args(Said)
RESULTS: Final[tuple[Result, ...]] = get_args(Result)
MOVED: Final[tuple[Moved, ...]] = get_args(Moved)
SUCCESSES: Final[tuple[Success, ...]] = get_args(Success)
WAITING: Final = ("reconstruct", "verify", "publish")
"""For what an op waits, by the names of the heal service's slots."""
ROWS: Final = ("accepted", "publishing", "closing", "intent_claim", "intent_vote", "voted")
"""States of the ledger's rows."""
_OUTCOMES: Final = {
    "healer": ("reconstructed", "claimed", "deferred", "failed"),
    "verifier": ("fetched", "voted_yes", "voted_no", "accepted", "abstained", "deferred", "failed"),
    "finalizer": ("published", "closed", "stuck"),
}
OUTCOMES: Final = tuple((role, outcome) for role, outcomes in _OUTCOMES.items() for outcome in outcomes)
"""What may become of an op, by role."""


def outcome_of(event: Event, role: Role | None) -> tuple[str, str] | None:
    """Role and outcome that an event tells; `None`: it tells none, or that of an op that is not in flight.

    `role`: in which the op is in flight. Most events tell it themselves. Only a VERIFIED op gets stuck, so that is the
    finalizer's affair; what it defers is told with the healer's, whose walk it is.
    """
    told: tuple[str, str] | None = None
    match event.what:
        case What.SENT:
            pass
        case What.RECONSTRUCTED:
            told = "healer", "reconstructed"
        case What.ACCEPTED:
            told = ("healer", "claimed") if event.text == "claim" else ("verifier", "accepted")
        case What.FETCHED | What.ABSTAINED:
            told = "verifier", event.what.value
        case What.DECIDED:
            told = "verifier", "voted_yes" if event.text == "yes" else "voted_no"
        case What.PUBLISHED | What.CLOSED | What.STUCK:
            told = "finalizer", event.what.value
        case What.DEFERRED | What.FAILED:
            told = (role.value, event.what.value) if role is not None else None
        case _ as never:
            assert_never(never)
    return told
