"""What an operator sets while the daemon runs: pause, and limits. It survives a restart (docs/operating.md)."""

import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, final

import trio
from attrs import define, field

from lep6.daemon.throttle import LEAST_RATE, Throttle
from lep6.errors import InvalidLimit
from lep6.heal.service import HealService
from lep6.observe import get_logger
from lep6.ports import Blocking

log = get_logger("daemon.controls")

FILE: Final = "controls.json"
VERSION: Final = 2
"""In version 1, all limits stood in the file as soon as there was one. They count as set."""
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
    _configured: dict[str, int] = field(init=False)
    """What holds of the limits that nobody has set."""
    _set: dict[str, int] = field(init=False, factory=dict)
    """What an operator has set."""
    _saving: trio.Lock = field(init=False, factory=trio.Lock)

    @_configured.default
    def _now(self) -> dict[str, int]:
        return self.limits()

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
            paused, limits = _read(document)
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

        Args:
            limits: values by name. `None`: what the configuration says holds again.

        Raises:
            InvalidLimit: there is no such limit, or it cannot have this value. None was set.
            OSError: they hold, but could not be written down.
        """
        self._apply(_checked(limits))
        await self._save()
        return self.limits()

    def _apply(self, limits: Mapping[str, int | None]) -> None:
        for name, value in limits.items():
            if value is None:
                self._set.pop(name, None)
            else:
                self._set[name] = value
            self._hold(name, self._configured[name] if value is None else value)
        if limits:
            log.info("limits_set", **self.limits())

    def _hold(self, name: str, value: int) -> None:
        if name == BYTES:
            self.throttle.set_rate(value)
        else:
            self.heal.slots[SLOTS[name]].total_tokens = value

    async def _save(self) -> None:
        async with self._saving:
            document = {"version": VERSION, "paused": self.is_paused, "limits": self._set}
            await self.blocking.run(partial(_write, self.path, json.dumps(document, indent=1).encode() + b"\n"))


def _read(document: Any) -> tuple[bool, dict[str, int | None]]:
    """Whether it is paused, and the limits that were set.

    Raises:
        ValueError, KeyError, TypeError, InvalidLimit: it is no such document.
    """
    paused, limits = bool(document["paused"]), dict(document["limits"])
    if document.get("version", 1) not in range(1, VERSION + 1):
        raise ValueError(f"it is of version {document['version']!r:.60}, and {VERSION} is known")
    rate = limits.get(BYTES)
    if type(rate) is int and 0 < rate < LEAST_RATE:
        limits[BYTES] = LEAST_RATE  # an earlier lep6 took less
    return paused, _checked(limits)


def _checked(limits: Mapping[str, Any]) -> dict[str, int | None]:
    for name, value in limits.items():
        if name not in (*SLOTS, BYTES):
            raise InvalidLimit(f"there is no limit {name!r:.60}; there are {', '.join([*SLOTS, BYTES])}")
        if value is not None and not _fits(name, value):
            takes = f"0, or from {LEAST_RATE} to {MOST_BYTES}" if name == BYTES else f"from 1 to {MOST_AT_ONCE}"
            raise InvalidLimit(f"{name} is a whole number, {takes}, not {value!r:.60}")
    return dict(limits)


def _fits(name: str, value: object) -> bool:
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    return value == 0 or LEAST_RATE <= value <= MOST_BYTES if name == BYTES else 1 <= value <= MOST_AT_ONCE


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
