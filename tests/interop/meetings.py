"""Our side of a connection to the Go program: a door that echoes, a dialer, and a tap on what is sent."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any, cast, final

import trio
from attrs import define, field

from interop.go_program import PATIENCE, Party
from lep6.beside import beside
from lep6.grpc import Limits, Server
from lep6.model import Supernode
from lep6.secure_rpc import AltsStream, Dialer, Door, PeerRegistry

HOST = "127.0.0.1"


@final
@define
class Known:
    """A chain that knows these supernodes, and these plain accounts. `Registrations`."""

    supernodes: Collection[str]
    accounts: Collection[str] = ()

    async def supernode(self, account: str, /) -> Supernode | None:
        await trio.lowlevel.checkpoint()
        return Supernode(account, HOST) if account in self.supernodes else None

    async def is_account(self, address: str, /) -> bool:
        await trio.lowlevel.checkpoint()
        return address in self.supernodes or address in self.accounts


@final
@define(eq=False)
class Tap(trio.abc.Stream):
    """A transport that keeps what goes through it, and may send in small pieces."""

    inner: trio.abc.Stream
    piece: int | None = None
    """Bytes that are sent at a time."""
    sent: bytes = b""
    received: bytes = b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data
        size = self.piece or max(1, len(data))
        for start in range(0, len(data), size):
            await self.inner.send_all(data[start : start + size])

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = bytes(await self.inner.receive_some(max_bytes))
        self.received += data
        return data

    async def aclose(self) -> None:
        await self.inner.aclose()


@final
@define(eq=False)
class Echo:
    """Stands in for a gRPC server: gives back what it gets, and notes who was there and how that has ended."""

    ends: list[tuple[str | None, str | None]] = field(factory=list)
    """The peer, and why its connection broke."""
    limits: list[Limits | None] = field(factory=list)
    stream: AltsStream | None = None
    """The last one."""

    async def serve_stream(self, stream: AltsStream, *, limits: Limits | None = None) -> None:
        self.stream = stream
        self.limits.append(limits)
        why = None
        try:
            while data := await stream.receive_some():
                await stream.send_all(data)
        except trio.BrokenResourceError as error:
            why = str(error)
        self.ends.append((stream.peer, why))


@final
@define(eq=False)
class OpenDoor:
    """A door of ours on a port."""

    door: Door
    echo: Echo
    port: int = 0
    taps: list[Tap] = field(factory=list)


@asynccontextmanager
async def open_door(ours: Party, chain: Known, *, piece: int | None = None, **options: Any) -> AsyncIterator[OpenDoor]:
    """A door of ours in front of an echo. After the block all its connections have ended."""
    echo = Echo()
    at = OpenDoor(Door(cast("Server", echo), ours.credentials, PeerRegistry(chain), **options), echo)
    listeners = await trio.open_tcp_listeners(0, host=HOST)
    at.port = listeners[0].socket.getsockname()[1]

    async def serve(transport: trio.SocketStream) -> None:
        at.taps.append(Tap(transport, piece))
        await at.door.serve_stream(at.taps[-1])

    with trio.fail_after(PATIENCE):
        async with (
            trio.open_nursery() as connections,
            beside(partial(trio.serve_listeners, serve, listeners, handler_nursery=connections)),
        ):
            yield at


@final
class _Hurried(Random):
    """Waits as little as it may."""

    def uniform(self, a: float, b: float) -> float:
        return 0.0


@final
@define(eq=False)
class Caller:
    """Dials as one of ours."""

    ours: Party
    chain: Known
    piece: int | None = None
    taps: list[Tap] = field(factory=list)

    @property
    def dialer(self) -> Dialer:
        return Dialer(self.ours.credentials, self.chain, PeerRegistry(self.chain), _Hurried(5), connect=self._connect)

    async def _connect(self, host: str, port: int) -> trio.abc.Stream:
        self.taps.append(Tap(await trio.open_tcp_stream(host, port), self.piece))
        return self.taps[-1]


async def exactly(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    """So many bytes, or what there is of them."""
    data = b""
    while len(data) < size and (more := await stream.receive_some()):
        data += more
    return data


async def echoed(stream: trio.abc.Stream, data: bytes) -> bytes:
    """What comes back while this is sent."""
    async with beside(partial(stream.send_all, data)):
        return await exactly(stream, len(data))
