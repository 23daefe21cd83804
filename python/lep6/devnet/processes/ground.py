"""The ground of a story whose chain and nodes are processes: what they are is seen from outside alone."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final, final

import apsw
import trio
from attrs import define, field

from lep6.beside import beside
from lep6.devnet.box import BAD_SCORE, Box
from lep6.devnet.chain_server.seeding import seed_of
from lep6.devnet.chronicle import Chronicle
from lep6.devnet.node import LEDGER
from lep6.devnet.node.fail_points import FailPoint
from lep6.devnet.node.leftovers import directories_in
from lep6.devnet.processes.chain_process import ChainProcess
from lep6.devnet.processes.log import NodeLog, has_started
from lep6.devnet.processes.node_files import DATA, write_node
from lep6.devnet.processes.node_process import NodeProcess
from lep6.devnet.processes.places import free_places
from lep6.devnet.processes.rows import rows_of
from lep6.devnet.scenario import TICKET, Pace, Plan, Scenario
from lep6.heal.events import Event, What
from lep6.model import Ticket
from lep6.ports import Blocking
from lep6.wire.lep6.devnet.v1 import Seed
from lep6.wire.lumera.audit.v1 import TicketDeteriorationState

START_SECONDS: Final = 30.0
"""For which the chain waits with its next block until all nodes have begun."""
POLL_SECONDS: Final = 0.1


@final
@define(eq=False)
class Processes:
    """A `Ground` of processes."""

    chain: ChainProcess
    nodes: Mapping[str, NodeProcess]
    """By account."""
    plan: Plan
    pace: Pace
    blocking: Blocking
    _logs: Mapping[str, NodeLog]
    _events: list[tuple[str, Event]] = field(factory=list, init=False)
    _living: set[str] = field(factory=set, init=False)

    @staticmethod
    def places(count: int) -> list[str]:
        """Where so many nodes may listen."""
        return free_places(count)

    @classmethod
    @asynccontextmanager
    async def open(cls, box: Box, plan: Plan, pace: Pace, places: Sequence[str]) -> AsyncIterator["Processes"]:
        """Start the chain, with what that of the box knows, and write the files of the nodes.

        Raises:
            ChainUnavailable: the chain did not start.
            OSError: a file cannot be written.
        """
        async with AsyncExitStack() as stack:
            log = box.directory / "chain.log"
            chain = await stack.enter_async_context(ChainProcess.open(box.chain.state.params, log))
            await chain.admin.add(seed_of(box.chain))
            nodes: dict[str, NodeProcess] = {}
            for number, store in enumerate(box.network.nodes):
                directory = box.directory / "nodes" / str(number)
                config = write_node(
                    directory,
                    number,
                    place=places[number],
                    chain=chain.address,
                    network=box.directory,
                    pace=pace,
                )
                nodes[store.account] = NodeProcess(store.account, config)
            logs = {account: NodeLog(node.log) for account, node in nodes.items()}
            yield cls(chain, nodes, plan, pace, box.blocking, logs)

    @property
    def events(self) -> Sequence[tuple[str, Event]]:
        """See `Ground.events`."""
        for account, log in self._logs.items():
            self._events += [(account, event) for event in log.events()]
        failures = [
            (account, Event(What.FAILED, 0, failure))
            for account, node in self.nodes.items()
            for failure in node.failures
        ]
        return [*self._events, *failures]

    @property
    def deaths(self) -> int:
        """See `Ground.deaths`."""
        return sum(node.deaths for node in self.nodes.values())

    @property
    def is_everyone_there(self) -> bool:
        """See `Ground.is_everyone_there`."""
        return all(self.nodes[account].process is not None for account in self._living)

    async def schedule(self, epochs: int) -> dict[str, Any]:
        """See `Ground.schedule`."""
        await self.chain.make_blocks(1 + epochs * self.pace.epoch_blocks)
        await self.condemn(TICKET)
        while not (chronicle := await self.chain.chronicle()).ops:
            await self.chain.make_blocks(1)
        (op,) = chronicle.ops
        return op

    async def condemn(self, ticket: Ticket) -> None:
        """See `Box.condemn`."""
        epoch = max(1, (await self.chain.chronicle()).epoch)
        state = TicketDeteriorationState(
            ticket_id=ticket,
            deterioration_score=BAD_SCORE,
            last_index_failure_epoch=epoch,
            last_updated_epoch=epoch,
        )
        await self.chain.admin.add(Seed(tickets=[state]))

    @asynccontextmanager
    async def living(self, first: dict[str, Any]) -> AsyncIterator[None]:
        """See `Ground.living`."""
        scenario, fail_at = self.plan.scenario, self.plan.fail_at
        away = first["verifiers"] if scenario is Scenario.NO_QUORUM else ()
        if scenario is Scenario.CORRUPT_HEALER:
            self.nodes[first["healer"]].options = ("--corrupt",)
        if scenario is Scenario.HEALER_RESTART:
            fail_at = FailPoint.HEALER_INCLUDED
        if fail_at is not None:
            dying = first["verifiers"][0] if fail_at.is_verifiers else first["healer"]
            self.nodes[dying].fail_at = fail_at.value
        self._living = self.nodes.keys() - away
        async with beside(self._live, stop=self._stop):
            yield

    async def chronicle(self) -> Chronicle:
        """See `Ground.chronicle`."""
        return await self.chain.chronicle()

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """See `Ground.until`."""
        while not await condition():  # noqa: ASYNC110 # the chain is elsewhere
            await trio.sleep(self.pace.block_seconds / 2)

    async def rows(self) -> int:
        """See `Ground.rows`. One whose ledger cannot be read now has rows."""
        ledgers = [self.nodes[account].directory / DATA / LEDGER for account in self._living]

        def count() -> int:
            try:
                return sum(map(rows_of, ledgers))
            except apsw.Error:
                return 1

        return await self.blocking.run(count)

    def stagings(self) -> int:
        """How many stagings, work areas and set-aside stagings lie on the disks of the nodes. Blocking."""
        return sum(directories_in(node.staging) for node in self.nodes.values())

    async def _live(self) -> None:
        living = [self.nodes[account] for account in self._living]
        async with trio.open_nursery() as nursery:
            for node in living:
                nursery.start_soon(node.run)
            # The time of the first op is not to go by while processes begin.
            with trio.move_on_after(START_SECONDS):
                while not await self.blocking.run(partial(_have_started, living)):  # noqa: ASYNC110 # others write it
                    await trio.sleep(POLL_SECONDS)
            await self.chain.run_clock(self.pace.block_seconds)

    def _stop(self) -> None:
        for node in self.nodes.values():
            node.stop()


def _have_started(nodes: Sequence[NodeProcess]) -> bool:
    return all(has_started(node.log) for node in nodes)
