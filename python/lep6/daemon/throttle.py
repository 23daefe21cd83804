"""How many bytes a second the heal may move over the network, in and out together."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Final, final

import trio
from attrs import define, field, frozen

from lep6.artefact_stream import ArtefactService
from lep6.grpc import ServiceBase
from lep6.model import HealOp, Key
from lep6.ports import ArtefactSource, Network, Placement, Retrieval, Sink
from lep6.wire import supernode as wire

LEAST_RATE: Final = 1 << 16
"""The least bytes a second that are a limit: with less, no file would come whole within its time."""


@final
@define(eq=False)
class Throttle:
    """Lets bytes pass at a rate that may be changed at any time. What has passed is paid for before the next may."""

    bytes_per_second: int = 0
    """0: as many as there are."""
    _paid_at: float = field(default=0.0, init=False)
    """When all that has passed is paid for, on Trio's clock."""
    _turn: trio.Lock = field(init=False, factory=trio.Lock)
    """Held by the one who passes next; the others come in their order."""
    _changed: trio.Event = field(init=False, factory=trio.Event)
    """Set when the rate is another one."""

    async def spend(self, count: int) -> None:
        """Let so many bytes pass, as soon as those before them are paid for; cancelled until then, nothing is owed."""
        async with self._turn:
            due = await self._paid()
            if self.bytes_per_second:
                self._paid_at = due + count / self.bytes_per_second

    def set_rate(self, bytes_per_second: int) -> None:
        """Change the rate, for those too who wait now; debts of the old one are forgotten."""
        self.bytes_per_second, self._paid_at = bytes_per_second, 0.0
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def _paid(self) -> float:
        """Wait until all that has passed is paid for; when that was."""
        while (due := self._paid_at) > trio.current_time():
            with trio.move_on_at(due) as waiting:
                await self._changed.wait()
            if waiting.cancelled_caught:
                return due
        return trio.current_time()


@final
@frozen(eq=False)
class ThrottledNetwork:
    """A `Network` whose values pass a throttle."""

    inner: Network
    throttle: Throttle

    async def retrieve(self, keys: Sequence[Key], /, *, need: int, sink: Sink) -> Retrieval:
        """See `Network.retrieve`."""

        async def taken(values: Sequence[tuple[Key, bytes]], /) -> Collection[Key]:
            await self.throttle.spend(sum(len(value) for _, value in values))
            return await sink(values)

        return await self.inner.retrieve(keys, need=need, sink=taken)

    async def store(self, items: Sequence[tuple[Key, bytes]], /) -> Sequence[Placement]:
        """See `Network.store`."""
        await self.throttle.spend(sum(len(value) for _, value in items))
        return await self.inner.store(items)


@final
@frozen(eq=False)
class ThrottledSource:
    """An `ArtefactSource` whose chunks pass a throttle."""

    inner: ArtefactSource
    throttle: Throttle

    def open(self, op: HealOp, /, *, size_bound: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """See `ArtefactSource.open`."""
        return self._opened(op, size_bound)

    @asynccontextmanager
    async def _opened(self, op: HealOp, size_bound: int) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self.inner.open(op, size_bound=size_bound) as chunks:
            yield _Chunks(chunks, self.throttle)


@final
@frozen(eq=False)
class _Chunks:
    """Chunks that pass a throttle."""

    inner: AsyncIterator[bytes]
    throttle: Throttle

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await anext(self.inner)
        await self.throttle.spend(len(chunk))
        return chunk


@final
@frozen(eq=False)
class ThrottledArtefacts(ServiceBase, wire.SelfHealingServiceBase):
    """An artefact service whose chunks pass a throttle."""

    inner: ArtefactService
    throttle: Throttle
    served: Callable[[int], object] = lambda _: None
    """Hears how many bytes have left."""

    @property
    def reply_seconds(self) -> float:  # type: ignore[override] # read alone
        """See `ServiceBase`."""
        return self.inner.reply_seconds

    async def serve_reconstructed_artefacts(
        self, message: wire.ServeReconstructedArtefactsRequest
    ) -> AsyncGenerator[wire.ServeReconstructedArtefactsResponse, None]:
        """See `ArtefactService.serve_reconstructed_artefacts`."""
        async with aclosing(self.inner.serve_reconstructed_artefacts(message)) as replies:
            async for reply in replies:
                await self.throttle.spend(len(reply.chunk))
                yield reply
                self.served(len(reply.chunk))
