"""A call as the server sees it. It has the members that grpclib's and betterproto2's handlers use."""

import math
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from typing import Any, Generic, TypeVar, final

import trio
from attrs import frozen
from grpclib.const import Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.metadata import decode_metadata, decode_timeout, encode_grpc_message, encode_metadata
from h2.errors import ErrorCodes

from lep6.errors import RpcError, RpcRefused
from lep6.grpc import messages
from lep6.grpc.headers import Headers
from lep6.grpc.stream import H2Stream
from lep6.observe import get_logger

log = get_logger("grpc")

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")

_current: ContextVar["Request[Any, Any]"] = ContextVar("lep6_grpc_request")


@final
@frozen
class Deadline:
    """When the client stops waiting, on Trio's clock."""

    at: float

    def time_remaining(self) -> float:
        """Seconds left, 0 at the least."""
        return max(0.0, self.at - trio.current_time())


@final
class Request(Generic[RequestT, ReplyT]):
    """One call of a client, given to the handler of its method."""

    def __init__(self, stream: H2Stream, handler: Handler, headers: Headers, deadline: float) -> None:
        self.metadata = decode_metadata(headers)
        self.deadline = None if deadline == math.inf else Deadline(deadline)
        self._stream = stream
        self._handler = handler
        self._headers_sent = False
        self._messages_received = 0
        self._messages_sent = 0
        self._is_answered = False

    @staticmethod
    def current() -> "Request[Any, Any]":
        """The call that the running task answers: for handlers that betterproto2 gives only the message."""
        return _current.get()

    @property
    def transport(self) -> trio.abc.Stream:
        """The stream that the call came over: who is at its other end is known by how it was secured."""
        return self._stream.connection.transport

    async def recv_message(self) -> RequestT | None:
        """The next message; `None` when the client has ended."""
        message: RequestT | None = None
        is_one = not self._handler.cardinality.client_streaming
        seconds = self._stream.connection.limits.request_timeout if is_one else math.inf
        with trio.move_on_after(seconds) as scope:
            message = await messages.receive(self._stream, self._handler.request_type)
        if scope.cancelled_caught:
            raise RpcRefused(Status.DEADLINE_EXCEEDED, f"the request did not come within {seconds:g} s")
        if message is None and not self._messages_received and is_one:
            raise RpcRefused(Status.INVALID_ARGUMENT, "the request has no message")
        self._messages_received += 1
        return message

    @property
    def is_lost(self) -> bool:
        """Whether the client can no longer be answered."""
        return self._stream.failure is not None

    def __aiter__(self) -> AsyncIterator[RequestT]:
        """The messages."""
        return self

    async def __anext__(self) -> RequestT:
        message = await self.recv_message()
        if message is None:
            raise StopAsyncIteration
        return message

    async def send_initial_metadata(self, *, metadata: Any = None) -> None:
        """Send the first headers. Called by the first `send_message` where it was not before."""
        self._send_head(metadata)
        await trio.lowlevel.checkpoint()

    def _send_head(self, metadata: Any = None) -> None:
        self._stream.send_headers([*_ANSWER, *encode_metadata(metadata or {})])
        self._headers_sent = True

    async def send_message(self, message: ReplyT) -> None:
        """Send a reply."""
        if not self._headers_sent:
            self._send_head()  # leaves together with the message
        await messages.send(self._stream, message, self._handler.reply_type)
        self._messages_sent += 1

    async def send_trailing_metadata(
        self,
        *,
        status: Status = Status.OK,
        status_message: str | None = None,
        metadata: Any = None,
        status_details: Any = None,  # noqa: ARG002 # as grpclib's handlers may give it
    ) -> None:
        """Answer with a status. Called when the handler returns or raises where it was not before."""
        self.answer(status, status_message or "", metadata)
        await trio.lowlevel.checkpoint()

    async def cancel(self) -> None:
        """Break the call off without a status."""
        self._is_answered = True
        self._stream.close(ErrorCodes.CANCEL)
        await trio.lowlevel.checkpoint()

    def answer(self, status: Status, text: str, metadata: Any = None) -> None:
        """Queue the status, if none was."""
        if self._is_answered:
            return
        self._is_answered = True
        lacks_reply = not self._handler.cardinality.server_streaming and not self._messages_sent
        if status is Status.OK and lacks_reply:
            status, text = Status.INTERNAL, "the handler gave no reply"
        trailers = [("grpc-status", str(status.value))]
        if text:
            trailers.append(("grpc-message", encode_grpc_message(text)))
        head = [] if self._headers_sent else _ANSWER
        self._stream.send_headers([*head, *trailers, *encode_metadata(metadata or {})], end=True)


_ANSWER: Headers = [(":status", "200"), ("content-type", messages.CONTENT_TYPE)]


async def serve(stream: H2Stream, headers: Headers, mapping: Mapping[str, Handler]) -> None:
    """Answer one call: find its handler, run it under the call's deadline and the client's mind, send its status.

    The stream's failure (the client's reset, a lost connection) cancels the handler. A handler raises `GRPCError` or
    `RpcRefused` to answer with a status; anything else that it raises is a bug, logged here and told as INTERNAL.
    """
    try:
        refusal, deadline = _read_request(headers, mapping)
        if refusal is not None:
            stream.send_headers(refusal, end=True)
            return
        handler = mapping[dict(headers)[":path"]]
        await _answer(Request(stream, handler, headers, deadline), stream, handler, deadline)
    except RpcError as error:
        # The stream is over, so that nobody can be told.
        log.debug("call_lost", reason=str(error))
    except Exception:
        log.exception("call_failed")
    finally:
        stream.close()


async def _answer(request: "Request[Any, Any]", stream: H2Stream, handler: Handler, deadline: float) -> None:
    try:
        with trio.CancelScope(deadline=deadline) as scope:
            stream.on_failure = lambda: scope.cancel(reason="the client gave the call up")
            if stream.failure is not None:
                scope.cancel(reason="the client gave the call up")
            await _run(handler, request)
    except trio.Cancelled:
        if stream.failure is None:
            request.answer(Status.UNAVAILABLE, "the server stops")
        raise
    except Exception:  # a handler's tasks may fail while they are cancelled
        if stream.failure is None:
            request.answer(Status.INTERNAL, "the handler failed")
        raise
    if scope.cancelled_caught and stream.failure is None:
        request.answer(Status.DEADLINE_EXCEEDED, "the deadline of the call has passed")


async def _run(handler: Handler, request: Request[Any, Any]) -> None:
    token = _current.set(request)
    try:
        await handler.func(request)
        request.answer(Status.OK, "")
    except GRPCError as error:
        request.answer(error.status, error.message or "")
    except RpcRefused as error:
        request.answer(error.status, error.message)
    except RpcError as error:
        if request.is_lost:
            raise
        request.answer(error.status, error.message)
    except Exception:  # a bug of the handler ends its call and no other
        log.exception("handler_failed", handler=getattr(handler.func, "__qualname__", repr(handler.func)))
        request.answer(Status.INTERNAL, "the handler failed")
    finally:
        _current.reset(token)


def _read_request(headers: Headers, mapping: Mapping[str, Handler]) -> tuple[Headers | None, float]:
    """The answer to a request that no handler is to see, or `None`; and the call's deadline."""
    fields = dict(headers)
    if fields[":method"] != "POST":
        return [(":status", "405"), ("allow", "POST")], math.inf
    if not messages.is_grpc(fields.get("content-type")):
        return [(":status", "415")], math.inf
    status, text, deadline = Status.OK, "", math.inf
    try:
        timeouts = [decode_timeout(value) for name, value in headers if name == "grpc-timeout"]
        deadline = trio.current_time() + min(timeouts, default=math.inf)
        decode_metadata(headers)
    except (ValueError, OverflowError):
        status, text = Status.INVALID_ARGUMENT, "the time-out or a binary header is malformed"
    if fields.get("te") != "trailers":
        status, text = Status.INVALID_ARGUMENT, "the header te: trailers is missing"
    elif fields.get("grpc-encoding", "identity") != "identity":
        status, text = Status.UNIMPLEMENTED, "messages are not to be compressed"
    elif fields[":path"] not in mapping:
        status, text = Status.UNIMPLEMENTED, "there is no such method"
    if status is Status.OK:
        return None, deadline
    return [*_ANSWER, ("grpc-status", str(status.value)), ("grpc-message", encode_grpc_message(text))], deadline
