"""The two ends of a connection in memory: ours, and one that does what a test tells it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import h2.config
import h2.connection
import h2.events
import trio
import trio.testing
from attrs import define
from grpclib.const import Cardinality, Handler

from echo_wire.echo import EchoBase, EchoStub, Note
from lep6.grpc import Channel, Limits, Server, Service, ServiceBase, ServiceStub, open_channel

DAYS = 10 * 86_400.0
"""Bounds every test on the mock clock; no setting of a connection is as long."""

DEFAULTS = Limits()

REQUEST = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/echo.Echo/Say"),
    (":authority", "test"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]
ANSWER = [(":status", "200"), ("content-type", "application/grpc")]
OK = [("grpc-status", "0")]


class Stub(ServiceStub, EchoStub):
    """The generated stub on Trio."""


class Echo(ServiceBase, EchoBase):
    """Gives back what it is given, whole or in pieces."""

    async def say(self, message):
        return message

    async def split(self, message):
        for number in range(message.number):
            yield Note(message.text, message.data, number)

    async def join(self, messages):
        parts = [message async for message in messages]
        return Note("".join(part.text for part in parts), b"".join(part.data for part in parts), len(parts))

    async def chat(self, messages):
        async for message in messages:
            yield message


@define
class Method:
    """A service of one method that is given the request itself: `Method.PATH`."""

    handle: Callable[[Any], Awaitable[object]]
    cardinality: Cardinality = Cardinality.STREAM_STREAM

    PATH = "/echo.Echo/Method"

    def __mapping__(self):
        return {self.PATH: Handler(self.handle, self.cardinality, Note, Note)}


def request(channel: Channel, path: str = Method.PATH, cardinality: Cardinality = Cardinality.STREAM_STREAM, **options):
    """A call without a stub."""
    return channel.request(path, cardinality, Note, Note, **options)


async def ask(channel: Channel, path: str, message: Note | None = None, **options) -> Note | None:
    """The reply to a unary call of a method that the stub may not have."""
    async with request(channel, path, Cardinality.UNARY_UNARY, **options) as call:
        await call.send_message(message or Note())
        return await call.recv_message()


async def collect(replies: AsyncIterator[Note], into: list[Note]) -> list[Note]:
    """All replies; those that came before an error stay in `into`."""
    async for reply in replies:
        into.append(reply)  # noqa: PERF401
    return into


def framed(message: Note | bytes, *, flag: int = 0) -> bytes:
    """A message as it stands on a stream."""
    body = bytes(message)
    return bytes([flag]) + len(body).to_bytes(4, "big") + body


@asynccontextmanager
async def connected(
    *services: Service, limits: Limits = DEFAULTS, client_limits: Limits = DEFAULTS
) -> AsyncIterator[Channel]:
    """Our client and our server. On leaving, both have ended by themselves."""
    ours, theirs = trio.testing.memory_stream_pair()
    with trio.fail_after(DAYS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Server(services, limits=limits).serve_stream, theirs)
            async with open_channel(ours, limits=client_limits) as channel:
                yield channel


class MemoryListener(trio.abc.Listener):
    """Accepts connections made in memory."""

    def __init__(self) -> None:
        self._made, self._waiting = trio.open_memory_channel[trio.abc.Stream](100)

    async def connect(self) -> trio.abc.Stream:
        """A connection, as the client has it; `BrokenResourceError` when none is accepted any more."""
        ours, theirs = trio.testing.memory_stream_pair()
        await self._made.send(theirs)
        return ours

    async def accept(self) -> trio.abc.Stream:
        return await self._waiting.receive()

    async def aclose(self) -> None:
        self._waiting.close()
        await trio.lowlevel.checkpoint()


class Peer:
    """The other side of a connection, by h2 and without its scruples."""

    def __init__(self, stream: trio.abc.Stream, *, client: bool, window: int | None = None) -> None:
        self.stream = stream
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=client,
                header_encoding="utf-8",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        if window is not None:
            self.h2.local_settings = h2.settings.Settings(
                client=client, initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
            )
        self.h2.initiate_connection()
        self._unread = bytearray()
        self._preface = 0 if client else 24
        self.is_over = False
        """Whether the other side has closed the connection."""

    async def send(self, extra: bytes = b"") -> None:
        """Send what h2 has to say, and `extra` behind it."""
        if data := self.h2.data_to_send() + extra:
            await self.stream.send_all(data)

    async def take(self, seconds: float = 1.0) -> list[h2.events.Event]:
        """What arrives within so many seconds, or until the connection is closed."""
        events: list[h2.events.Event] = []
        await self.send()
        with trio.move_on_after(seconds):
            while not self.is_over:
                if data := await self.stream.receive_some(1 << 20):
                    self._unread += data
                    for frame in self._frames():
                        state = self.h2.state_machine.state
                        events += self.h2.receive_data(frame)
                        if isinstance(events[-1] if events else None, h2.events.ConnectionTerminated):
                            # To h2 the connection is over, to HTTP/2 it is not.
                            self.h2.state_machine.state = state
                    with suppress(trio.BrokenResourceError):
                        await self.send()
                else:
                    self.is_over = True
        return events

    def _frames(self) -> Iterator[bytes]:
        if len(self._unread) >= self._preface:
            preface, self._preface = self._preface, 0
            self.h2.receive_data(bytes(self._unread[:preface]))
            del self._unread[:preface]
        while len(self._unread) >= 9 and len(self._unread) >= (end := 9 + int.from_bytes(self._unread[:3], "big")):
            yield bytes(self._unread[:end])
            del self._unread[:end]

    def call(self, number: int, message: Note | None = None, changed: dict[str, str | None] | None = None) -> None:
        """Send a request on a stream, with these headers changed or left out: ended when it has its message."""
        headers = dict(REQUEST) | (changed or {})
        self.h2.send_headers(number, [(name, value) for name, value in headers.items() if value is not None])
        if message is not None:
            self.h2.send_data(number, framed(message), end_stream=True)

    def answer(self, number: int, *messages: Note, status: str = "0") -> None:
        """Answer a request whole."""
        self.h2.send_headers(number, ANSWER)
        for message in messages:
            self.h2.send_data(number, framed(message))
        self.h2.send_headers(number, [("grpc-status", status)], end_stream=True)


@asynccontextmanager
async def peer_and_server(
    *services: Service, limits: Limits = DEFAULTS, window: int | None = None, pair=trio.testing.memory_stream_pair
) -> AsyncIterator[tuple[Peer, Server]]:
    """A client that does as it is told, connected to our server, whose settings it has seen."""
    ours, theirs = pair()
    server = Server(services, limits=limits)
    with trio.fail_after(DAYS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve_stream, theirs)
            peer = Peer(ours, client=True, window=window)
            await peer.take()
            yield peer, server
            await ours.aclose()


@asynccontextmanager
async def peer_and_channel(*, limits: Limits = DEFAULTS, window: int | None = None):
    """A server that does as it is told, and our client's channel to it."""
    ours, theirs = trio.testing.memory_stream_pair()
    with trio.fail_after(DAYS):
        peer = Peer(theirs, client=False, window=window)
        await peer.send()
        async with open_channel(ours, limits=limits) as channel:
            await peer.take()
            yield peer, channel


def of_type(events, *kinds):
    """Those events that are of these kinds."""
    return [event for event in events if isinstance(event, kinds)]


def fields(events) -> dict[str, str]:
    """All header fields among events."""
    return {name: value for event in events for name, value in getattr(event, "headers", None) or ()}


def body(events) -> bytes:
    """All data among events."""
    return b"".join(event.data for event in of_type(events, h2.events.DataReceived))
