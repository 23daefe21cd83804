"""A world in which nodes heal through the real adapter: their chain is a gRPC server, with faults as they are ordered.

It is the world of `healing`, but each node signs with a key of its own and talks over streams in memory.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import trio
import trio.testing
from attrs import define, evolve, field

from healing import BLOCK, Effect, HealingWorld, Life
from lep6.chain import LumeraChain
from lep6.devnet.chain import Tx
from lep6.devnet.chain_server import ChainServer, decode_tx
from lep6.devnet.interposed import InterposedChain
from lep6.devnet.network import node_key
from lep6.devnet.node import Surroundings
from lep6.grpc import Address
from lep6.heal.events import What
from lep6.heal.ledger import Entries
from lep6.heal.settings import Settings
from lep6.model import HealOpStatus
from lep6.transaction import Claim, Refused, Vote

VERIFIED = HealOpStatus.VERIFIED
FIRST = Address("first.node", 9090, tls=False)
SECOND = Address("second.node", 9090, tls=False)
HEALER, VERIFIERS = 0, (1, 2)
LONG = 20
"""Epochs until the deadline of an op whose troubles take their time."""
STEP = 0.1
POLL, TICK = 2 * BLOCK, 8 * BLOCK
"""Seconds; seldom, for many heals in a short time."""

Connect = Callable[[], Awaitable[trio.abc.Stream]]


@define(eq=False, repr=False)
class WireLife(Life):
    """A node that signs what it says, and has a connection of its own to each node of the chain."""

    number: int = field(kw_only=True)
    wire: "Wire" = field(kw_only=True)
    addresses: Sequence[Address] = field(kw_only=True)
    chain: LumeraChain | None = None

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        async with LumeraChain.open(
            self.addresses,
            self.world.chain.chain_id,
            node_key(self.number),
            random=Random(self.number),
            connect=self.wire.connect,
        ) as self.chain:
            await super()._run(task_status)

    async def entries(self) -> Entries:
        """What its ledger says, which need not be opened again for that."""
        return await (self.node.service.ledger.entries() if self.node is not None else Life.entries(self))

    def _around(self) -> Surroundings:
        assert self.chain is not None
        heard = InterposedChain(self.chain, self.wire.overhear)
        return evolve(
            super()._around(),
            chain=InterposedChain(heard, self.passage),
            accounts=self.chain,
            registrations=self.chain,
        )


@define(eq=False, repr=False)
class Wire:
    """The chain's nodes on the wire, and the nodes that heal."""

    world: HealingWorld
    server: ChainServer
    ends: dict[Address, Connect] = field(factory=dict)
    sent: list[Tx] = field(factory=list)
    """What was handed to a node of the chain, or may have been."""
    refused: set[str] = field(factory=set)
    """Hashes of what was then said to be refused."""
    wrong: list[str] = field(factory=list)
    """What must never be, and was."""

    @property
    def healer(self) -> WireLife:
        return self.lives[0]

    @property
    def lives(self) -> list[WireLife]:
        return [life for life in self.world.lives.values() if isinstance(life, WireLife)]

    # Connecting

    async def connect(self, address: Address) -> trio.abc.Stream:
        return await self.ends[address]()

    def serve(self, server: ChainServer) -> Connect:
        """Connects to a server."""

        async def connect() -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            ours, theirs = trio.testing.memory_stream_pair()
            self.world.nursery.start_soon(server.serve_stream, theirs)
            return ours

        return connect

    async def start(self, *, addresses: Sequence[Address] = (FIRST,), verifiers: int = 2) -> None:
        """Start a healer and its verifiers."""
        settings = Settings(poll=POLL, tick=TICK)
        for number in range(1 + verifiers):
            account = self.world.accounts[number]
            known = self.world.node(number)
            life = WireLife(
                self.world,
                account,
                known.directory,
                known.client,
                settings,
                number=number,
                wire=self,
                addresses=addresses,
            )
            life.passage.hooks["store"] = self._stores
            self.world.lives[account] = life
            await life.start()

    # What must never be

    async def overhear(self, name: str, argument: Any, call: Effect, /) -> Any:
        """A `Between` that watches what is sent."""
        if name != "broadcast":
            return await call()
        tx = decode_tx(argument.raw)
        for earlier in self.sent:
            if earlier.tx_hash != tx.tx_hash and says(earlier) == says(tx) and self._is_alive(earlier):
                self.wrong.append(f"{says(tx)} is sent while another of it is alive")
        self.sent.append(tx)
        try:
            answer = await call()
        finally:
            waiting = [says(tx) for tx in self.world.chain.mempool()]
            if len(waiting) != len(set(waiting)):
                self.wrong.append(f"two of one message wait: {waiting}")
        if isinstance(answer, Refused):
            self.refused.add(tx.tx_hash)
        return answer

    def _is_alive(self, tx: Tx) -> bool:
        is_in_block = any(included.tx_hash == tx.tx_hash for included, _ in self.world.chain.included)
        return not (tx.tx_hash in self.refused or is_in_block or tx.is_late(self.world.chain.height + 1))

    async def _stores(self, _: Any, call: Effect) -> Any:
        """A hook: something goes into the network."""
        if all(op.status is not VERIFIED for op in self.world.chain.state.ops.values()):
            self.wrong.append("something is published before its op is VERIFIED")
        return await call()

    def check(self) -> None:
        """Nothing was that must never be."""
        chain = self.world.chain
        there = {tx.tx_hash for tx, _ in chain.included} | {tx.tx_hash for tx in chain.mempool()}
        assert not self.wrong
        assert not self.refused & there, "what was refused for certain was there"

    # Healing

    def put_op(
        self, op_id: int = 1, *, healer: int = HEALER, verifiers: Sequence[int] = VERIFIERS, epochs: int = LONG
    ) -> None:
        """Let the chain assign an op."""
        epoch = self.world.chain.state.epoch.epoch_id
        self.world.put_op(op_id=op_id, healer=healer, verifiers=verifiers, deadline_epoch=epoch + epochs)

    async def soon(self, condition: Callable[[], Any], *, blocks: float = 100) -> None:
        """Wait until something is so, and hear of it at once."""
        with trio.fail_after(blocks * BLOCK):
            while not condition():  # noqa: ASYNC110 # on a mock clock
                await trio.sleep(STEP)

    async def waiting(self, kind: type[Claim | Vote]) -> list[Tx]:
        """Wait until messages of a kind wait for their block."""
        found: list[Tx] = []

        def some() -> bool:
            found[:] = [tx for tx in self.world.chain.mempool() if isinstance(tx.message, kind)]
            return bool(found)

        await self.soon(some)
        return found

    async def healed(self, op_id: int = 1, *, blocks: float = 150) -> None:
        """Wait until an op has healed and nothing is left of it here; then look whether all went well."""
        world = self.world
        healer = next(life for life in self.lives if life.account == world.op(op_id).healer)
        await world.until(lambda: world.status(op_id) is VERIFIED, blocks=blocks)
        await world.until(lambda: healer.seen(What.CLOSED, op_id), blocks=blocks)
        await self.clean(blocks=blocks)
        assert await world.is_published()
        assert len(healer.seen(What.RECONSTRUCTED, op_id)) == 1, "what was staged was staged once"
        assert [event.text for event in healer.seen(What.CLOSED, op_id)] == ["published"]
        said = [says(tx) for tx, result in world.chain.included if result.code == 0 and tx.message.op_id == op_id]
        assert len(said) == len(set(said))
        assert [who for who, message in said if isinstance(message, Claim)] == [healer.account]
        assert sum(isinstance(message, Vote) for _, message in said) >= len(world.op(op_id).verifiers) // 2 + 1

    async def clean(self, *, blocks: float = 80) -> None:
        """Wait until nobody remembers or has anything."""
        with trio.fail_after(blocks * BLOCK):
            for life in self.lives:
                while not await life.is_clean():  # noqa: ASYNC110 # on a mock clock
                    await trio.sleep(BLOCK)

    async def next_heals(self, op_id: int = 2) -> None:
        """Another op of the same nodes heals, without troubles, in a short time."""
        self.server.faults.cancel()
        await self.world.network.delete(self.world.registered.layout.symbols[:4])
        assert not await self.world.is_published()
        self.put_op(op_id, epochs=3)
        await self.healed(op_id, blocks=60)

    def took(self, kind: type[Any]) -> int:
        """How often a kind of fault came to pass."""
        return sum(isinstance(fault, kind) for _, fault in self.server.faults.taken)


def says(tx: Tx) -> tuple[str, Claim | Vote]:
    return tx.creator, tx.message


@asynccontextmanager
async def a_wire(world: HealingWorld) -> AsyncIterator[Wire]:
    """The chain of a world on the wire, after the disaster."""
    wire = Wire(world, ChainServer(world.chain, block_seconds=None))
    wire.ends[FIRST] = wire.serve(wire.server)
    await world.disaster()
    await world.blocks(1)  # before it, the time is 0, which is no time on the wire
    yield wire
    wire.check()
