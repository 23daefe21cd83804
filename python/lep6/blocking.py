"""The two ways to run blocking work."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar, final

import trio
from attrs import define, field

from lep6.errors import JobCancelled

T = TypeVar("T")


@final
@define
class Threads:
    """Runs work in Trio's worker threads, at most `at_once` pieces at a time."""

    at_once: int
    _limiter: trio.CapacityLimiter = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._limiter = trio.CapacityLimiter(self.at_once)

    async def run(self, work: Callable[[], T], /, *, cancel: Callable[[], object] | None = None) -> T:
        """See `ports.Blocking.run`."""
        if cancel is None:
            return await trio.to_thread.run_sync(work, limiter=self._limiter)
        run = _Run(work, trio.lowlevel.current_trio_token())
        try:
            return await trio.to_thread.run_sync(run, limiter=self._limiter, abandon_on_cancel=True)
        except trio.Cancelled:
            if run.abandon():
                cancel()
                # Bounded by the promise of `cancel`. The thread works on the caller's files: they are the caller's
                # again only when it has ended.
                with trio.CancelScope(shield=True):
                    await run.ended.wait()
            raise


class _Run(Generic[T]):
    """Work in a thread whose caller may be cancelled before it begins, or while it runs."""

    def __init__(self, work: Callable[[], T], token: trio.lowlevel.TrioToken) -> None:
        self.ended = trio.Event()
        self._work = work
        self._token = token
        self._lock = threading.Lock()
        self._begun = False
        self._abandoned = False

    def __call__(self) -> T:
        with self._lock:
            if self._abandoned:
                raise JobCancelled("the work was given up before it began")
            self._begun = True
        try:
            return self._work()
        finally:
            self._token.run_sync_soon(self.ended.set)

    def abandon(self) -> bool:
        """Give the work up; whether it has begun, and so has to be waited for."""
        with self._lock:
            self._abandoned = True
            return self._begun


@final
class Inline:
    """Runs work where it is asked for: the simulation has one thread and one clock."""

    async def run(self, work: Callable[[], T], /, *, cancel: Callable[[], object] | None = None) -> T:  # noqa: ARG002
        """See `ports.Blocking.run`. The work cannot be cancelled once it runs."""
        await trio.lowlevel.checkpoint()
        return work()


@final
class WallClock:
    """The system's clock."""

    def now(self) -> float:
        """See `ports.Clock.now`."""
        return time.time()
