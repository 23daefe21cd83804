"""Faults of a node's disk: no room, lost writes at a power cut, files that are gone or damaged."""

import errno
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar, final

import trio
from attrs import define, frozen

from lep6.cascade.staging import RECONSTRUCTED, WORK_DIRECTORY
from lep6.database import Database
from lep6.devnet.node import LEDGER, STAGING
from lep6.devnet.simulation.chance import Fault, Weather
from lep6.errors import StoreUnavailable
from lep6.heal.disk import op_ids

T = TypeVar("T")

HALF: Final = 0.5
WRITERS: Final = frozenset({"_make_room", "append", "reencode", "_seal", "write"})
"""Pieces of blocking work that need room on the disk."""
TRANSACTIONS: Final = "_Transaction.run"


@final
@define(eq=False)
class FullDisk:
    """Runs blocking work inline, on a disk that is full now and then. A `Blocking`."""

    weather: Weather
    matters: Callable[[], None]
    """Is told when something was written."""

    async def run(self, work: Callable[[], T], /, *, cancel: Callable[[], object] | None = None) -> T:  # noqa: ARG002
        """See `Blocking.run`."""
        await trio.lowlevel.checkpoint()
        function = work.func if isinstance(work, partial) else work
        name: str = getattr(function, "__qualname__", "")
        if name.endswith(TRANSACTIONS):
            if _is_writing(function) and self.weather.strikes(Fault.STORE_BUSY, factor=0.2):
                raise StoreUnavailable("the ledger is in use by another process (database is locked); try again")
        elif name.rpartition(".")[2] in WRITERS and self.weather.strikes(Fault.NO_SPACE):
            raise OSError(errno.ENOSPC, "No space left on device")
        result = work()
        if name.rpartition(".")[2] in WRITERS or (name.endswith(TRANSACTIONS) and _is_telling(work)):
            self.matters()
        return result


def _is_telling(work: Any) -> bool:
    """Whether a transaction changes what the ledger says of an op."""
    unit: str = work.args[0].__qualname__
    return _is_writing(work.func) and "note_height" not in unit and "Ledger.open" not in unit


def _is_writing(function: Any) -> bool:
    return bool(function.__self__._is_write)  # noqa: SLF001 # tells writes from reads


def save_at_power_cut(directory: Path, ledger: Database, aside: Path) -> None:
    """Keep what a node's disk holds at this moment, to be brought back by `restore`.

    A ledger that does not sync when it commits loses what it has in its log.
    """
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(directory, aside, ignore=shutil.ignore_patterns("network.db*"))
    if not ledger.is_durable:
        (aside / f"{LEDGER}-wal").unlink(missing_ok=True)


def restore(directory: Path, aside: Path, rng: Random) -> None:
    """Bring a disk back as it was at the power cut, without the writes that had not been synced."""
    for path in directory.iterdir():
        if not path.name.startswith("network.db"):
            _remove(path)
    for path in sorted(aside.iterdir()):
        path.rename(directory / path.name)
    aside.rmdir()
    staging = directory / STAGING
    unsynced = [*staging.glob(f"{WORK_DIRECTORY}/*/*"), *staging.glob(".tmp-*/*")]
    for path in sorted(unsynced):
        with path.open("r+b") as file:
            file.truncate(rng.randint(0, path.stat().st_size))


@final
@frozen
class Lost:
    """What a node comes back without."""

    ledger: bool
    stagings: frozenset[int]
    """Ops whose staging is gone, or damaged."""


def lose_files(directory: Path, weather: Weather) -> Lost:
    """Let a node come back to a disk from which something is gone, or on which something changed."""
    lost: set[int] = set()
    stagings = sorted(path for path in (directory / STAGING).glob("*") if op_ids({path.name}))
    is_ledger_lost = weather.strikes(Fault.LEDGER_GONE)
    if is_ledger_lost:
        for path in sorted(directory.glob(f"{LEDGER}*")):
            path.unlink()
    for path in stagings:
        if weather.strikes(Fault.STAGING_GONE):
            shutil.rmtree(path)
            lost.add(int(path.name))
        elif weather.strikes(Fault.STAGING_DAMAGED):
            # What is served to the verifiers, as often as all else.
            victims = [path / RECONSTRUCTED] if weather.random.random() < HALF else sorted(path.iterdir())
            _damage(weather.random.choice(victims), weather.random)
            lost.add(int(path.name))
    return Lost(is_ledger_lost, frozenset(lost))


def _damage(path: Path, rng: Random) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
