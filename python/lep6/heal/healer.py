"""The healer: rebuilds the file of an op that names this node, stages it, and claims it (LEP-6 §19).

One walk for each op, from wherever it stands: ask the transaction, then the op; decide; carry out; again, until there
is nothing to do now. The next tick walks on. It ends with the finalizer's steps.
"""

from typing import assert_never, final

import trio
from attrs import define, field, frozen

from lep6.cascade.metadata import read_metadata
from lep6.cascade.publish import STUCK_AFTER, Published
from lep6.cascade.reseed import Reseeded, Reseeder, Stage
from lep6.cascade.retrieve import Cannot
from lep6.cascade.staging import Staged
from lep6.errors import (
    ChainUnavailable,
    ClaimAlreadyRecorded,
    InvalidAction,
    InvalidArtefact,
    NoSpace,
    StoreUnavailable,
)
from lep6.heal.decisions import (
    CLAIMED,
    Close,
    Confirm,
    Fate,
    HealerFacts,
    HealerStep,
    Publish,
    Reconstruct,
    RecordClaim,
    SendClaim,
    Serve,
    Wait,
    healer_step,
)
from lep6.heal.disk import Disk, op_ids
from lep6.heal.events import Event, Watch, What
from lep6.heal.finalizer import Finalizer
from lep6.heal.hashes import is_same_hash
from lep6.heal.ledger import Ledger
from lep6.heal.patience import Patience
from lep6.heal.pauses import PAUSES_PER_WINDOW, Pauses
from lep6.heal.rows import ClaimRow, ClaimState, Intent, Role
from lep6.heal.settings import Settings
from lep6.heal.sight import ChainSight
from lep6.heal.submission import Submissions
from lep6.heal.untorn import untorn
from lep6.model import Action, HealOp, Ticket
from lep6.observe import about, get_logger
from lep6.ports import Clock
from lep6.transaction import Claim

log = get_logger("heal.healer")


@final
@frozen
class _Failure:
    """Why a step did not succeed."""

    reason: str
    have: int = 0
    """Symbols that were had."""


@final
@define(eq=False)
class Healer:
    """Walks the heal ops of one node, as their healer and finalizer."""

    sight: ChainSight
    ledger: Ledger
    disk: Disk
    submissions: Submissions
    reseeder: Reseeder
    finalizer: Finalizer
    slots: trio.CapacityLimiter
    pauses: Pauses
    settings: Settings
    clock: Clock
    watch: Watch
    _sound: set[int] = field(factory=set)
    """Ops whose staging was read whole since the start, or was made since."""

    def suspect(self, op_id: int) -> None:
        """The staging of an op was found damaged while it was served: it is looked at again on the next walk."""
        self._sound.discard(op_id)

    def hasten(self, op_id: int) -> None:
        """Wait no longer with what has failed about an op."""
        self.pauses.forget(op_id)

    async def walk(self, op_id: int) -> None:
        """Do what can be done now about an op. Cancelled: what was begun goes on at the next walk, or start."""
        patience = Patience(self.settings)
        while True:
            facts, staged = await self._facts(op_id)
            step = healer_step(facts)
            if not isinstance(step, Wait):
                if not await self._carry_out(step, op_id, facts, staged):
                    return
            elif not await patience.waits(facts.carried, facts.sight):
                if not facts.has_anything:
                    self.forget(op_id)
                return

    async def _facts(self, op_id: int) -> tuple[HealerFacts, Staged | None]:
        entries = await self.ledger.entries(op_id)
        row, intent = entries.claims.get(op_id), entries.intents.get(op_id)
        told = intent.says if intent is not None and isinstance(intent.says, Claim) else None
        # The transaction first: the op that is asked for afterwards shows what it did.
        carried = await self.submissions.fate(intent if told is not None else None)
        is_settled = row is not None and row.state is not ClaimState.ACCEPTED
        sight = None if is_settled else await self.sight.look(op_id)
        if intent is not None and intent.sent is not None and told is not None and carried is Fate.UNSENT:
            await self.submissions.bury(intent, sight.op if sight is not None else None)
        op = sight.op if sight is not None else None
        staged, names = await self.disk.staged(op_id), await self.disk.names()
        tickets = {known.ticket for known in (row, told, op) if known is not None}
        for ticket in tickets:
            about(ticket=ticket)
        if staged is not None and tickets and staged.manifest.ticket not in tickets:
            staged = None  # another chain's, or another life's
        debris = names.rests if staged is not None else names.rests | names.staged
        facts = HealerFacts(
            duty=self.sight.duty(op),
            row=row,
            told=told,
            staged=staged.manifest.manifest_hash if staged is not None else None,
            has_rest=op_id in op_ids(debris),
            sight=sight,
            carried=carried,
        )
        return facts, staged

    async def _carry_out(self, step: HealerStep, op_id: int, facts: HealerFacts, staged: Staged | None) -> bool:
        """Do a step; whether there may be another one now."""
        match step:
            case Wait() | Confirm():
                return False
            case Reconstruct(op):
                claimed = facts.claimed or (op.result_hash if op.status in CLAIMED else None)
                return await self._reconstruct(op_id, op.ticket, op, claimed)
            case SendClaim(op, says):
                if not await self._is_sound(op_id, staged):
                    return True
                return await self._claim(op, says, is_journalled=facts.told is not None)
            case RecordClaim(says):
                await self._record(says)
                return True
            case Serve():
                return not await self._is_sound(op_id, staged)
            case Publish(row):
                return await self._publish(row, staged)
            case Close(why):
                await self.finalizer.close(op_id, facts.row, why)
                self.forget(op_id)
                return False
            case _ as never:
                assert_never(never)

    async def _reconstruct(self, op_id: int, ticket: Ticket, op: HealOp | None, claimed: str | None) -> bool:
        """Rebuild and stage; `op` is `None` when it is VERIFIED already and has no window any more."""
        if not self.pauses.is_due(op_id):
            return False
        await self.disk.set_aside(op_id)
        failure: _Failure | None = _Failure("not done in time")
        async with self.slots:
            with trio.move_on_after(min(self.settings.attempt, self.sight.seconds_left(op))):
                failure = await self._reseed(op_id, ticket, claimed)
        if failure is not None:
            return self._defer(op_id, op, failure)
        self.pauses.forget(op_id)
        self._sound.add(op_id)
        return True

    async def _reseed(self, op_id: int, ticket: Ticket, claimed: str | None) -> "_Failure | None":
        """Why it failed; `None` when the file is staged."""
        try:
            action = await self.sight.action(ticket)
            if action is None:
                return _Failure(f"the chain knows no action {ticket}")
            if claimed is not None and not is_same_hash(_data_hash(action), claimed):
                return _Failure("what was claimed is not the hash of the action's file: it cannot be served")
            outcome = await self.reseeder.reseed(action, then=Stage(str(op_id)))
        except (ChainUnavailable, InvalidAction, InvalidArtefact, NoSpace, OSError) as error:
            return _Failure(str(error))
        if not isinstance(outcome, Reseeded):
            return _Failure(str(outcome), outcome.have if isinstance(outcome, Cannot) else 0)
        self.watch(Event(What.RECONSTRUCTED, op_id, count=outcome.fetched))
        log.info("reconstructed", op_id=op_id, ticket=ticket, fetched=outcome.fetched, false=outcome.false)
        return None

    async def _claim(self, op: HealOp, says: Claim, *, is_journalled: bool) -> bool:
        if not self.submissions.is_due(op.op_id):
            return False
        if not is_journalled:
            await self.ledger.journal(Intent(op.op_id, op.ticket, says))
        await self.submissions.send(op, says)
        return True

    async def _record(self, says: Claim) -> None:
        """Write down that the chain has accepted our claim. Cancelled: it is written down."""
        name = str(says.op_id)
        row = ClaimRow(says.op_id, says.ticket, says.manifest_hash, name, ClaimState.ACCEPTED, self.clock.now())
        with untorn():
            try:
                await self.ledger.record_claim(row)
            except ClaimAlreadyRecorded:
                await self.ledger.forget_intent(says.op_id, Role.HEALER)
        self.submissions.forget(says.op_id)
        self.watch(Event(What.ACCEPTED, says.op_id, "claim"))
        log.info("claim_accepted", op_id=says.op_id, ticket=says.ticket)

    async def _is_sound(self, op_id: int, staged: Staged | None) -> bool:
        """Whether the staging is whole; read once per start, and after a doubt. A damaged one is set aside."""
        if staged is None:
            return False
        if op_id not in self._sound:
            is_sound: bool | None = None
            async with self.slots:
                with trio.move_on_after(self.settings.attempt):
                    is_sound = await self.disk.is_sound(staged)
            if is_sound is None:
                raise StoreUnavailable(f"what is staged for heal op {op_id} could not be read in time; it is kept")
            if not is_sound:
                await self.disk.set_aside(op_id)
                return False
            self._sound.add(op_id)
        return True

    async def _publish(self, row: ClaimRow, staged: Staged | None) -> bool:
        if row.state is ClaimState.ACCEPTED:
            await self.ledger.set_claim_state(row.op_id, ClaimState.PUBLISHING)
        if staged is None:
            return await self._reconstruct(row.op_id, row.ticket, None, row.manifest_hash)
        try:
            outcome = await self.finalizer.publish(row, staged)
        except InvalidArtefact as error:
            log.error("staging_damaged", op_id=row.op_id, reason=str(error))  # noqa: TRY400 # it says it all
            await self.disk.set_aside(row.op_id)
            return True
        if isinstance(outcome, Published):
            await self.finalizer.close(row.op_id, row, "published")
            self.forget(row.op_id)
        return False

    def _defer(self, op_id: int, op: HealOp | None, failure: "_Failure") -> bool:
        left = self.sight.seconds_left(op)
        self.pauses.failed(op_id, at_most=left / PAUSES_PER_WINDOW)
        # Of an open op the window's end is the end; a VERIFIED one is tried for ever.
        is_stuck = op is None and self.pauses.failures(op_id) >= STUCK_AFTER
        self.watch(Event(What.STUCK if is_stuck else What.DEFERRED, op_id, failure.reason, failure.have))
        failures = self.pauses.failures(op_id)
        log.warning("deferred", op_id=op_id, reason=failure.reason, have=failure.have, failures=failures)
        return False

    def forget(self, op_id: int) -> None:
        """Forget what is remembered of an op that this node has nothing of."""
        self._sound.discard(op_id)
        self.pauses.forget(op_id)
        self.submissions.forget(op_id)
        self.sight.forget(op_id)


def _data_hash(action: Action) -> str:
    return read_metadata(action).data_hash
