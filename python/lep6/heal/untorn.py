"""What must not be torn by a cancellation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio

from lep6.errors import StoreUnavailable

TIDY_SECONDS: Final = 60.0
"""Bound of what takes milliseconds, on a disk that hangs."""


@contextmanager
def untorn() -> Iterator[None]:
    """Run the block to its end even when it is cancelled, within bounds.

    Raises:
        StoreUnavailable: it took too long; what it has not done is done at the next tick, or start.
    """
    try:
        with trio.fail_after(TIDY_SECONDS, shield=True):
            yield
    except trio.TooSlowError as error:
        raise StoreUnavailable(f"the disk did not do in {TIDY_SECONDS:g} s what takes milliseconds") from error
