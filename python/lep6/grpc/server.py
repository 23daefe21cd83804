"""A server: services on connections."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, Protocol, final

import trio
from grpclib.const import Handler

from lep6.beside import beside
from lep6.grpc.connection import Connection
from lep6.grpc.headers import Headers
from lep6.grpc.limits import Limits
from lep6.grpc.serving import serve
from lep6.grpc.stream import H2Stream
from lep6.observe import get_logger

log = get_logger("grpc")

DRAIN_SECONDS: Final = 10.0

Serve = Callable[[trio.abc.Stream], Awaitable[None]]
"""Serves one connection until it is over."""


class Service(Protocol):
    """What can be served: generated bases have it."""

    def __mapping__(self) -> dict[str, Any]:
        """Handlers by the path of their method."""


@final
class Server:
    """Serves its services on every connection that it is given."""

    def __init__(self, services: Sequence[Service], *, limits: Limits = Limits()) -> None:  # noqa: B008
        self.limits = limits
        self._mapping: Mapping[str, Handler] = {
            path: handler for service in services for path, handler in service.__mapping__().items()
        }
        self._connections: set[Connection] = set()
        self._is_draining = False
        self._changed = trio.Event()

    async def serve_stream(self, transport: trio.abc.Stream, *, limits: Limits | None = None) -> None:
        """Serve one connection until it is over, under limits of its own where they are given.

        The stream is closed then. Cancelled: its calls are broken off.
        """
        if isinstance(transport, trio.SSLStream) and not await self._handshake(transport):
            return
        async with trio.open_nursery() as nursery:

            def accept(stream: H2Stream, headers: Headers) -> None:
                nursery.start_soon(serve, stream, headers, self._mapping)

            connection = Connection(transport, limits or self.limits, accept=accept)
            self._connections.add(connection)
            try:
                if self._is_draining:
                    connection.drain()
                await connection.run()
            except Exception:  # a bug on one connection ends that one
                log.exception("connection_failed")
            finally:
                self._connections.discard(connection)
                self._changed.set()
                self._changed = trio.Event()
                nursery.cancel_scope.cancel(reason="the connection is over")

    async def _handshake(self, transport: trio.SSLStream[trio.abc.Stream]) -> bool:
        """Shake hands before anything waits for it; whether that went well."""
        try:
            with trio.fail_after(self.limits.settings_timeout):
                await transport.do_handshake()
        except (trio.BrokenResourceError, trio.TooSlowError) as error:
            log.info("tls_handshake_failed", reason=type(error).__name__)
            await trio.aclose_forcefully(transport)
            return False
        except trio.Cancelled:
            await trio.aclose_forcefully(transport)
            raise
        return True

    async def serve_listeners(self, listeners: Sequence[trio.abc.Listener[Any]]) -> None:
        """Serve every connection that the listeners accept, until cancelled."""
        await trio.serve_listeners(self.serve_stream, list(listeners))

    @asynccontextmanager
    async def serving(
        self,
        listeners: Sequence[trio.abc.Listener[Any]],
        *,
        serve: Serve | None = None,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> AsyncIterator[None]:
        """Serve while the block runs; then accept no more, let open calls end for a while, and break off the rest.

        `serve` gets each connection in place of `serve_stream`, which it calls when it has secured it.
        """
        handler = serve or self.serve_stream
        stopped = trio.Event()

        async def hold() -> None:
            async with trio.open_nursery() as handlers:
                async with trio.open_nursery() as acceptors:
                    accept = partial(trio.serve_listeners, handler, list(listeners), handler_nursery=handlers)
                    acceptors.start_soon(accept)
                    await stopped.wait()
                    acceptors.cancel_scope.cancel(reason="the server stops")
                await self.drain(drain_seconds)
                handlers.cancel_scope.cancel(reason="the server has stopped")

        async with beside(hold, stop=stopped.set):
            yield

    async def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Take no new calls on any connection, and wait up to so many seconds for those that are open."""
        self._is_draining = True
        for connection in list(self._connections):
            connection.drain()
        with trio.move_on_after(seconds):
            while self._connections:
                await self._changed.wait()
