"""Faults between a node and other nodes: the network, and the healers' artefact servers."""

from collections.abc import Sequence
from random import Random
from typing import Final, final

import trio
import trio.testing
from attrs import define, field

from lep6.devnet.network import EmbeddedNetwork
from lep6.devnet.simulation.chance import Fault, Weather
from lep6.devnet.simulation.witness import Witness
from lep6.devnet.store import Behaviour
from lep6.model import Key
from lep6.ports import Network, Placement, Retrieval, Sink

BACKLOG: Final = 16
"""Connections that wait to be accepted."""


@final
@define(eq=False)
class WatchedNetwork:
    """The network as one node uses it."""

    account: str
    network: Network
    witness: Witness
    is_dead: bool = field(default=False, init=False)

    async def retrieve(self, keys: Sequence[Key], /, *, need: int, sink: Sink) -> Retrieval:
        """See `Network.retrieve`."""
        if self.is_dead:
            await trio.lowlevel.checkpoint()
            missing = frozenset(keys)
            return Retrieval(frozenset(), missing, missing, frozenset())
        return await self.network.retrieve(keys, need=need, sink=sink)

    async def store(self, items: Sequence[tuple[Key, bytes]], /) -> Sequence[Placement]:
        """See `Network.store`."""
        if self.is_dead:
            await trio.lowlevel.checkpoint()
            return [Placement(key, 0, 1) for key, _ in items]
        self.witness.stores(self.account, [key for key, _ in items])
        return await self.network.store(items)


async def spoil_peers(network: EmbeddedNetwork, weather: Weather) -> None:
    """Let nodes of the network misbehave, each for a while, until the calm."""
    while not weather.is_calm:
        for node in network.nodes:
            await node.behave(_behaviour(weather) if weather.strikes(Fault.PEER) else Behaviour())
        until_calm = weather.story.calm_from - trio.current_time()
        await trio.sleep(max(0.0, min(weather.random.uniform(5.0, 40.0), until_calm)))
    for node in network.nodes:
        await node.behave(Behaviour())


def _behaviour(weather: Weather) -> Behaviour:
    rng = weather.random
    return rng.choice(
        (
            Behaviour(down=True),
            Behaviour(delay=rng.uniform(0.0, 14.0)),
            Behaviour(lying=rng.uniform(0.0, 1.0)),
            Behaviour(lossy=rng.uniform(0.0, 0.5)),
        )
    )


@final
@define(eq=False)
class Streets:
    """How nodes reach one another's artefact servers: memory streams, some of which break or crawl."""

    weather: Weather
    doors: dict[str, trio.MemorySendChannel[trio.abc.Stream]] = field(factory=dict)
    """Where each host accepts connections."""

    def open_door(self, host: str) -> trio.MemoryReceiveChannel[trio.abc.Stream]:
        """Let a host accept connections: they come out of what is returned, until it is closed."""
        self.doors[host], callers = trio.open_memory_channel[trio.abc.Stream](BACKLOG)
        return callers

    async def connect(self, host: str, port: int, /) -> trio.abc.Stream:
        """Connect to a host; what the port is does not matter here.

        Raises:
            OSError: it does not listen, or cannot be reached.
        """
        door = self.doors.get(host)
        if door is None or self.weather.strikes(Fault.UNREACHABLE):
            await trio.sleep(self.weather.random.uniform(0.0, 2.0))
            raise ConnectionRefusedError(f"{host}:{port} cannot be reached")
        ours, theirs = trio.testing.memory_stream_pair()
        stream: trio.abc.Stream = ours
        if self.weather.strikes(Fault.CUT_STREAM):
            stream = FailingStream(ours, self.weather.random.randrange(200_000))
        elif self.weather.strikes(Fault.SLOW_STREAM):
            stream = SlowStream(ours, self.weather.random.uniform(0.1, 14.0), self.weather.random)
        try:
            door.send_nowait(theirs)
        except (trio.WouldBlock, trio.BrokenResourceError) as error:
            raise ConnectionRefusedError(f"{host}:{port} does not accept") from error
        return stream


@final
@define(eq=False)
class FailingStream(trio.abc.Stream):
    """Breaks after some bytes."""

    inner: trio.abc.Stream
    left: int

    async def send_all(self, data: "bytes | bytearray | memoryview") -> None:
        """See `trio.abc.SendStream`."""
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See `trio.abc.ReceiveStream`."""
        data = bytes(await self.inner.receive_some(max_bytes))
        self.left -= len(data)
        if self.left < 0:
            await trio.aclose_forcefully(self.inner)
            raise trio.BrokenResourceError("connection reset by peer")
        return data

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource`."""
        await self.inner.aclose()


@final
@define(eq=False)
class SlowStream(trio.abc.Stream):
    """Takes its time now and then."""

    inner: trio.abc.Stream
    delay: float
    random: Random

    async def send_all(self, data: "bytes | bytearray | memoryview") -> None:
        """See `trio.abc.SendStream`."""
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See `trio.abc.ReceiveStream`."""
        if self.random.random() < 0.3:  # noqa: PLR2004
            await trio.sleep(self.delay)
        return bytes(await self.inner.receive_some(max_bytes))

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource`."""
        await self.inner.aclose()
