"""Channels: what stubs call through. One connection, or one after another for clients that live long."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any, Final, TypeVar, final

import trio
from attrs import define, field, frozen
from grpclib.const import Cardinality, Status
from grpclib.metadata import Deadline

from lep6.beside import beside
from lep6.errors import Lep6Error, RpcUnsent
from lep6.grpc.client import Call
from lep6.grpc.connection import Connection
from lep6.grpc.headers import Headers
from lep6.grpc.limits import Limits
from lep6.grpc.stream import H2Stream
from lep6.observe import get_logger

log = get_logger("grpc")

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")

Connect = Callable[[], Awaitable[trio.abc.Stream]]
"""Connects to the server: dials, and secures what it dialled."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 120.0
PAUSE_FACTOR: Final = 1.6
PAUSE_JITTER: Final = 0.2
"""Pauses between attempts to connect, in seconds, as Go's clients make them."""


class _Channel:
    """What stubs ask of a channel."""

    scheme = "http"
    authority = "localhost"

    async def _open_stream(self, headers: Headers, end: bool) -> H2Stream:
        raise NotImplementedError

    def request(
        self,
        name: str,
        cardinality: Cardinality,
        request_type: type[RequestT],
        reply_type: type[ReplyT],
        *,
        timeout: float | None = None,
        deadline: Deadline | None = None,
        metadata: Any = None,
    ) -> Call[RequestT, ReplyT]:
        """A call of a method; `timeout` in seconds, or a deadline of grpclib's, bounds it as a whole."""
        now = trio.current_time()
        bounds = [now + timeout if timeout is not None else math.inf]
        if deadline is not None:
            bounds.append(now + deadline.time_remaining())
        base = [(":method", "POST"), (":scheme", self.scheme), (":path", name), (":authority", self.authority)]
        return Call(
            self._open_stream, base, cardinality, request_type, reply_type, deadline=min(bounds), metadata=metadata
        )


@final
@define(eq=False)
class Channel(_Channel):
    """Calls over one connection."""

    connection: Connection
    authority: str = "localhost"
    scheme: str = "http"

    async def _open_stream(self, headers: Headers, end: bool) -> H2Stream:
        return await self.connection.open_stream(headers, end=end)


@asynccontextmanager
async def open_channel(
    transport: trio.abc.Stream,
    *,
    authority: str = "localhost",
    scheme: str = "http",
    limits: Limits = Limits(),  # noqa: B008
) -> AsyncIterator[Channel]:
    """A channel over a stream that is connected. Leaving the block closes both; open calls fail.

    Raises:
        RpcUnsent: the other side does not speak HTTP/2, or not in time.
    """
    connection = Connection(transport, limits)
    async with beside(connection.run, stop=partial(connection.close, "the channel was closed")):
        await connection.wait_settled()
        yield Channel(connection, authority, scheme)


@final
@frozen
class Pauses:
    """Growing pauses between attempts to connect."""

    random: Random

    def after(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * PAUSE_FACTOR ** min(failures - 1, 20))
        return pause * self.random.uniform(1 - PAUSE_JITTER, 1 + PAUSE_JITTER)


@final
@define(eq=False)
class ReconnectingChannel(_Channel):
    """Calls over a connection that is made again when it is gone.

    A call waits for the connection as long as its deadline allows, or fails at once with what the last attempt failed
    with, as `wait_for_ready` says.
    """

    connect: Connect
    authority: str = "localhost"
    scheme: str = "http"
    limits: Limits = field(factory=Limits)
    wait_for_ready: bool = False
    random: Random = field(factory=Random)
    _connection: Connection | None = None
    _failure: str | None = None
    _wanted: trio.Event = field(factory=trio.Event)
    _changed: trio.Event = field(factory=trio.Event)

    @asynccontextmanager
    async def running(self) -> "AsyncIterator[ReconnectingChannel]":
        """Keep the channel connected while the block runs, from the first call on."""
        async with beside(self._keep_connected):
            yield self

    async def _keep_connected(self) -> None:
        pauses, failures = Pauses(self.random), 0
        async with trio.open_nursery() as nursery:
            while True:
                await self._wanted.wait()
                connection = await self._connect(nursery)
                if isinstance(connection, Connection):
                    failures = 0
                    self._connection, self._wanted = connection, trio.Event()
                    self._notify()
                    # Calls that are open on it when it is no longer usable go on beside the next one.
                    await connection.wait_unusable()
                    self._connection = None
                    continue
                failures += 1
                log.warning("grpc_connect_failed", authority=self.authority, reason=connection, failures=failures)
                # Only a call that still wants the connection makes the next attempt.
                self._failure, self._wanted = connection, trio.Event()
                self._notify()
                await trio.sleep(pauses.after(failures))
                self._failure = None

    async def _connect(self, nursery: trio.Nursery) -> Connection | str:
        """A connection that runs in the nursery, or why there is none."""
        try:
            with trio.fail_after(self.limits.settings_timeout):
                connection = Connection(await self.connect(), self.limits)
        except (OSError, trio.TooSlowError, trio.BrokenResourceError, Lep6Error) as error:
            return str(error) or type(error).__name__
        nursery.start_soon(connection.run)
        try:
            await connection.wait_settled()
        except RpcUnsent as error:
            connection.close(error.message)
            return error.message
        return connection

    async def _open_stream(self, headers: Headers, end: bool) -> H2Stream:
        while True:
            connection = self._connection
            if connection is not None and connection.is_usable():
                try:
                    return await connection.open_stream(headers, end=end)
                except RpcUnsent:
                    if connection.is_usable():
                        raise
                    continue  # it went away while the call waited for its turn
            self._wanted.set()
            if self._failure is not None and not self.wait_for_ready:
                raise RpcUnsent(Status.UNAVAILABLE, f"{self.authority} cannot be reached: {self._failure}")
            await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
