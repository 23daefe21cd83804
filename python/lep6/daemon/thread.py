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
        self._is_begun = False
        self._is_stopped = False
        self._token: trio.lowlevel.TrioToken | None = None
        # Used on the loop alone.
        self._scope: trio.CancelScope | None = None
        """While the service is being opened."""
        self._stopping = trio.Event()
        self._running: tuple[RunningService, trio.Nursery] | None = None

    def start(self) -> Future[None]:
        """Begin; the future is done when the service is open.

        Raises:
            RuntimeError: it was started before, or the system gave no thread; then both futures carry that, too.
        """
        with self._lock:
            if self._is_begun:
                raise RuntimeError("it was started before")
            self._is_begun = True
            if not self._is_stopped:
                try:
                    self._thread.start()
                except BaseException as error:
                    self._is_stopped = True
                    self._end(error)
                    raise
        return self.started

    def stop(self) -> Future[None]:
        """Stop in order; the future is done when the thread is over. What is still being opened is broken off.

        It may be called again, and before `start`, which then begins nothing.
        """
        with self._lock:
            is_first, self._is_stopped = not self._is_stopped, True
            if self._token is not None:
                _soon(self._token, self._stop)
            elif is_first and not self._is_begun:
                self._end(None)
        return self.ended

    def call(self, work: Callable[[RunningService], Awaitable[T]]) -> Future[T]:
        """Do something with the service, on its own loop. Cancelling the future before it is done cancels the work.

        The future fails with `NotRunning` when the service is not open, or ends before the work does.
        """
        future: Future[T] = Future()
        call = _Call(work, future)
        with self._lock:
            token = self._token

        def hand_over() -> None:
            if self._running is None:
                call.lose()
            else:
                service, nursery = self._running
                nursery.start_soon(call.run, service)

        if token is None:
            call.lose()
            return future
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
            self._end(_single(error))
        else:
            self._end(None)

    def _end(self, error: BaseException | None) -> None:
        if not self.started.done():
            self.started.set_exception(error or NotRunning("it was stopped before it had started"))
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)

    async def _serve(self) -> None:
        self._scope = trio.CancelScope()
        with self._scope:
            with self._lock:
                self._token = trio.lowlevel.current_trio_token()
                if self._is_stopped:
                    return
            async with self._opener() as service, trio.open_nursery() as nursery:
                self._scope, self._running = None, (service, nursery)
                self.started.set_result(None)
                try:
                    await self._stopping.wait()
                finally:
                    self._running = None
                nursery.cancel_scope.cancel(reason="the service stops")

    def _stop(self) -> None:
        self._stopping.set()
        if self._scope is not None:
            self._scope.cancel(reason="the service is not to be opened any more")


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
        """The service is not open, and the work was not begun."""
        with suppress(InvalidStateError):
            self._future.set_exception(NotRunning("the heal service does not run"))

    async def run(self, service: RunningService) -> None:
        """Do the work. Its errors are the future's, whatever they are."""
        if self._future.cancelled():
            return
        result: T | None = None
        error: BaseException | None = NotRunning("the heal service has stopped")
        try:
            with self._scope:
                result, error = await self._work(service), None
        except trio.Cancelled:
            raise
        except BaseExceptionGroup as group:
            cancelled, error = group.split(trio.Cancelled)
            if cancelled is not None:
                raise cancelled from None
        except BaseException as caught:  # noqa: BLE001 # it goes to whoever waits; not even SystemExit is the service's
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
