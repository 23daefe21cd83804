"""Whether lep6 heals: what the file says to the Go supernode and to lep6, taken together."""

import enum
from collections.abc import Mapping
from typing import Final


class Healing(enum.Enum):
    """What lep6 does about heal ops, and why."""

    INSTEAD = "heals in place of the Go supernode's healer; no Go supernode may run from this file"
    BESIDE = "heals, and a Go supernode from this file does not; only one of them at a time can have supernode.port"
    STOPPED = "begins nothing new, since lep6.enabled is false; what was begun is finished"
    UNASKED = "begins nothing new, since nothing asks for it; what was begun is finished"
    TWICE = "a Go supernode that runs from this file would heal with the same key"

    @property
    def heals(self) -> bool:
        """Whether new heal ops are begun."""
        return self in (Healing.INSTEAD, Healing.BESIDE)


_TABLE: Final[Mapping[tuple[bool | None, bool | None], Healing]] = {
    # self_healing.enabled, lep6.enabled
    (None, None): Healing.UNASKED,
    (None, False): Healing.STOPPED,
    (None, True): Healing.BESIDE,
    (False, None): Healing.UNASKED,
    (False, False): Healing.STOPPED,
    (False, True): Healing.BESIDE,
    (True, None): Healing.INSTEAD,
    (True, False): Healing.STOPPED,
    (True, True): Healing.TWICE,
}


def healing(self_healing: bool | None, own: bool | None) -> Healing:
    """What follows from `self_healing.enabled` and `lep6.enabled`; `None` is a key that is absent."""
    return _TABLE[self_healing, own]
