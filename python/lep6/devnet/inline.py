"""The ground of a story in one process: a chain that is called, or served on loopback, and nodes that are tasks."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final, final

import trio
from attrs import define, field

from lep6.beside import beside
from lep6.chain import LumeraChain
from lep6.devnet.box import Box
from lep6.devnet.chain import ChainClient
from lep6.devnet.chain_server import ChainServer
from lep6.devnet.chain_server.chronicle import chronicle_message
from lep6.devnet.chronicle import Chronicle
from lep6.devnet.interposed import InterposedChain
from lep6.devnet.loopback import Blocks, Life
from lep6.devnet.network import node_account, node_key
from lep6.devnet.node import Node, Surroundings, open_node
from lep6.devnet.scenario import TICKET, Pace, Plan, Scenario, Talk
from lep6.devnet.stand_ins import CorruptArtefacts, DiesAfterInclusion
from lep6.grpc import Address, Service
from lep6.heal.events import Event
from lep6.heal.settings import Settings
from lep6.observe import NamedProgress
from lep6.ports import Chain as ChainPort
from lep6.ports import Clock

TIMEOUT_BLOCKS: Final = 10
"""Blocks that a transaction has to be included."""

Client = LumeraChain | ChainClient


@final
@define(eq=False)
class Inline:
    """A `Ground` whose chain and nodes are here."""

    box: Box
    plan: Plan
    pace: Pace
    clock: Clock
    events: list[tuple[str, Event]] = field(factory=list, init=False)
    _blocks: Blocks = field(init=False)
    _lives: dict[str, Life] = field(init=False, factory=dict)
    _corrupt: str = field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        self._blocks = Blocks(self.box.chain, self.pace.block_seconds, self.clock)

    @property
    def deaths(self) -> int:
        """See `Ground.deaths`."""
        return sum(life.deaths for life in self._lives.values())

    @property
    def is_everyone_there(self) -> bool:
        """See `Ground.is_everyone_there`."""
        return all(life.node is not None for life in self._lives.values())

    async def schedule(self, epochs: int) -> dict[str, Any]:
        """See `Ground.schedule`."""
        chain = self.box.chain
        time = chain.state.time
        for _ in range(epochs * chain.state.params.epoch_length):
            chain.make_block(time)
        self.box.condemn(TICKET)
        while not chain.state.ops:
            chain.make_block(time)
        (op,) = (await self.chronicle()).ops
        return op

    @asynccontextmanager
    async def living(self, first: dict[str, Any]) -> AsyncIterator[None]:
        """See `Ground.living`."""
        if self.plan.scenario is Scenario.CORRUPT_HEALER:
            self._corrupt = first["healer"]
        async with (
            beside(self._blocks.run),
            self._clients() as clients,
            beside(partial(self._live, first, clients), stop=self._stop),
        ):
            yield

    async def chronicle(self) -> Chronicle:
        """See `Ground.chronicle`."""
        await trio.lowlevel.checkpoint()
        return Chronicle.read(chronicle_message(self.box.chain))

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """See `Ground.until`."""
        await self._blocks.until(condition)

    async def rows(self) -> int:
        """See `Ground.rows`."""
        rows = 0
        for life in self._lives.values():
            if life.node is not None:
                entries = await life.node.service.ledger.entries()
                rows += len(entries.claims) + len(entries.intents) + len(entries.verifications)
        return rows

    @asynccontextmanager
    async def _clients(self) -> AsyncIterator[Sequence[Client]]:
        """The chain as each node uses it."""
        numbers = range(self.plan.nodes)
        if self.plan.talk is Talk.INLINE:
            yield [ChainClient(self.box.chain, node_account(number)) for number in numbers]
            return
        async with AsyncExitStack() as stack:
            server = ChainServer(self.box.chain, block_seconds=None)
            host, port = await stack.enter_async_context(server.listening())
            yield [
                await stack.enter_async_context(
                    LumeraChain.open(
                        [Address(host, port, tls=False)],
                        self.box.chain.chain_id,
                        node_key(number),
                        random=Random(number),  # noqa: S311 # of pauses between attempts to connect
                        timeout_blocks=TIMEOUT_BLOCKS,
                    )
                )
                for number in numbers
            ]

    async def _live(self, first: dict[str, Any], clients: Sequence[Client]) -> None:
        away = first["verifiers"] if self.plan.scenario is Scenario.NO_QUORUM else ()
        async with trio.open_nursery() as nursery:
            for number, store in enumerate(self.box.network.nodes):
                is_dying = self.plan.scenario is Scenario.HEALER_RESTART and store.account == first["healer"]
                life = self._life(number, clients[number], is_dying=is_dying)
                if store.account in away:
                    nursery.start_soon(_visit, life)
                else:
                    self._lives[store.account] = life
                    nursery.start_soon(life.run)

    def _life(self, number: int, client: Client, *, is_dying: bool) -> Life:
        account = self.box.network.nodes[number].account
        chain: ChainPort = client
        if is_dying:
            chain = InterposedChain(client, DiesAfterInclusion(lambda: self._lives[account].die()))  # noqa: PLW0108
        seconds = self.pace.block_seconds
        around = Surroundings(
            key=node_key(number),
            chain=chain,
            accounts=client,
            registrations=client,
            network=self.box.network.seen_from(account),
            survivors=self.box.network,
            connect=trio.open_tcp_stream,
            blocking=self.box.blocking,
            progress=NamedProgress(self.box.progress, f"node {number}"),
            clock=self.clock,
            random=Random(self.plan.seed * 1000 + number),  # noqa: S311 # chance that can be repeated
            settings=Settings(
                tick=seconds * 2,
                poll=seconds,
                query=5.0,
                backoff=0.2,
                longest_backoff=1.0,
                block=seconds,
                drain=1.0,
            ),
            watch=lambda event: self.events.append((account, event)),
        )
        return Life(_directory(self.box, number), around, self.box.chain, self._served)

    def _served(self, node: Node) -> Service:
        return CorruptArtefacts(node.artefacts) if node.account == self._corrupt else node.artefacts

    def _stop(self) -> None:
        for life in self._lives.values():
            life.stop()


def _directory(box: Box, number: int) -> Path:
    return box.directory / "nodes" / str(number)


async def _visit(life: Life) -> None:
    """Open a node that stays away, so that it has its files, and leave it."""
    async with open_node(life.data, life.around) as node:
        await node.service.disk.sweep()
