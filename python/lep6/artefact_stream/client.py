"""The verifier's end: reads the rebuilt file of an op from its assigned healer. It is an `ArtefactSource`."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final, final

import trio
from attrs import define
from grpclib.const import Cardinality, Status

from lep6.artefact_stream.response import Response
from lep6.errors import FetchFailed, FetchFailure, Lep6Error, RpcError, RpcRefused
from lep6.grpc import Call, Channel
from lep6.model import HealOp
from lep6.wire import supernode as wire

PATH: Final = "/supernode.SelfHealingService/ServeReconstructedArtefacts"
STALL_SECONDS: Final = 60.0
"""How long the next chunk may take. The whole file may take as long as chunks keep coming."""

MAX_TEXT: Final = 200
"""Most characters of what a healer says that go into an error."""

Connect = Callable[[str], AbstractAsyncContextManager[Channel]]
"""A channel to the node of an account, secured as the network wants it; leaving it closes the connection."""

_STATUS_KINDS: Final = {
    Status.FAILED_PRECONDITION: FetchFailure.NOT_READY,
    Status.NOT_FOUND: FetchFailure.NOT_READY,
    Status.RESOURCE_EXHAUSTED: FetchFailure.NOT_READY,
    Status.UNAVAILABLE: FetchFailure.UNREACHABLE,
    Status.DATA_LOSS: FetchFailure.DAMAGED,
}
"""By the status of a refusal; any other is REFUSED. (A Go healer says NOT_FOUND when its own chain node is away.)"""

_Stream = Call[wire.ServeReconstructedArtefactsRequest, Response]


@final
@define(eq=False)
class ArtefactClient:
    """Reads files as one account."""

    account: str
    """Of this node, the verifier."""
    connect: Connect
    stall_seconds: float = STALL_SECONDS

    @asynccontextmanager
    async def open(self, op: HealOp, /, *, size_bound: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """See `ArtefactSource.open`. One connection, one call, closed when the block is left."""
        request = wire.ServeReconstructedArtefactsRequest(heal_op_id=op.op_id, verifier_account=self.account)
        async with AsyncExitStack() as stack:
            try:
                channel = await stack.enter_async_context(self.connect(op.healer))
                call = await stack.enter_async_context(_request(channel))
                with trio.fail_after(self.stall_seconds):
                    await call.send_message(request, end=True)
            except RpcError as error:
                raise _failed(op, error, received=0) from error
            except FetchFailed:
                raise
            except (OSError, trio.TooSlowError, trio.BrokenResourceError, Lep6Error) as error:
                raise FetchFailed(FetchFailure.UNREACHABLE, f"heal op {op.op_id}: {_reason(error)}") from error
            yield _Chunks(op, call, size_bound, self.stall_seconds)
            # Either the whole stream was read, its status too, or the reader has had enough of it.
            await call.cancel()


def _request(channel: Channel) -> _Stream:
    return channel.request(
        PATH,
        Cardinality.UNARY_STREAM,
        wire.ServeReconstructedArtefactsRequest,
        Response,
    )


class _Chunks:
    """The chunks of a file, checked to be a whole one."""

    def __init__(self, op: HealOp, call: _Stream, size_bound: int, stall_seconds: float) -> None:
        self._op = op
        self._call = call
        self._size_bound = size_bound
        self._stall_seconds = stall_seconds
        self._total = 0
        self._received = 0
        self._last: Response | None = None
        self._is_whole = False
        self._failure: FetchFailed | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._is_whole:
            raise StopAsyncIteration
        if self._failure is not None:
            raise self._failure
        try:
            return await self._next_chunk()
        except FetchFailed as failure:
            self._failure = failure
            raise

    async def _next_chunk(self) -> bytes:
        """The next chunk. Cancelled: it is not lost."""
        message = self._last or await self._next()
        if message is None:
            raise self._wrong(FetchFailure.TRUNCATED, "the stream ended without its last chunk")
        if self._last is None:
            self._check(message)
        if message.is_last:
            self._last = message
            # The file counts only when the healer has also said that nothing is wrong.
            if await self._next() is not None:
                raise self._wrong(FetchFailure.MALFORMED, "more came after the last chunk")
            self._is_whole = True
        return message.chunk

    async def _next(self) -> Response | None:
        try:
            with trio.fail_after(self._stall_seconds):
                return await self._call.recv_message()
        except RpcError as error:
            raise _failed(self._op, error, received=self._received) from error
        except trio.TooSlowError as error:
            raise self._wrong(FetchFailure.STALLED, f"{self._stall_seconds:g} s without a chunk") from error

    def _check(self, message: Response) -> None:
        if not self._received:
            self._total = message.total_size
            if not 0 < self._total <= self._size_bound:
                raise self._wrong(
                    FetchFailure.MALFORMED, f"a file of {self._total} bytes where 1 to {self._size_bound} are possible"
                )
        elif message.total_size not in (0, self._total):
            raise self._wrong(FetchFailure.MALFORMED, f"the size changed to {message.total_size}")
        if not message.chunk:
            raise self._wrong(FetchFailure.MALFORMED, "an empty chunk")
        self._received += len(message.chunk)
        if self._received > self._total or message.is_last != (self._received == self._total):
            raise self._wrong(FetchFailure.MALFORMED, f"the last chunk is {'' if message.is_last else 'not '}marked")

    def _wrong(self, kind: FetchFailure, detail: str) -> FetchFailed:
        return FetchFailed(
            kind, f"heal op {self._op.op_id}, {self._received} of {self._total or 'unknown'} bytes: {detail}"
        )


def _reason(error: Exception) -> str:
    """Why nothing was begun. Our own errors say it; of the system's, which hold addresses, only the kind is told."""
    return str(error)[:MAX_TEXT] if isinstance(error, Lep6Error) else type(error).__name__


def _failed(op: HealOp, error: RpcError, *, received: int) -> FetchFailed:
    """What a failed call says about the fetch."""
    if isinstance(error, RpcRefused):
        kind = _STATUS_KINDS.get(error.status, FetchFailure.REFUSED)
    elif error.status in (Status.RESOURCE_EXHAUSTED, Status.UNIMPLEMENTED):
        kind = FetchFailure.MALFORMED  # our own judgement of a message
    else:
        kind = FetchFailure.TRUNCATED if received else FetchFailure.UNREACHABLE
    # The healer's words, as far as they are fit for a log line.
    text = "".join(character for character in str(error) if character.isprintable())
    return FetchFailed(kind, f"heal op {op.op_id}, {received} bytes received: {text[:MAX_TEXT]}")
