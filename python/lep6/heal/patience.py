"""When a walk that has nothing to do now waits for more, and when it leaves the op to the next tick."""

from typing import Final, final

import trio
from attrs import define, field

from lep6.heal.decisions import Fate, Sight
from lep6.heal.settings import Settings

MOST_STALE: Final = 5
"""Answers of nodes that are behind after which a walk waits for the next tick."""


@final
@define(eq=False)
class Patience:
    """Of one walk."""

    settings: Settings
    _until: float = field(init=False)
    _stale: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._until = trio.current_time() + self.settings.attempt

    async def waits(self, carried: Fate, sight: Sight | None) -> bool:
        """Wait a little where that may help; whether it may."""
        if carried is Fate.UNDECIDED and trio.current_time() < self._until:
            await trio.sleep(self.settings.poll)
            return True
        if sight is not None and not sight.is_current and self._stale < MOST_STALE:
            self._stale += 1  # another node may answer next
            await trio.sleep(self.settings.poll)
            return True
        return False
