"""One stream of an HTTP/2 connection, seen from the call that it carries.

Received bytes are acknowledged when they are consumed and when they are dropped: what is not consumed is bounded by the
windows that were announced.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

import trio
from grpclib.const import Status
from h2.errors import ErrorCodes

from lep6.errors import RpcError, RpcUnanswered
from lep6.grpc.headers import Headers

if TYPE_CHECKING:
    from lep6.grpc.connection import Connection


SLACK: Final = 64 << 10
"""Bytes that a call may have unread besides its largest message."""


class Signal:
    """Wakes all who wait whenever something changed."""

    def __init__(self) -> None:
        self._event = trio.Event()

    async def wait(self) -> None:
        """Wait for the next change."""
        await self._event.wait()

    def notify(self) -> None:
        """Wake all who wait now."""
        self._event.set()
        self._event = trio.Event()


@final
class H2Stream:
    """One stream of a connection: headers, a buffer of received bytes, trailers; and sending, under flow control."""

    def __init__(self, connection: Connection, number: int) -> None:
        self.number = number
        self.connection = connection
        self.headers: Headers | None = None
        self.trailers: Headers | None = None
        self.failure: RpcError | None = None
        """Set once the stream is over other than by its end."""
        self.on_failure: Callable[[], None] | None = None
        self._received: deque[bytes] = deque()
        self._unread = 0
        """Bytes of these."""
        self._returned: deque[bytes] = deque()
        """Bytes that were acknowledged and given back."""
        self._had_data = False
        self._is_ended = False
        self._is_closed = False
        self._changed = Signal()

    # What arrives: called by the connection's reader.

    def take_headers(self, headers: Headers) -> None:
        """The first or the last headers have come."""
        if self.headers is None:
            self.headers = headers
        else:
            self.trailers = headers
        self._changed.notify()

    def take_data(self, data: bytes) -> None:
        """Bytes have come."""
        if self._is_closed:
            self.connection.acknowledge(self.number, len(data))
        elif data:
            self._had_data = True
            self._received.append(data)
            self._unread += len(data)
            self._changed.notify()
            if not self.connection.is_client and self._unread > self.connection.limits.max_request + SLACK:
                self.fail(RpcUnanswered(Status.RESOURCE_EXHAUSTED, "more was sent than the call takes"))
                self.close(ErrorCodes.ENHANCE_YOUR_CALM)

    def take_end(self) -> None:
        """The other side has ended."""
        self._is_ended = True
        self._changed.notify()

    def fail(self, failure: RpcError) -> None:
        """End the stream with a failure; what was received before it can still be read."""
        if self._is_ended and self.connection.is_client:
            # The answer was complete: the other side only says that it wants no more.
            self._changed.notify()
        elif self.failure is None:
            self.failure = failure
            self._changed.notify()
            if self.on_failure is not None:
                self.on_failure()

    def window_changed(self) -> None:
        """More may be sent, perhaps."""
        self._changed.notify()

    # What the caller asks for.

    async def receive_headers(self) -> Headers:
        """The first headers of the other side."""
        while self.headers is None:
            await self._wait()
        return self.headers

    async def receive_trailers(self) -> Headers | None:
        """The last headers of the other side; `None` when it ended without. Received bytes are dropped."""
        while self.trailers is None and not self._is_ended:
            self._drop_received()
            await self._wait()
        return self.trailers

    async def receive_exactly(self, count: int) -> bytes | None:
        """`count` bytes; `None` when the other side has ended and no byte is left.

        Raises:
            RpcUnanswered: it ended in the middle, or vanished.
        """
        parts: list[bytes] = []
        lacking = count
        try:
            while lacking:
                part = await self._next_part()
                if part is None:
                    if not parts:
                        return None
                    raise RpcUnanswered(Status.INTERNAL, "the stream ended in the middle of a message")
                parts.append(part[:lacking])
                if len(part) > lacking:
                    self.put_back(part[lacking:])
                lacking -= len(parts[-1])
        except trio.Cancelled:
            self.put_back(*parts)
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _next_part(self) -> bytes | None:
        """The next bytes at hand, acknowledged; `None` at the end."""
        while not self._returned and not self._received:
            if self._is_ended:
                return None
            await self._wait()
        if self._returned:
            return self._returned.popleft()
        part = self._received.popleft()
        self._unread -= len(part)
        self.connection.acknowledge(self.number, len(part))
        return part

    def put_back(self, *parts: bytes) -> None:
        """Give bytes back that were received, for the next receive."""
        self._returned.extendleft(reversed(parts))

    async def _wait(self) -> None:
        if self.failure is not None:
            raise self.failure
        await self._changed.wait()

    def send_headers(self, headers: Headers, *, end: bool = False) -> None:
        """Queue headers."""
        self._check()
        self.connection.send_headers(self.number, headers, end=end)

    async def send_data(self, data: bytes, *, end: bool = False) -> None:
        """Send bytes as the windows allow; to a server that has ended its answer, nothing more.

        Cancelled: some frames were sent, each whole; the stream is to be reset.
        """
        view = memoryview(data)
        while True:
            await self.connection.wait_for_room()
            if self._is_ended and self.connection.is_client:
                return
            self._check()
            allowed = self.connection.sendable(self.number)
            if view and allowed <= 0:
                await self._wait()
                continue
            part, view = view[:allowed], view[allowed:]
            if part or end:
                self.connection.send_data(self.number, part, end=end and not view)
            if not view:
                return

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure

    @property
    def is_only_headers(self) -> bool:
        """Whether the other side has sent its first headers and nothing else."""
        return self._is_ended and self.trailers is None and not self._had_data

    @property
    def is_ended(self) -> bool:
        """Whether the other side sends nothing more."""
        return self._is_ended

    def close(self, code: ErrorCodes | None = None) -> None:
        """Be done with the stream: drop what is left, and reset it (with `code`) if it is not over on both sides."""
        if not self._is_closed:
            self._is_closed = True
            self._drop_received()
            self.connection.release(self, ErrorCodes.NO_ERROR if code is None else code)

    def _drop_received(self) -> None:
        dropped = sum(map(len, self._received))
        self._received.clear()
        self._unread = 0
        if dropped:
            self.connection.acknowledge(self.number, dropped)
