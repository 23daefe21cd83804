"""When the chain makes its blocks: by the clock, or when it is told to."""

from collections.abc import Awaitable, Callable
from typing import Final, final

import trio
from attrs import define, field

from lep6.devnet.chain import Chain
from lep6.ports import Clock

DEFAULT_SECONDS: Final = 6.0
"""Between blocks, as on the real chain."""

_LEAST_STEP: Final = 0.001
"""Seconds by which a block is later than the one before it, at the least."""


@final
@define(eq=False)
class BlockClock:
    """Makes the blocks of a chain. Paused, it makes only those that are asked for."""

    chain: Chain
    clock: Clock
    """What blocks are dated by."""
    seconds: float = DEFAULT_SECONDS
    """Between blocks."""
    is_paused: bool = False
    _changed: trio.Event = field(factory=trio.Event, init=False)
    _made: trio.Event = field(factory=trio.Event, init=False)

    async def run(self) -> None:
        """Make blocks for ever."""
        while True:
            changed = self._changed
            with trio.move_on_after(float("inf") if self.is_paused else self.seconds) as waiting:
                await changed.wait()
            if waiting.cancelled_caught:
                self.make()

    def make(self, count: int = 1) -> int:
        """Make blocks now; gives the height of the newest."""
        for _ in range(count):
            self.chain.make_block(max(self.clock.now(), self.chain.state.time + _LEAST_STEP))
        self._made.set()
        self._made = trio.Event()
        return self.chain.height

    def pause(self) -> None:
        """Make no blocks until told."""
        self._set(self.seconds, is_paused=True)

    def resume(self, seconds: float | None = None) -> None:
        """Make blocks by the clock, so many seconds from one to the next; as before, if none are given."""
        self._set(self.seconds if seconds is None else seconds, is_paused=False)

    def _set(self, seconds: float, *, is_paused: bool) -> None:
        self.seconds, self.is_paused = seconds, is_paused
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait for a condition, which is looked at after each block."""
        while not await condition():
            await self._made.wait()
