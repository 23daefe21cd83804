"""The heal ops of a running service, as documents for its operator."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, final

from attrs import define, field, frozen

from lep6.cascade.publish import STUCK_AFTER
from lep6.cascade.staging import Sizes
from lep6.heal.decisions import ENDED
from lep6.heal.events import Event, What
from lep6.heal.ledger import Entries
from lep6.heal.pauses import Setback
from lep6.heal.rows import ClaimRow, ClaimState, Intent, Role, VerificationRow
from lep6.heal.service import HealService
from lep6.model import HealOp
from lep6.ports import At, PublishState
from lep6.transaction import Vote

MOST_REASONS: Final = 1000
"""Ops of which it is kept why something about them failed."""

_TROUBLE: Final = frozenset({What.DEFERRED, What.STUCK, What.FAILED, What.ABSTAINED})


@final
@frozen
class _Known:
    """All that there is of an op at a moment."""

    op_id: int
    role: Role | None
    """`None`: nothing is left of it that says so."""
    claim: ClaimRow | None
    vote: VerificationRow | None
    intent: Intent | None
    sizes: Sizes
    is_in_flight: bool
    is_dropped: bool
    is_stuck: bool
    setbacks: Mapping[str, Setback]

    @property
    def state(self) -> str:
        """How far it is, in a word."""
        if self.claim is not None:
            return self.claim.state.value
        if self.vote is not None:
            return "voted"
        if self.intent is not None:
            return "intent_claim" if self.intent.role is Role.HEALER else "intent_vote"
        if self.sizes.staged:
            return "staged"
        return "dropped" if self.is_dropped and not self.is_in_flight else "begun"

    @property
    def ticket(self) -> str | None:
        """Its file, as far as the ledger tells."""
        known = self.claim or self.intent
        return None if known is None else known.ticket


@final
@define(eq=False)
class OpsDesk:
    """Tells of the ops that a service has anything of, and does what an operator wants with them."""

    heal: HealService
    stuck: AbstractSet[int] = frozenset()
    """Ops that have failed so often that somebody should look at them."""
    _reasons: dict[int, str] = field(init=False, factory=dict)

    def hears(self, event: Event) -> None:
        """Keep why something about an op failed, until it succeeds."""
        if event.what is What.SENT:
            return
        self._reasons.pop(event.op_id, None)
        if event.what in _TROUBLE:
            self._reasons[event.op_id] = event.text or event.what.value
            if len(self._reasons) > MOST_REASONS:
                del self._reasons[next(iter(self._reasons))]

    async def ops(self) -> list[dict[str, Any]]:
        """Every op that there is anything of, by id. Raises as ledger and disk do."""
        known = await self._known(await self.heal.ledger.entries(), self.heal.pausing())
        return [self._line(known[op_id]) for op_id in sorted(known)]

    async def op(self, op_id: int) -> dict[str, Any] | None:
        """All of an op; `None` when there is nothing of it. Raises as ledger and disk do."""
        known = await self._one(op_id)
        if known is None:
            return None
        return {
            **self._all_that_is_here(known),
            "setbacks": [
                {
                    "what": what,
                    "failures": setback.failures,
                    "retry_in_seconds": round(setback.seconds_left, 1),
                    "reason": setback.reason,
                }
                for what, setback in known.setbacks.items()
            ],
            "chain": _chain(self.heal.sight.seen(op_id)),
        }

    async def retry(self, op_id: int) -> bool:
        """Wait no longer with what has failed about an op; whether there is anything of it."""
        if await self._one(op_id) is None:
            return False
        await self.heal.retry(op_id)
        return True

    async def would_lose(self, op_id: int) -> dict[str, Any] | None:
        """What `drop` would remove; `None` when there is nothing of the op. Raises as ledger and disk do."""
        known = await self._one(op_id)
        if known is None:
            return None
        return {**self._all_that_is_here(known), "may_be_only_copy": self._may_be_only_copy(known)}

    async def drop(self, op_id: int) -> None:
        """Remove everything of an op, and leave it alone until it is retried, or the next start."""
        await self.heal.drop(op_id)
        self._reasons.pop(op_id, None)

    async def _one(self, op_id: int) -> _Known | None:
        is_set_back = {op_id} if self.heal.setbacks(op_id) else set()
        return (await self._known(await self.heal.ledger.entries(op_id), is_set_back)).get(op_id)

    async def _known(self, entries: Entries, set_back: AbstractSet[int]) -> dict[int, _Known]:
        """What there is of the ops in these entries, on the disk, and in memory."""
        heal = self.heal
        sizes, publishes = await heal.disk.sizes(), await heal.ledger.publishes()
        told = {*entries.claims, *entries.verifications, *entries.intents}
        return {
            op_id: self._gathered(op_id, entries, sizes.get(op_id) or Sizes(), publishes.get(str(op_id)))
            for op_id in {*told, *sizes, *heal.in_flight, *heal.dropped, *set_back}
        }

    def _gathered(self, op_id: int, entries: Entries, sizes: Sizes, publish: PublishState | None) -> _Known:
        claim, vote = entries.claims.get(op_id), entries.verifications.get(op_id)
        intent = entries.intents.get(op_id)
        role = self.heal.in_flight.get(op_id)
        if role is None and (claim is not None or sizes.total):
            role = Role.HEALER
        if role is None and vote is not None:
            role = Role.VERIFIER
        if role is None and intent is not None:
            role = intent.role
        setbacks = self.heal.setbacks(op_id)
        if publish is not None and publish.attempts:
            left = max(0.0, publish.not_before - self.heal.clock.now())
            setbacks["publish"] = Setback(publish.attempts, left, publish.reason)
        return _Known(
            op_id,
            role,
            claim,
            vote,
            intent,
            sizes,
            is_in_flight=op_id in self.heal.in_flight,
            is_dropped=op_id in self.heal.dropped,
            is_stuck=op_id in self.stuck or (publish is not None and publish.attempts >= STUCK_AFTER),
            setbacks=setbacks,
        )

    def _line(self, known: _Known) -> dict[str, Any]:
        setbacks = known.setbacks.values()
        return {
            "op": known.op_id,
            "role": None if known.role is None else known.role.value,
            "state": known.state,
            "ticket": known.ticket or self._ticket(known.op_id),
            "in_flight": known.is_in_flight,
            "dropped": known.is_dropped,
            "stuck": known.is_stuck,
            "failures": max((setback.failures for setback in setbacks), default=0),
            "retry_in_seconds": round(max((setback.seconds_left for setback in setbacks), default=0.0), 1),
            "reason": self._reasons.get(known.op_id) or next((each.reason for each in setbacks if each.reason), ""),
            "bytes": known.sizes.total,
        }

    def _all_that_is_here(self, known: _Known) -> dict[str, Any]:
        """What `drop` removes."""
        return {
            **self._line(known),
            "claim": _claim(known.claim),
            "vote": _vote(known.vote),
            "intent": _intent(known.intent),
            "disk": self._disk(known),
        }

    def _ticket(self, op_id: int) -> str | None:
        """The file of an op, as the chain has said it."""
        seen = self.heal.sight.seen(op_id)
        return None if seen is None or seen.value is None else seen.value.ticket

    def _disk(self, known: _Known) -> dict[str, Any]:
        sizes = known.sizes
        return {
            "path": str(self.heal.disk.place(known.op_id)),
            "staged_bytes": sizes.staged,
            "building_bytes": sizes.building,
            "work_bytes": sizes.work,
            "damaged_bytes": sizes.damaged,
        }

    def _may_be_only_copy(self, known: _Known) -> bool:
        """Whether what is staged may be all that there is of the file: it is ours to give, and has not been given."""
        if not (known.sizes.staged or known.sizes.damaged):
            return False
        if known.claim is not None and known.claim.state is ClaimState.CLOSING:
            return False  # published, or ended
        seen = self.heal.sight.seen(known.op_id)
        op = None if seen is None else seen.value
        if op is not None and op.status in ENDED and not _is_to_be_published(known.claim):
            return False
        is_told = known.claim is not None or (known.intent is not None and known.intent.role is Role.HEALER)
        # Claimed in an earlier life: the ledger was lost, or the op was dropped before.
        return is_told or (op is not None and bool(op.result_hash) and op.healer == self.heal.ledger.account)


def _is_to_be_published(claim: ClaimRow | None) -> bool:
    return claim is not None and claim.state is ClaimState.PUBLISHING


def _claim(row: ClaimRow | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {
        "state": row.state.value,
        "manifest_hash": row.manifest_hash,
        "staging": row.staging,
        "submitted_at": row.submitted_at,
    }


def _vote(row: VerificationRow | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {"verified": row.verified, "hash": row.hash, "submitted_at": row.submitted_at}


def _intent(intent: Intent | None) -> dict[str, Any] | None:
    if intent is None:
        return None
    says, sent = intent.says, intent.sent
    told = (
        {"says": "vote", "verified": says.verified, "hash": says.hash, "details": says.details}
        if isinstance(says, Vote)
        else {"says": "claim", "hash": says.manifest_hash}
    )
    transaction = (
        None
        if sent is None
        else {"hash": sent.tx_hash, "sequence": sent.sequence, "timeout_height": sent.timeout_height}
    )
    return {**told, "transaction": transaction}


def _chain(seen: At[HealOp | None] | None) -> dict[str, Any] | None:
    """What the chain last said, since which height; `None` when it was not asked since the start."""
    if seen is None:
        return None
    op = seen.value
    if op is None:
        return {"status": None, "since_height": seen.height}
    return {
        "status": op.status.name,
        "since_height": seen.height,
        "healer": op.healer,
        "verifiers": list(op.verifiers),
        "result_hash": op.result_hash,
        "deadline_epoch": op.deadline_epoch,
    }
