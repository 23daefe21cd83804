"""The life of a simulated node: it runs, is cut off at any step of any of its tasks, and comes back from its disk."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from contextvars import ContextVar
from math import exp, log
from pathlib import Path
from random import Random
from typing import Final, final

import trio
from attrs import define, field

from lep6.cascade.staging import MANIFEST, WORK_DIRECTORY
from lep6.devnet.node import STAGING, Node, Surroundings, open_node
from lep6.devnet.simulation.chain_faults import FaultyConnection
from lep6.devnet.simulation.chance import Fault, Weather
from lep6.devnet.simulation.disk_faults import lose_files, restore, save_at_power_cut
from lep6.devnet.simulation.peer_faults import Streets, WatchedNetwork
from lep6.devnet.simulation.witness import Witness
from lep6.errors import StoreUnavailable
from lep6.grpc import Service
from lep6.heal.disk import op_ids

LEAST_STEPS: Final = 20
MOST_STEPS: Final = 1500
"""Steps of a node's tasks after which it is cut off. In a life of some length it makes a few hundred."""
MOSTLY: Final = 0.8
"""How often a cut is put off that would find nothing."""
LONGEST_ABSENCE: Final = 90.0
FEW_STEPS: Final = 12
RIGHT_AFTER: Final = 0.2
"""How often a node that is to be cut off is cut off right after it has sent or written something."""
OPEN_SECONDS: Final = 5.0
"""Between attempts to open a node."""

ALIVE: ContextVar["Life"] = ContextVar("ALIVE")
"""Whose task it is."""


@final
@define(eq=False)
class Ties:
    """What binds a node to the world until it is cut off."""

    around: Surroundings
    connection: FaultyConnection
    networks: tuple[WatchedNetwork, ...]

    def cut(self) -> None:
        """Let nothing through any more."""
        self.connection.is_dead = True
        for network in self.networks:
            network.is_dead = True


@final
@define(eq=False)
class Life:
    """One node."""

    account: str
    host: str
    """Where it is, as the chain says."""
    directory: Path
    tie: Callable[[Callable[[], None]], Ties]
    """Makes new ties for each life; they tell it when something happens that matters."""
    serves: Callable[[Node], Service]
    streets: Streets
    weather: Weather
    witness: Witness
    random: Random
    cuts_left: int
    node: Node | None = field(default=None, init=False)
    _steps_left: int = field(default=0, init=False)
    _writes: int = field(default=0, init=False)
    """Things that mattered in this life."""
    _ties: Ties | None = field(default=None, init=False)
    _died: trio.Event = field(init=False)

    async def run(self) -> None:
        """Live, die and come back, for ever."""
        while True:
            self._died, self._writes = trio.Event(), 0
            self._ties = self.tie(self.hasten)
            self._steps_left = self._fate() if self.cuts_left and not self.weather.is_calm else 0
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._live)
                await self._died.wait()
                nursery.cancel_scope.cancel(reason="the node was cut off")
            self.node = None
            restore(self.directory, self._aside, self.random)
            lost = lose_files(self.directory, self.weather)
            if lost.ledger:
                self.witness.forgets(self.account)
            self.witness.loses_stagings(self.account, lost.stagings)
            self.witness.note(self.witness.name(self.account), f"comes back without {lost}")
            absence = self.random.uniform(0.0, LONGEST_ABSENCE) * self.random.choice((0.03, 1.0))
            await trio.sleep(max(0.0, min(absence, self.weather.story.calm_from - trio.current_time())))

    def hasten(self) -> None:
        """Something that matters has just happened: now and then the node is cut off right after it."""
        self._writes += 1
        if self._may_be_cut and self.random.random() < RIGHT_AFTER:
            self._steps_left = self.random.randint(1, FEW_STEPS)

    def step(self) -> None:
        """A task of the node has made a step."""
        if self._steps_left:
            self._steps_left -= 1
            if not self._steps_left and self._may_be_cut:
                if self._has_nothing() and self.random.random() < MOSTLY:
                    self._steps_left = self._fate()
                else:
                    self._cut()

    @property
    def _may_be_cut(self) -> bool:
        return bool(self.cuts_left) and not self._died.is_set() and not self.weather.is_calm

    def _has_nothing(self) -> bool:
        """Whether the node has nothing on its disk that it could lose, or come back to."""
        staging = self.directory / STAGING
        return self._writes == 0 and not any(staging.glob(f"{WORK_DIRECTORY}/*")) and not self.stagings()

    def stagings(self) -> set[int]:
        """The complete stagings on its disk."""
        return op_ids({path.parent.name for path in (self.directory / STAGING).glob(f"*/{MANIFEST}")})

    @property
    def _aside(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}.cut")

    def _fate(self) -> int:
        return int(exp(self.random.uniform(log(LEAST_STEPS), log(MOST_STEPS))))

    def _cut(self) -> None:
        """Cut the power: what is on the disk now is what there will be."""
        if self.node is None or self._ties is None:
            return
        self.cuts_left -= 1
        self.weather.counts[Fault.CRASH] += 1
        self.witness.note(self.witness.name(self.account), "is cut off")
        self._ties.cut()
        ledger = self.node.service.ledger._database  # noqa: SLF001 # its syncs are looked at
        save_at_power_cut(self.directory, ledger, self._aside)
        self._died.set()

    async def _live(self) -> None:
        assert self._ties is not None  # noqa: S101 # `run` has just made them
        ALIVE.set(self)
        async with AsyncExitStack() as stack:
            node = await self._open(stack, self._ties.around)
            self.node = node
            door = node.door(self.serves(node))
            callers = self.streets.open_door(self.host)
            try:
                async with trio.open_nursery() as nursery, callers:
                    nursery.start_soon(node.service.run)
                    async for stream in callers:
                        nursery.start_soon(door.serve_stream, stream)
            finally:
                self.node = None

    async def _open(self, stack: AsyncExitStack, around: Surroundings) -> Node:
        """Open the node, as often as it takes: its ledger may be in use."""
        while True:
            try:
                return await stack.enter_async_context(open_node(self.directory, around))
            except StoreUnavailable:
                await trio.sleep(OPEN_SECONDS)


@final
class Steps(trio.abc.Instrument):
    """Counts the steps of the nodes' tasks."""

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """See `trio.abc.Instrument`."""
        life = task.context.get(ALIVE)
        if life is not None:
            try:
                life.step()
            except Exception as error:  # noqa: BLE001 # Trio would drop an instrument that raises, and say nothing
                life.witness.blame("the simulation", f"cannot cut a node: {error!r}")
