"""The heal service of one node: one tick loop, three dispatchers that do not wait for one another, one owner an op.

A tick asks the chain which ops name this node, and the node itself which ops it has anything of; each op gets a walk,
unless it has one. Three layers keep work from being done twice: the set of ops in flight, the limiters of the roles,
and the ledger. What fails for one op is contained; what is a bug is loud, and does not take the others down.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import final

import trio
from attrs import define, field, frozen

from lep6.beside import beside
from lep6.cascade.publish import Publisher
from lep6.cascade.reseed import Reseeder
from lep6.errors import Lep6Error, NotDropped, StoreUnavailable
from lep6.heal.decisions import INDEX_BLOCKS
from lep6.heal.disk import Disk, op_ids
from lep6.heal.events import Event, Watch, What
from lep6.heal.finalizer import Finalizer
from lep6.heal.healer import Healer
from lep6.heal.ledger import Ledger
from lep6.heal.pauses import Pauses, Setback
from lep6.heal.rows import Role
from lep6.heal.settings import Settings
from lep6.heal.sight import BoundedAccounts, ChainSight
from lep6.heal.submission import Submissions
from lep6.heal.verifier import Verifier
from lep6.model import HealOp, HealOpStatus
from lep6.observe import Progress, about, get_logger
from lep6.ports import Accounts, ArtefactSource, Blocking, Chain, Clock, Network

log = get_logger("heal.service")

JITTER = 0.1
"""Part of a tick by which it is longer or shorter, so that nodes do not march in step."""

Walk = Callable[[int], Awaitable[None]]


@final
@frozen(eq=False)
class _Walking:
    """A walk that goes on."""

    scope: trio.CancelScope = field(factory=trio.CancelScope)
    ended: trio.Event = field(factory=trio.Event)


@final
@define(eq=False, kw_only=True)
class HealService:
    """Heals as one account. What it needs of the world comes through the ports."""

    ledger: Ledger
    disk: Disk
    chain: Chain
    accounts: Accounts
    network: Network
    """Where artefacts are published: the other nodes."""
    survivors: Network
    """Where what survives is fetched from: the other nodes, and this node's own store."""
    source: ArtefactSource
    blocking: Blocking
    progress: Progress
    clock: Clock
    random: Random
    settings: Settings = field(factory=Settings)
    strict_signatures: bool = False
    watch: Watch = field(default=lambda _: None)
    sight: ChainSight = field(init=False)
    """The chain as this node sees it; what serves its stagings asks it, too."""
    in_flight: dict[int, Role] = field(init=False, factory=dict)
    """Ops that have a walk now."""
    slots: Mapping[str, trio.CapacityLimiter] = field(init=False)
    """How many of each there may be at a time, and are: of `reconstruct`, `verify`, `publish`. May be changed."""
    last_tick: float = field(init=False, default=-math.inf)
    """When the last tick began, on Trio's clock."""
    dropped: set[int] = field(init=False, factory=set)
    """Ops that are left alone since an operator dropped them, until one is retried, or the next start."""
    _healer: Healer = field(init=False)
    _verifier: Verifier = field(init=False)
    _busy: set[str] = field(init=False, factory=set)
    """Dispatchers at work."""
    ended: trio.Event = field(init=False, factory=trio.Event)
    """Set when the service has come to its end."""
    _walks: dict[int, _Walking] = field(init=False, factory=dict)
    _submissions: Submissions = field(init=False)
    _finalizer: Finalizer = field(init=False)
    _stopping: trio.Event = field(init=False, factory=trio.Event)
    _woken: trio.Event = field(init=False, factory=trio.Event)
    _idle: trio.Event = field(init=False, factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        settings = self.settings
        self.sight = ChainSight(
            self.ledger.account, self.chain, self.clock, settings.query, settings.block, is_enabled=settings.is_enabled
        )
        self.slots = {
            "reconstruct": trio.CapacityLimiter(settings.reconstructs),
            "verify": trio.CapacityLimiter(settings.verifications),
            "publish": trio.CapacityLimiter(settings.publishes),
        }
        submissions = self._submissions = Submissions(self.sight, self.ledger, self._pauses(), self.watch)
        publisher = Publisher(self.network, self.ledger, self.blocking, self.progress, self.random, self.clock)
        reseeder = Reseeder(
            self.disk.root,
            self.survivors,
            BoundedAccounts(self.accounts, settings.query),
            self.blocking,
            self.progress,
            self.random,
            strict_signatures=self.strict_signatures,
        )
        finalizer = self._finalizer = Finalizer(
            self.ledger, self.disk, publisher, self.slots["publish"], settings.attempt, self.watch
        )
        self._healer = Healer(
            self.sight,
            self.ledger,
            self.disk,
            submissions,
            reseeder,
            finalizer,
            self.slots["reconstruct"],
            self._pauses(),
            settings,
            self.clock,
            self.watch,
        )
        self._verifier = Verifier(
            self.sight,
            self.ledger,
            submissions,
            self.source,
            self.blocking,
            self.slots["verify"],
            settings,
            self.clock,
            self.random,
            self.watch,
        )

    def _pauses(self) -> Pauses:
        return Pauses(self.settings.backoff, self.settings.longest_backoff, self.random)

    def suspect(self, op_id: int) -> None:
        """What is staged for an op was found damaged while it was served."""
        self._healer.suspect(op_id)

    @asynccontextmanager
    async def running(self) -> "AsyncIterator[HealService]":
        """Heal while the block runs; then begin nothing more, give what runs a while to end, and break off the rest.

        What is broken off goes on at the next start.
        """
        async with beside(self.run, stop=self.stop):
            yield self

    def stop(self) -> None:
        """Let `run` end soon; `ended` tells when."""
        self._stopping.set()
        self._woken.set()
        self._verifier.stop()

    @property
    def is_paused(self) -> bool:
        """Whether nothing new is begun."""
        return not self.sight.is_enabled

    def pause(self) -> None:
        """Begin nothing new; what has begun is finished."""
        self.sight.is_enabled = False

    def resume(self) -> None:
        """Begin new work again, if the settings are that this node does."""
        self.sight.is_enabled = self.settings.is_enabled

    def tick_now(self) -> None:
        """Do not wait for the next tick."""
        self._woken.set()

    async def retry(self, op_id: int) -> None:
        """Wait no longer with what has failed about an op, and do not leave it alone any more."""
        self.dropped.discard(op_id)
        self._submissions.forget(op_id)
        self._healer.hasten(op_id)
        self._verifier.hasten(op_id)
        await self.ledger.hasten(op_id)
        self.tick_now()

    def pausing(self) -> set[int]:
        """Ops of which something is tried again after a pause."""
        return self._healer.pauses.pausing() | self._submissions.pauses.pausing()

    def setbacks(self, op_id: int) -> dict[str, Setback]:
        """What has failed about an op since the start, and was not done since: `reconstruct`, `send`."""
        tried = {"reconstruct": self._healer.pauses.setback(op_id), "send": self._submissions.pauses.setback(op_id)}
        return {what: setback for what, setback in tried.items() if setback is not None}

    async def drop(self, op_id: int) -> None:
        """Remove everything that this node has of an op, and leave it alone. What was sent to the chain stands.

        Raises:
            NotDropped: a transaction may still be included. Forgotten now, another could be sent beside it.
        """
        self.dropped.add(op_id)
        walking = self._walks.get(op_id)
        if walking is not None:
            walking.scope.cancel(reason="an operator has dropped the op")
            await walking.ended.wait()
        try:
            await self._check_nothing_is_alive(op_id)
        except NotDropped:
            self.dropped.discard(op_id)  # the next tick walks on
            raise
        row = (await self.ledger.entries(op_id)).claims.get(op_id)
        await self._finalizer.close(op_id, row, "dropped by the operator")
        await self.ledger.forget_intent(op_id, Role.VERIFIER)
        await self.ledger.forget_verification(op_id)
        self._submissions.forget(op_id)
        self._healer.forget(op_id)

    async def _check_nothing_is_alive(self, op_id: int) -> None:
        intent = (await self.ledger.entries(op_id)).intents.get(op_id)
        if intent is None or intent.sent is None:
            return
        last = intent.sent.timeout_height + INDEX_BLOCKS
        if self.sight.height < last:
            raise NotDropped(
                f"a transaction about heal op {op_id} may be included until block {last}: drop it after that"
            )

    async def run(self) -> None:
        """Tick until stopped or cancelled. Cancelled: what was begun goes on at the next start."""
        try:
            await self._run()
        finally:
            self.ended.set()

    async def _run(self) -> None:
        await self._prepare()
        async with trio.open_nursery() as nursery:
            while not self._stopping.is_set():
                self._woken = trio.Event()
                self._tick(nursery)
                with trio.move_on_after(self.settings.tick * self.random.uniform(1 - JITTER, 1 + JITTER)):
                    await self._woken.wait()
            with trio.move_on_after(self.settings.drain):
                while self.in_flight or self._busy:
                    self._idle = trio.Event()
                    await self._idle.wait()
            nursery.cancel_scope.cancel(reason="the heal service stops")

    async def _prepare(self) -> None:
        """Look over disk and ledger before the first tick; what cannot be used now is tried again."""
        while not self._stopping.is_set():
            try:
                await self.disk.sweep()
                self.sight.height = max(self.sight.height, (await self.ledger.entries()).height)
            except (StoreUnavailable, OSError) as error:
                log.warning("start_deferred", reason=str(error))
                with trio.move_on_after(self.settings.tick):
                    await self._stopping.wait()
            else:
                return

    def _tick(self, nursery: trio.Nursery) -> None:
        """Send out those dispatchers that are not still at work from the tick before."""
        self.last_tick = trio.current_time()
        for name, dispatch in (
            ("healer", self._dispatch_healer),
            ("verifier", self._dispatch_verifier),
            ("finalizer", self._dispatch_what_has_begun),
        ):
            if name not in self._busy:
                self._busy.add(name)
                nursery.start_soon(self._contained, name, partial(dispatch, nursery))

    async def _contained(self, name: str, dispatch: Callable[[], Awaitable[None]]) -> None:
        try:
            await dispatch()
        except (Lep6Error, OSError) as error:
            log.warning("dispatch_failed", dispatcher=name, reason=str(error))
        except Exception as error:  # a bug of one dispatcher leaves the others at work
            log.exception("dispatcher_failed", dispatcher=name)
            self.watch(Event(What.FAILED, 0, f"{name}: {error!r}"))
        finally:
            self._busy.discard(name)
            self._idle.set()

    async def _dispatch_healer(self, nursery: trio.Nursery) -> None:
        """Ops that name this node as their healer. One that has a claim of ours is looked at too: is it all here?"""
        await self.sight.refresh()
        for status in (HealOpStatus.SCHEDULED, HealOpStatus.IN_PROGRESS, HealOpStatus.HEALER_REPORTED):
            ops = await self.sight.listing(status, self._is_healer)
            # After a restart, a node of the chain that is further back than this does not know these ops yet.
            await self.ledger.note_height(self.sight.height)
            for op in ops:
                self._own(nursery, op.op_id, Role.HEALER)

    async def _dispatch_verifier(self, nursery: trio.Nursery) -> None:
        """Ops that name this node as a verifier."""
        await self.sight.refresh()
        known = await self.ledger.entries()
        for op in await self.sight.listing(HealOpStatus.HEALER_REPORTED, self._is_verifier):
            if op.op_id not in known.verifications:
                self._own(nursery, op.op_id, Role.VERIFIER)

    async def _dispatch_what_has_begun(self, nursery: trio.Nursery) -> None:
        """Ops that this node has anything of, in its ledger or on its disk: whatever the mode, they are driven on."""
        entries = await self.ledger.entries()
        names = await self.disk.names()
        told = {op_id: intent.role for op_id, intent in entries.intents.items()}
        owned = dict.fromkeys(entries.verifications, Role.VERIFIER) | told
        owned |= dict.fromkeys({*entries.claims, *op_ids(names.staged), *op_ids(names.rests)}, Role.HEALER)
        self.sight.forget_all_but({*owned, *self.in_flight})
        for op_id, role in sorted(owned.items()):
            self._own(nursery, op_id, role)

    def _is_healer(self, op: HealOp) -> bool:
        return op.healer == self.ledger.account

    def _is_verifier(self, op: HealOp) -> bool:
        return self.ledger.account in op.verifiers

    def _own(self, nursery: trio.Nursery, op_id: int, role: Role) -> None:
        """Give an op its walk, unless it has one."""
        if op_id not in self.in_flight and op_id not in self.dropped and not self._stopping.is_set():
            self.in_flight[op_id] = role
            walking = self._walks[op_id] = _Walking()
            nursery.start_soon(self._walk, op_id, role, walking)

    async def _walk(self, op_id: int, role: Role, walking: _Walking) -> None:
        walk: Walk = self._healer.walk if role is Role.HEALER else self._verifier.walk
        about(op_id=op_id, role=role.value)
        try:
            with walking.scope:
                await walk(op_id)
        except (Lep6Error, OSError) as error:
            log.warning("walk_deferred", op_id=op_id, role=role.value, reason=str(error))
            self.watch(Event(What.DEFERRED, op_id, str(error)))
        except Exception as error:  # a bug with one op leaves the others at work
            log.exception("walk_failed", op_id=op_id, role=role.value)
            self.watch(Event(What.FAILED, op_id, repr(error)))
        finally:
            del self.in_flight[op_id], self._walks[op_id]
            walking.ended.set()
            self._idle.set()
