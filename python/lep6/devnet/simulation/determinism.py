"""Running Trio so that a seed decides the order of its tasks, too. Only here are Trio's private parts touched."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
import trio.testing

T = TypeVar("T")


def run(main: Callable[[], Awaitable[T]], *, seed: int, instruments: "list[trio.abc.Instrument]") -> T:
    """Run `main` under a mock clock that jumps to the next deadline, in an order that only the seed decides."""
    scheduler = trio._core._run  # noqa: SLF001 # Trio offers no other way
    was_deterministic = scheduler._ALLOW_DETERMINISTIC_SCHEDULING  # noqa: SLF001
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc] # noqa: SLF001
    scheduler._r.seed(seed)  # noqa: SLF001
    try:
        return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0), instruments=instruments)
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = was_deterministic  # type: ignore[misc] # noqa: SLF001
