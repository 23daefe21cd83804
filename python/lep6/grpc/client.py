"""A call as the client sees it. It has the members that grpclib's and betterproto2's stubs use."""

import math
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar, final

import trio
from grpclib.const import Cardinality, Status
from grpclib.metadata import USER_AGENT, decode_grpc_message, decode_metadata, encode_metadata
from h2.errors import ErrorCodes

from lep6.errors import RpcError, RpcRefused, RpcUnanswered
from lep6.grpc import messages
from lep6.grpc.headers import Headers
from lep6.grpc.statuses import HTTP_STATUS, status_of
from lep6.grpc.stream import H2Stream

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")

TIMEOUT_LIMIT: Final = 10**8
"""A time-out on the wire has at most eight digits."""

Opener = Callable[[Headers, bool], Awaitable[H2Stream]]
"""Opens a stream with these headers, ended or not."""


@final
class Call(Generic[RequestT, ReplyT]):
    """One call, used as `async with channel.request(...) as call`.

    Leaving the block waits for the status, unless it is left by an exception or a cancellation: then the stream is
    reset. The deadline bounds every wait of the call, and the server is told it.

    Raises, from every method:
        RpcRefused: the server answered with a status other than OK.
        RpcUnanswered: it did not answer, or not in time (DEADLINE_EXCEEDED).
        RpcUnsent: the call never reached it.
    """

    def __init__(
        self,
        open_stream: Opener,
        base: Headers,
        cardinality: Cardinality,
        request_type: type[RequestT],
        reply_type: type[ReplyT],
        *,
        deadline: float,
        metadata: Any,
    ) -> None:
        self.initial_metadata: Any = None
        self.trailing_metadata: Any = None
        self._open_stream = open_stream
        self._base = base
        self._cardinality = cardinality
        self._request_type = request_type
        self._reply_type = reply_type
        self._deadline = deadline
        self._metadata = encode_metadata(metadata or {})
        self._stream: H2Stream | None = None
        self._is_ended = False
        self._is_answered = False
        self._messages_received = 0
        self._feeding: trio.CancelScope | None = None
        self._feed_error: Exception | None = None

    async def send_request(self, *, end: bool = False) -> None:
        """Open the stream with the request's headers. Called by the first `send_message` where it was not before."""
        headers = list(self._base)
        if self._deadline < math.inf:
            headers.append(("grpc-timeout", _timeout_text(self._deadline - trio.current_time())))
        headers += [
            ("te", "trailers"),
            ("content-type", messages.CONTENT_TYPE),
            ("user-agent", USER_AGENT),
            *self._metadata,
        ]
        with self._bounded():
            self._stream = await self._open_stream(headers, end)
        self._is_ended = end

    async def send_message(self, message: RequestT, *, end: bool = False) -> None:
        """Send a message. A unary request's only message ends the sending side by itself."""
        if self._stream is None:
            await self.send_request()
        end = end or not self._cardinality.client_streaming
        with self._bounded():
            await messages.send(self._opened, message, self._request_type, end=end)
        self._is_ended = end

    async def end(self) -> None:
        """End the sending side."""
        if not self._is_ended:
            with self._bounded():
                await self._opened.send_data(b"", end=True)
            self._is_ended = True

    def feed(self, requests: Iterable[RequestT] | AsyncIterable[RequestT]) -> None:
        """Send requests beside what the caller does, and then end. It stops when the call is left.

        An error of the iterator ends the call, and comes out of the next receive.
        """
        scope = self._feeding = trio.CancelScope()

        async def send_all() -> None:
            with scope:
                try:
                    async with aclosing(_iterate(requests)) as iterated:
                        async for request in iterated:
                            await self.send_message(request)
                    await self.end()
                except RpcError:
                    pass  # the receiving side learns of it too
                except Exception as error:  # noqa: BLE001 # the caller's own: it is raised there
                    self._feed_error = error
                    self._opened.fail(RpcUnanswered(Status.CANCELLED, "the requests could not be made"))

        self._opened.connection.start_soon(send_all)

    @property
    def is_over(self) -> bool:
        """Whether the server sends nothing more, and wants nothing more."""
        return self._stream is not None and (self._stream.is_ended or self._stream.failure is not None)

    async def recv_initial_metadata(self) -> None:
        """Wait for the server's first headers."""
        with self._bounded():
            headers = await self._opened.receive_headers()
        self._check_headers(dict(headers))
        self.initial_metadata = _metadata(headers)

    async def recv_message(self) -> ReplyT | None:
        """The next reply; `None` after the last, when the server has answered with OK."""
        if self.initial_metadata is None:
            await self.recv_initial_metadata()
        with self._bounded():
            message = await messages.receive(self._opened, self._reply_type)
        if message is None:
            await self.recv_trailing_metadata()
            if not self._messages_received and not self._cardinality.server_streaming:
                raise RpcUnanswered(Status.INTERNAL, "the server answered with OK, but without a reply")
        self._messages_received += 1
        return message

    def __aiter__(self) -> AsyncIterator[ReplyT]:
        """The replies."""
        return self

    async def __anext__(self) -> ReplyT:
        message = await self.recv_message()
        if message is None:
            raise StopAsyncIteration
        return message

    async def recv_trailing_metadata(self) -> None:
        """Wait for the status, dropping replies that were not received."""
        if self.initial_metadata is None:
            await self.recv_initial_metadata()
        if self._is_answered:
            return
        with self._bounded():
            trailers = await self._opened.receive_trailers()
        self._is_answered = True
        if trailers is None:
            raise RpcUnanswered(Status.UNKNOWN, "the server ended the stream without a status")
        self.trailing_metadata = _metadata(trailers)
        _check_status(dict(trailers))

    def _check_headers(self, headers: dict[str, str]) -> None:
        status = headers.get(":status", "")
        if "grpc-status" in headers and status == "200" and self._opened.is_only_headers:
            self._is_answered = True
            self.trailing_metadata = _metadata(list(headers.items()))
            _check_status(headers)
        elif status != "200" or not messages.is_grpc(headers.get("content-type")):
            self._is_answered = True
            kind = headers.get("content-type")
            raise RpcRefused(
                HTTP_STATUS.get(status, Status.UNKNOWN), f"the answer is not gRPC: HTTP status {status}, {kind}"
            )

    async def cancel(self) -> None:
        """Give the call up: nothing is waited for any more when it is left."""
        self._is_answered = True
        self._close(ErrorCodes.CANCEL)
        await trio.lowlevel.checkpoint()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._feed_error is not None:
                raise self._feed_error
            if self._stream is None:
                return
            if error is None and not self._is_answered:
                await self.recv_trailing_metadata()
            elif isinstance(error, RpcUnanswered) and self._stream.trailers is not None and not self._is_answered:
                # The stream broke behind the server's back, but its answer had come.
                _check_status(dict(self._stream.trailers))
        finally:
            self._close(None if error is None else ErrorCodes.CANCEL)

    def _close(self, code: ErrorCodes | None) -> None:
        if self._feeding is not None:
            self._feeding.cancel(reason="the call is over")
        if self._stream is not None:
            self._stream.close(code)

    @property
    def _opened(self) -> H2Stream:
        if self._stream is None:
            raise RuntimeError("the request was not sent")
        return self._stream

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """Bound a wait by the call's deadline."""
        if self._deadline == math.inf:
            yield
            return
        with trio.move_on_at(self._deadline) as scope:
            yield
        if scope.cancelled_caught:
            self._close(ErrorCodes.CANCEL)
            raise RpcUnanswered(Status.DEADLINE_EXCEEDED, "no answer before the call's deadline")


async def _iterate(items: Iterable[RequestT] | AsyncIterable[RequestT]) -> AsyncGenerator[RequestT, None]:
    """The items; a generator of them is closed when this one is."""
    if isinstance(items, AsyncGenerator):
        async with aclosing(items):
            async for item in items:
                yield item
    elif isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def _metadata(headers: Headers) -> Any:
    try:
        return decode_metadata(headers)
    except ValueError as error:
        raise RpcUnanswered(Status.INTERNAL, "the server sent a malformed binary header") from error


def _timeout_text(seconds: float) -> str:
    """A time-out on the wire: at most eight digits, which is three years."""
    for unit, scale in (("u", 1e6), ("m", 1e3), ("S", 1.0)):
        count = max(1, round(seconds * scale))
        if count < TIMEOUT_LIMIT:
            return f"{count}{unit}"
    return f"{TIMEOUT_LIMIT - 1}S"


def _check_status(headers: dict[str, str]) -> None:
    status = status_of(headers.get("grpc-status"))
    if status is not Status.OK:
        raise RpcRefused(status, decode_grpc_message(headers.get("grpc-message", "")))
