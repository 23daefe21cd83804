"""Nodes of a box that really run: artefact servers on loopback, blocks by the clock."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, final

import trio
from attrs import define, field

from lep6.devnet.chain import Chain
from lep6.devnet.node import Node, Surroundings, open_node
from lep6.grpc import Service
from lep6.ports import Clock

LOOPBACK: Final = "127.0.0.1"
DRAIN_SECONDS: Final = 1.0


@final
@define(eq=False)
class Life:
    """A node that runs until it is stopped, and comes back from its disk when it dies."""

    data: Path
    around: Surroundings
    chain: Chain
    """Where it registers the address at which it listens."""
    serves: Callable[[Node], Service]
    """What the node's artefact server serves: its artefacts, or what stands in for them."""
    deaths: int = 0
    node: Node | None = None
    """While it lives."""
    _stopped: trio.Event = field(factory=trio.Event)
    _scope: trio.CancelScope = field(factory=trio.CancelScope)

    async def run(self) -> None:
        """Live until stopped."""
        while not self._stopped.is_set():
            with trio.CancelScope() as self._scope:
                await self._live()

    def stop(self) -> None:
        """End in order."""
        self._stopped.set()

    def die(self) -> None:
        """End without order, and begin again."""
        self.deaths += 1
        self._scope.cancel(reason="the node dies")

    async def _live(self) -> None:
        async with open_node(self.data, self.around) as node:
            listeners = await trio.open_tcp_listeners(0, host=LOOPBACK)
            host, port = listeners[0].socket.getsockname()
            self.chain.set_supernode_host(node.account, f"{host}:{port}")
            door = node.door(self.serves(node))
            self.node = node
            try:
                async with door.serving(listeners, drain_seconds=DRAIN_SECONDS), node.service.running():
                    await self._stopped.wait()
            finally:
                self.node = None


@final
@define(eq=False)
class Blocks:
    """Makes the blocks of a chain by the clock."""

    chain: Chain
    seconds: float
    """Between blocks."""
    clock: Clock
    _made: trio.Event = field(factory=trio.Event)

    async def run(self) -> None:
        """Make blocks for ever."""
        due = trio.current_time()
        while True:
            due += self.seconds
            await trio.sleep_until(due)
            self.chain.make_block(self.clock.now())
            self._made.set()
            self._made = trio.Event()

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait for a condition, which is looked at after each block."""
        while not await condition():
            await self._made.wait()
