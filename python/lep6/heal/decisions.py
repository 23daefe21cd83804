"""What to do about a heal op: pure functions of what this node remembers, has on its disk, and hears from the chain.

Two tables, for the op's healer (who is its finalizer, too) and for a verifier. Nothing here does I/O. What the chain
did not say is `None`, and then nothing is removed.
"""

import enum
from typing import Final, final

from attrs import frozen

from lep6.heal.hashes import is_same_hash
from lep6.heal.rows import ClaimRow, ClaimState, SentTransaction, VerificationRow
from lep6.model import HealOp, HealOpStatus, Ticket
from lep6.transaction import Absent, Claim, Found, Included, Refusal, Vote

INDEX_BLOCKS: Final = 2
"""Blocks past its time-out height after which a transaction that no block has is dead: nodes index blocks late."""

OPEN: Final = frozenset({HealOpStatus.SCHEDULED, HealOpStatus.IN_PROGRESS})
"""Statuses that take a claim."""
CLAIMED: Final = frozenset({HealOpStatus.HEALER_REPORTED, HealOpStatus.VERIFIED})
"""Statuses in which `result_hash` is the healer's claim. (FAILED overwrites it.)"""
ENDED: Final = frozenset({HealOpStatus.FAILED, HealOpStatus.EXPIRED})
"""Final statuses after which nothing is published."""
FINAL: Final = ENDED | {HealOpStatus.VERIFIED}


@final
@frozen
class Sight:
    """What the chain said of an op."""

    op: HealOp | None
    """`None`: the chain knows no such op."""
    is_current: bool
    """Whether the answering node is as far as any answer that was ever had."""
    is_confirmed: bool
    """Whether the op was seen just so before, at another height, by a node that was not behind either."""


@final
@frozen
class Duty:
    """What this node may do about an op now."""

    account: str
    """Of this node."""
    may_start: bool
    """Whether new work may be begun: the mode allows it, and it is known. What has begun goes on in any case."""
    is_window_open: bool
    """Whether a transaction that is sent now can still be included before the op expires."""


class Fate(enum.Enum):
    """What became of the transaction of an intent."""

    UNSENT = "there is none, or it is dead: a new one may be sent"
    UNDECIDED = "it may yet be included"
    ACCEPTED = "it is in a block and had its effect"


def fate(sent: SentTransaction, found: Found, height: int) -> Fate:
    """The fate of a transaction, by the answer to its look-up from a node at this height.

    It is dead when a block has it and it failed there, or when no block has it that could have.
    """
    match found:
        case Included(refusal=None | Refusal.VOTE_EXISTS):
            return Fate.ACCEPTED
        case Included():
            return Fate.UNSENT
        case Absent():
            is_late = height >= sent.timeout_height + INDEX_BLOCKS
            return Fate.UNSENT if is_late else Fate.UNDECIDED


@final
@frozen
class Wait:
    """Nothing now."""


@final
@frozen
class Confirm:
    """The op has come to an end: ask again at another height."""


@final
@frozen
class Reconstruct:
    """Rebuild the file and stage it."""

    op: HealOp


@final
@frozen
class SendClaim:
    """Tell the chain that the file is staged."""

    op: HealOp
    says: Claim


@final
@frozen
class RecordClaim:
    """The chain has accepted the claim: write that down."""

    says: Claim


@final
@frozen
class Serve:
    """Keep the staging for the verifiers."""


@final
@frozen
class Publish:
    """Put the staged artefacts into the network."""

    row: ClaimRow


@final
@frozen
class Close:
    """Remove what we have of the op, and publish nothing more."""

    why: str


HealerStep = Wait | Confirm | Reconstruct | SendClaim | RecordClaim | Serve | Publish | Close


@final
@frozen
class HealerFacts:
    """What is known of an op that this node heals, or has anything of."""

    duty: Duty
    row: ClaimRow | None
    told: Claim | None
    """The healer's intent: what it tells the chain."""
    staged: str | None
    """Manifest hash of the complete, sound staging on disk; `None` where there is none."""
    has_rest: bool
    """Whether anything else of the op lies on disk: a work area, a damaged staging, debris."""
    sight: Sight | None
    """What the chain said; `None` when it did not answer."""
    carried: Fate
    """Of the intent's transaction."""

    @property
    def claimed(self) -> str | None:
        """What we have claimed, or claim: it stands."""
        if self.row is not None:
            return self.row.manifest_hash
        return None if self.told is None else self.told.manifest_hash

    @property
    def manifest_hash(self) -> str | None:
        """What we have claimed, claim, or would claim; `None` where there is nothing to claim."""
        return self.staged if self.claimed is None else self.claimed

    @property
    def ticket(self) -> Ticket | None:
        """Of what we have claimed, or claim."""
        if self.row is not None:
            return self.row.ticket
        return None if self.told is None else self.told.ticket

    @property
    def is_staged(self) -> bool:
        """Whether what is staged is what we have claimed, claim, or would claim."""
        return self.staged is not None and is_same_hash(self.staged, self.manifest_hash or "")

    @property
    def has_anything(self) -> bool:
        """Whether this node has anything of the op, in its ledger or on its disk."""
        return self.has_rest or self.manifest_hash is not None


def healer_step(facts: HealerFacts) -> HealerStep:
    """What to do about an op that this node heals, or has anything of."""
    row, sight = facts.row, facts.sight
    if row is not None and row.state is not ClaimState.ACCEPTED:
        return Close("closing") if row.state is ClaimState.CLOSING else Publish(row)
    if row is None and facts.told is not None and facts.carried is Fate.ACCEPTED:
        return RecordClaim(facts.told)
    if sight is None:
        return Wait()
    op, ours = sight.op, facts.manifest_hash
    if op is None or op.healer != facts.duty.account or op.status in ENDED or facts.ticket not in (None, op.ticket):
        return _ending(sight) if facts.has_anything else Wait()
    if op.status in CLAIMED:
        is_another = ours is not None and not is_same_hash(ours, op.result_hash)
        return _ending(sight) if is_another else _after_claim(op, sight, facts)
    if op.status in OPEN and row is None and sight.is_current:
        return _before_claim(op, facts)
    return Wait()


def _ending(sight: Sight) -> HealerStep:
    if not (sight.is_current and sight.is_confirmed):
        return Confirm()
    return Close("unknown to the chain" if sight.op is None else sight.op.status.name)


def _after_claim(op: HealOp, sight: Sight, facts: HealerFacts) -> HealerStep:
    """The chain has a claim, and it is ours."""
    row, ours = facts.row, facts.manifest_hash
    if op.status is HealOpStatus.VERIFIED:
        if row is not None:
            return Publish(row)
        if ours is not None:
            return RecordClaim(facts.told or Claim(op.op_id, op.ticket, ours))
        return _ending(sight) if facts.has_rest else Wait()
    if ours is None or not facts.is_staged:
        # The claim stands, so there has to be something to serve.
        return Reconstruct(op) if facts.duty.is_window_open and sight.is_current else Wait()
    return Serve() if row is not None else RecordClaim(facts.told or Claim(op.op_id, op.ticket, ours))


def _before_claim(op: HealOp, facts: HealerFacts) -> HealerStep:
    """The chain waits for a claim."""
    duty, told = facts.duty, facts.told
    if not duty.is_window_open:
        return Wait()
    ours = facts.manifest_hash
    if ours is None or not facts.is_staged:
        return Reconstruct(op) if duty.may_start or told is not None else Wait()
    if facts.carried is not Fate.UNSENT:
        return Wait()
    return SendClaim(op, told or Claim(op.op_id, op.ticket, ours))


@final
@frozen
class Verify:
    """Fetch the file from the healer, hash it, decide."""

    op: HealOp


@final
@frozen
class SendVote:
    """Tell the chain the verdict."""

    op: HealOp
    says: Vote


@final
@frozen
class RecordVote:
    """The chain has accepted the vote: write that down."""

    says: Vote


@final
@frozen
class Forget:
    """The op is final: nothing is left to remember."""


VerifierStep = Wait | Confirm | Verify | SendVote | RecordVote | Forget


@final
@frozen
class VerifierFacts:
    """What is known of an op that this node verifies, or remembers a vote on. As of `HealerFacts`."""

    duty: Duty
    row: VerificationRow | None
    verdict: Vote | None
    """The verifier's intent: what it tells the chain."""
    sight: Sight | None
    carried: Fate


def verifier_step(facts: VerifierFacts) -> VerifierStep:
    """What to do about an op that this node verifies, or remembers a vote on."""
    row, verdict, sight = facts.row, facts.verdict, facts.sight
    if row is None and verdict is not None and facts.carried is Fate.ACCEPTED:
        return RecordVote(verdict)
    if sight is None:
        return Wait()
    op = sight.op
    if op is None or op.status in FINAL or facts.duty.account not in op.verifiers:
        if row is None and verdict is None:
            return Wait()
        return Forget() if sight.is_current and sight.is_confirmed else Confirm()
    if row is not None or op.status is not HealOpStatus.HEALER_REPORTED or not facts.duty.is_window_open:
        return Wait()
    if not sight.is_current:
        return Wait()
    if verdict is not None:
        return SendVote(op, verdict) if facts.carried is Fate.UNSENT else Wait()
    return Verify(op) if facts.duty.may_start else Wait()
