"""A background task for the length of a block."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def beside(
    task: Callable[[], Awaitable[object]], *, stop: Callable[[], object] | None = None
) -> AsyncIterator[trio.Nursery]:
    """Run `task` while the block runs, and with it what the block starts in the nursery that it gets.

    When the block ends, `stop` is called, which must make all of them end soon; without it they are cancelled. An error
    of the block comes out as itself, and not in a group as a nursery's would; one of a task is a bug, and does not.
    """
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task)
            try:
                yield nursery
            # Raised again below: only the way out of the nursery lies between.
            except BaseException as caught:  # noqa: BLE001
                error = caught
            if stop is None:
                nursery.cancel_scope.cancel(reason="the block has ended")
            else:
                stop()
    except (trio.Cancelled, BaseExceptionGroup) as left:
        # A cancellation from outside does not hide what the block raised.
        if error is None or not _is_cancellation(left):
            raise
    if error is not None:
        raise error


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)
