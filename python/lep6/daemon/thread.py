"""The heal service for a host that does not run on Trio: one thread of its own, and futures to talk with it."""

import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractAsyncContextManager, suppress
from typing import Final, Generic, TypeVar, cast, final

import trio

from lep6.daemon.running import RunningService
from lep6.errors import NotRunning

T = TypeVar("T")

Opener = Callable[[], AbstractAsyncContextManager[RunningService]]
"""Opens the service, on Trio: `functools.partial(open_service, config, …)`, or a context manager around it."""

NAME: Final = "lep6"


@final
class ServiceThread:
    """A heal service in a thread.

    `started` is done when it is open, or could not be opened; `ended` when the thread is over. Both carry the error
    where there was one. Futures may be waited for in any thread, or with `asyncio.wrap_future`.
    """

    def __init__(self, opener: Opener, *, name: str = NAME) -> None:
        self.started: Future[None] = Future()
        self.ended: Future[None] = Future()
        for future in (self.started, self.ended):
            future.set_running_or_notify_cancel()  # nobody cancels them: `stop` is the way
        self._opener = opener
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=False)
        self._token: trio.lowlevel.TrioToken | None = None
        self._stopping: trio.Event | None = None
        self._is_stopped = False
        self._calls: trio.MemorySendChannel[Callable[[RunningService], Awaitable[None]]] | None = None

    def start(self) -> Future[None]:
        """Begin; the future is done when the service is open.

        Raises:
            RuntimeError: it was started before.
        """
        self._thread.start()
        return self.started

    def stop(self) -> Future[None]:
        """Stop in order; the future is done when the thread is over. It may be called again, and before `start`."""
        with self._lock:
            self._is_stopped = True
            if self._token is not None and self._stopping is not None:
                _soon(self._token, self._stopping.set)
        return self.ended

    def call(self, work: Callable[[RunningService], Awaitable[T]]) -> Future[T]:
        """Do something with the service, on its own loop. Cancelling the future before it is done cancels the work.

        The future fails with `NotRunning` when the service is not open, or ends before the work does.
        """
        future: Future[T] = Future()
        call = _Call(work, future)
        with self._lock:
            token, calls = self._token, self._calls
        if token is None or calls is None:
            future.set_exception(NotRunning("the heal service does not run"))
            return future

        def hand_over() -> None:
            try:
                calls.send_nowait(call.run)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                call.lose()

        future.add_done_callback(lambda _: _soon(token, call.cancel))
        try:
            token.run_sync_soon(hand_over)
        except trio.RunFinishedError:
            call.lose()
        return future

    def _run(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as error:  # noqa: BLE001 # it goes to whoever waits
            found = _single(error)
            if not self.started.done():
                self.started.set_exception(found)
            self.ended.set_exception(found)
        else:
            if not self.started.done():
                self.started.set_exception(NotRunning("it was stopped before it had started"))
            self.ended.set_result(None)

    async def _serve(self) -> None:
        with self._lock:
            self._token, self._stopping = trio.lowlevel.current_trio_token(), trio.Event()
            if self._is_stopped:
                return
        async with self._opener() as service:
            send, receive = trio.open_memory_channel[Callable[[RunningService], Awaitable[None]]](float("inf"))
            with self._lock:
                self._calls = send
            self.started.set_result(None)
            async with receive, trio.open_nursery() as nursery:
                nursery.start_soon(self._answer, receive, service)
                await self._stopping.wait()
                with self._lock:
                    self._calls = None
                nursery.cancel_scope.cancel(reason="the service stops")

    async def _answer(
        self, calls: trio.MemoryReceiveChannel[Callable[[RunningService], Awaitable[None]]], service: RunningService
    ) -> None:
        async with trio.open_nursery() as nursery:
            async for call in calls:
                nursery.start_soon(call, service)


class _Call(Generic[T]):
    """Work for the service's loop, and the future of its result."""

    def __init__(self, work: Callable[[RunningService], Awaitable[T]], future: Future[T]) -> None:
        self._work = work
        self._future = future
        self._scope = trio.CancelScope()

    def cancel(self) -> None:
        """End the work, if it still runs."""
        self._scope.cancel(reason="its future is done")

    def lose(self) -> None:
        """The service is over before the work was begun, or done."""
        with suppress(InvalidStateError):
            self._future.set_exception(NotRunning("the heal service has stopped"))

    async def run(self, service: RunningService) -> None:
        """Do the work. Its errors are the future's."""
        if self._future.cancelled():
            return
        result: T | None = None
        error: BaseException | None = NotRunning("the heal service has stopped")
        try:
            with self._scope:
                result, error = await self._work(service), None
        except Exception as caught:  # noqa: BLE001 # it goes to whoever waits
            error = caught
        finally:
            # Cancelled by its owner it stays so; cancelled by the end of the service it is lost.
            with suppress(InvalidStateError):
                if error is not None:
                    self._future.set_exception(error)
                else:
                    self._future.set_result(cast("T", result))


def _soon(token: trio.lowlevel.TrioToken, work: Callable[[], object]) -> None:
    with suppress(trio.RunFinishedError):
        token.run_sync_soon(work)


def _single(error: BaseException) -> BaseException:
    """The one error of a group of one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
