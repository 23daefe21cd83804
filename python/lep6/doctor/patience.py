"""Blocking work that is not waited for: a check whose file system hangs must not hold up the others."""

from collections.abc import Callable
from typing import Final, TypeVar, final

import trio
from attrs import define, field

T = TypeVar("T")

AT_ONCE: Final = 64
"""More than there are checks, so that those that hang leave places for the others."""


@final
@define(eq=False)
class Unwaited:
    """Runs work in threads. Of a caller that is cancelled the work is left alone, and may go on to its end.

    That is safe for what only reads, or writes to places of its own.
    """

    _limiter: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(AT_ONCE))

    async def run(self, work: Callable[[], T], /, *, cancel: Callable[[], object] | None = None) -> T:
        """See `ports.Blocking.run`, but for the waiting."""
        try:
            return await trio.to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)
        except trio.Cancelled:
            if cancel is not None:
                cancel()
            raise
