"""The verifier: reads the file from the op's healer, hashes it, and votes (LEP-6 §20).

Only a whole file is evidence. What is no evidence is tried again while there is time; what then follows is a policy.
"""

from functools import partial
from random import Random
from typing import Final, assert_never, final

import trio
from attrs import define, field

from lep6 import _core
from lep6.cascade.metadata import Metadata, read_metadata
from lep6.errors import (
    ChainUnavailable,
    CoreBug,
    FetchFailed,
    FetchFailure,
    InvalidAction,
    JobCancelled,
    VerificationAlreadyRecorded,
)
from lep6.heal.decisions import (
    Confirm,
    Fate,
    Forget,
    RecordVote,
    SendVote,
    VerifierFacts,
    VerifierStep,
    Verify,
    Wait,
    verifier_step,
)
from lep6.heal.events import Event, Watch, What
from lep6.heal.hashes import digest_in
from lep6.heal.ledger import Ledger
from lep6.heal.patience import Patience
from lep6.heal.rows import Intent, Role, VerificationRow
from lep6.heal.settings import Settings, UnreachablePolicy
from lep6.heal.sight import ChainSight
from lep6.heal.submission import Submissions
from lep6.heal.untorn import untorn
from lep6.heal.verdict import NoFile, Reason, WholeFile, vote_on
from lep6.model import HealOp, HealOpStatus
from lep6.observe import about, get_logger
from lep6.ports import ArtefactSource, Blocking, Clock
from lep6.transaction import Refusal, Refused, Vote

log = get_logger("heal.verifier")

PASSING: Final = frozenset(
    {
        FetchFailure.NOT_READY,
        FetchFailure.UNREACHABLE,
        FetchFailure.TRUNCATED,
        FetchFailure.STALLED,
        FetchFailure.DAMAGED,  # the healer knows, and rebuilds
    }
)
"""Failures that may pass by themselves: they use up no attempt while more than an epoch of the window is left."""


@final
@define(eq=False)
class Verifier:
    """Walks the heal ops of one node, as one of their verifiers."""

    sight: ChainSight
    ledger: Ledger
    submissions: Submissions
    source: ArtefactSource
    blocking: Blocking
    slots: trio.CapacityLimiter
    settings: Settings
    clock: Clock
    random: Random
    watch: Watch
    _resting: dict[int, trio.Event] = field(factory=dict)
    """Ops whose next attempt is to come, and what lets it come now."""
    _is_stopping: bool = False

    def hasten(self, op_id: int) -> None:
        """Do not wait for the next attempt to fetch."""
        if op_id in self._resting:
            self._resting[op_id].set()

    def stop(self) -> None:
        """Let walks that only wait for their next attempt end now; it comes at the next start."""
        self._is_stopping = True
        for hurry in self._resting.values():
            hurry.set()

    async def walk(self, op_id: int) -> None:
        """Do what can be done now about an op. Cancelled: what was begun goes on at the next walk, or start."""
        patience = Patience(self.settings)
        while True:
            facts = await self._facts(op_id)
            step = verifier_step(facts)
            if not isinstance(step, Wait):
                if not await self._carry_out(step, op_id):
                    return
            elif not await patience.waits(facts.carried, facts.sight):
                if facts.row is None and facts.verdict is None:
                    self.sight.forget(op_id)
                return

    async def _facts(self, op_id: int) -> VerifierFacts:
        entries = await self.ledger.entries(op_id)
        intent = entries.intents.get(op_id)
        verdict = intent.says if intent is not None and isinstance(intent.says, Vote) else None
        carried = await self.submissions.fate(intent if verdict is not None else None)
        sight = await self.sight.look(op_id)
        if intent is not None and intent.sent is not None and verdict is not None and carried is Fate.UNSENT:
            await self.submissions.bury(intent, sight.op if sight is not None else None)
        if sight is not None and sight.op is not None:
            about(ticket=sight.op.ticket)
        duty = self.sight.duty(sight.op if sight is not None else None)
        return VerifierFacts(duty, entries.verifications.get(op_id), verdict, sight, carried)

    async def _carry_out(self, step: VerifierStep, op_id: int) -> bool:
        """Do a step; whether there may be another one now."""
        match step:
            case Wait() | Confirm():
                return False
            case Verify(op):
                return await self._verify(op)
            case SendVote(op, says):
                return await self._send(op, says)
            case RecordVote(says):
                await self._record(says)
                return True
            case Forget():
                await self.ledger.forget_verification(op_id)
                self.submissions.forget(op_id)
                self.sight.forget(op_id)
                return False
            case _ as never:
                assert_never(never)

    async def _verify(self, op: HealOp) -> bool:
        metadata = await self._metadata(op)
        if metadata is not None and digest_in(op.result_hash) != metadata.digest:
            log.warning("claim_is_not_the_data_hash", op_id=op.op_id, ticket=op.ticket, claimed=op.result_hash)
        seen = await self._see(op, metadata.size_bound if metadata else _core.MAX_FILE_SIZE)
        if seen is None:
            if not self._is_stopping:
                self.watch(Event(What.ABSTAINED, op.op_id))
            return False
        vote = vote_on(op, seen)
        await self.ledger.journal(Intent(op.op_id, op.ticket, vote))
        self.watch(Event(What.DECIDED, op.op_id, "yes" if vote.verified else f"no, {vote.details}"))
        log.info("verdict", op_id=op.op_id, ticket=op.ticket, verified=vote.verified, reason=vote.details)
        return True

    async def _metadata(self, op: HealOp) -> Metadata | None:
        """Of the op's action, for the bound of its size; `None` when it cannot be had, and the format is the bound."""
        try:
            action = await self.sight.action(op.ticket)
            return read_metadata(action) if action is not None else None
        except (ChainUnavailable, InvalidAction) as error:
            log.warning("action_unknown", op_id=op.op_id, ticket=op.ticket, reason=str(error))
            return None

    async def _see(self, op: HealOp, size_bound: int) -> WholeFile | NoFile | None:
        """Fetch until there is a whole file, or the attempts are used up; `None` when there is nothing to vote on."""
        passing, used = 0, list[_Failure]()
        while True:
            seen = await self._attempt(op, size_bound)
            if isinstance(seen, WholeFile):
                return seen
            log.warning("fetch_failed", op_id=op.op_id, healer=op.healer, kind=seen.word, used=len(used))
            self.watch(Event(What.DEFERRED, op.op_id, f"the file was not had from its healer: {seen.word}"))
            if seen.is_passing and self._seconds_to_last_epoch(op) > 0:
                passing += 1
                pause = min(self._pause(passing), self._seconds_to_last_epoch(op))
            else:
                used.append(seen)
                if (
                    len(used) >= self.settings.fetch_attempts
                    and self.settings.verifier_unreachable_policy is UnreachablePolicy.NEGATIVE
                ):
                    return NoFile(seen.reason, tuple(failure.word for failure in used))
                pause = min(self._pause(len(used)), self.sight.seconds_left(op) / 2)
            await self._rest(op.op_id, pause)
            if self._is_stopping or not await self._is_still_open(op):
                return None

    async def _rest(self, op_id: int, seconds: float) -> None:
        """Wait before the next attempt, unless it is to be made now, or never."""
        hurry = self._resting[op_id] = trio.Event()
        try:
            if self._is_stopping:
                return
            with trio.move_on_after(seconds):
                await hurry.wait()
        finally:
            del self._resting[op_id]

    async def _is_still_open(self, op: HealOp) -> bool:
        """Whether the op may still be voted on, as far as is known. Without an answer it may."""
        sight = await self.sight.look(op.op_id)
        if self.sight.blocks_left(op) <= 0:
            return False
        if sight is None or not sight.is_current or sight.op is None:
            return True
        return sight.op.status in (HealOpStatus.HEALER_REPORTED, HealOpStatus.SCHEDULED)

    def _pause(self, failures: int) -> float:
        doubled: float = self.settings.backoff * 2.0 ** min(failures - 1, 16)
        return min(doubled, self.settings.longest_backoff) * self.random.uniform(1.0, 1.25)

    def _seconds_to_last_epoch(self, op: HealOp) -> float:
        """Until no more than one epoch of the window is left; not positive when that is so."""
        parameters = self.sight.parameters
        epoch = parameters.epoch_length if parameters else 0
        return (self.sight.blocks_left(op) - epoch) * self.sight.block_seconds

    async def _attempt(self, op: HealOp, size_bound: int) -> "WholeFile | _Failure":
        """One fetch. It has a place only while it runs."""
        async with self.slots:
            with trio.move_on_after(min(self.settings.attempt, self.sight.seconds_left(op))):
                try:
                    return await self._fetch(op, size_bound)
                except FetchFailed as error:
                    return _Failure(Reason.FETCH_FAILED, error.kind.name.lower(), error.kind in PASSING)
                except (CoreBug, JobCancelled, OSError, MemoryError) as error:
                    log.error("hash_failed", op_id=op.op_id, reason=str(error))  # noqa: TRY400 # it says it all
                    return _Failure(Reason.HASH_COMPUTE_FAILED, type(error).__name__, is_passing=True)
        return _Failure(Reason.FETCH_FAILED, "too_slow", is_passing=True)

    async def _fetch(self, op: HealOp, size_bound: int) -> WholeFile:
        """Hash the file as it comes; nothing of it is kept."""
        hasher, size = _core.Hasher(), 0
        async with self.source.open(op, size_bound=size_bound) as chunks:
            async for chunk in chunks:
                await self.blocking.run(partial(hasher.update, chunk))
                size += len(chunk)
        self.watch(Event(What.FETCHED, op.op_id, count=size))
        return WholeFile(hasher.digest())

    async def _send(self, op: HealOp, vote: Vote) -> bool:
        if not self.submissions.is_due(op.op_id):
            return False
        if await self.submissions.send(op, vote) == Refused(Refusal.VOTE_EXISTS):
            await self._record(vote)  # by an earlier transaction: it is what we wanted
        return True

    async def _record(self, vote: Vote) -> None:
        """Write down that the chain has our vote. Cancelled: it is written down."""
        row = VerificationRow(vote.op_id, self.sight.account, vote.verified, vote.hash, self.clock.now())
        with untorn():
            try:
                await self.ledger.record_verification(row)
            except VerificationAlreadyRecorded:
                await self.ledger.forget_intent(vote.op_id, Role.VERIFIER)
        self.submissions.forget(vote.op_id)
        self.watch(Event(What.ACCEPTED, vote.op_id, "vote"))
        log.info("vote_accepted", op_id=vote.op_id, verified=vote.verified)


@final
@define
class _Failure:
    """A fetch that gave no whole file."""

    reason: Reason
    word: str
    is_passing: bool
