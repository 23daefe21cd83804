"""What an operator sets while the daemon runs: pause, and limits. It survives a restart (docs/operating.md)."""

import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, final

import trio
from attrs import define, field

from lep6.daemon.throttle import Throttle
from lep6.errors import InvalidLimit
from lep6.heal.service import HealService
from lep6.observe import get_logger
from lep6.ports import Blocking

log = get_logger("daemon.controls")

FILE: Final = "controls.json"
VERSION: Final = 1
BYTES: Final = "bytes_per_second"
SLOTS: Final = {"reconstructs": "reconstruct", "verifications": "verify", "publishes": "publish"}
"""The name of each limit of how many at a time, and that of the service's slots."""
MOST_AT_ONCE: Final = 64
MOST_BYTES: Final = 1 << 40


@final
@define(eq=False)
class Controls:
    """The controls of one running service."""

    path: Path
    heal: HealService
    throttle: Throttle
    blocking: Blocking
    is_paused: bool = False
    _saving: trio.Lock = field(init=False, factory=trio.Lock)

    async def load(self) -> None:
        """Set what was set before the start. A file that cannot be read is left alone, and the configuration holds.

        Raises:
            OSError: the system refused to read it.
        """
        try:
            raw = await self.blocking.run(self.path.read_bytes)
        except FileNotFoundError:
            return
        try:
            document = json.loads(raw)
            paused, limits = bool(document["paused"]), _checked(dict(document["limits"]))
        except (ValueError, KeyError, TypeError, InvalidLimit) as error:
            log.error("controls_unreadable", path=str(self.path), reason=str(error))  # noqa: TRY400 # it says it all
            return
        self._apply(limits)
        if paused:
            self.is_paused = True
            self.heal.pause()

    async def pause(self) -> None:
        """Begin nothing new, over restarts too; what has begun is finished."""
        self.is_paused = True
        self.heal.pause()
        await self._save()

    async def resume(self) -> None:
        """Begin new work again."""
        self.is_paused = False
        self.heal.resume()
        self.heal.tick_now()
        await self._save()

    def limits(self) -> dict[str, int]:
        """What holds now, by name."""
        slots = {name: int(self.heal.slots[slot].total_tokens) for name, slot in SLOTS.items()}
        return {**slots, BYTES: self.throttle.bytes_per_second}

    async def set_limits(self, limits: Mapping[str, Any]) -> dict[str, int]:
        """Set some limits, from now on; what holds then. What runs already is not broken off.

        Raises:
            InvalidLimit: there is no such limit, or it cannot have this value. None was set.
            OSError: they hold, but could not be written down.
        """
        self._apply(_checked(limits))
        await self._save()
        return self.limits()

    def _apply(self, limits: Mapping[str, int]) -> None:
        for name, value in limits.items():
            if name == BYTES:
                self.throttle.set_rate(value)
            else:
                self.heal.slots[SLOTS[name]].total_tokens = value
        if limits:
            log.info("limits_set", **limits)

    async def _save(self) -> None:
        async with self._saving:
            document = {"version": VERSION, "paused": self.is_paused, "limits": self.limits()}
            await self.blocking.run(partial(_write, self.path, json.dumps(document, indent=1).encode() + b"\n"))


def _checked(limits: Mapping[str, Any]) -> dict[str, int]:
    for name, value in limits.items():
        if name not in (*SLOTS, BYTES):
            raise InvalidLimit(f"there is no limit {name!r:.60}; there are {', '.join([*SLOTS, BYTES])}")
        least, most = (0, MOST_BYTES) if name == BYTES else (1, MOST_AT_ONCE)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise InvalidLimit(f"{name} is a whole number from {least} to {most}, not {value!r:.60}")
    return dict(limits)


def _write(path: Path, content: bytes) -> None:
    """Put a file in place of the old one, whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    with open(new, "wb", opener=partial(os.open, mode=0o600)) as file:  # a path's has no opener
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
