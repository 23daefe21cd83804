"""The work area of a file: what was fetched of it so far, kept between attempts until the job is final."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import final

import trio
from attrs import define

from lep6 import _core
from lep6.cascade.ids import split_keys
from lep6.cascade.layout import Layout
from lep6.cascade.staging import WORK_DIRECTORY, checked_name
from lep6.model import Key
from lep6.observe import Progress
from lep6.ports import Blocking

SPOOL_FILE = "symbols.spool"
MISSING_FILE = "missing.keys"


@final
@define(eq=False)
class WorkArea:
    """`<root>/.work/<name>`: the spool of packets, and the keys that nobody had."""

    directory: Path
    layout: Layout
    spool: _core.Spool
    missing: set[Key]
    """Keys that a retrieval asked every holder for in vain; kept, since they are published first."""
    _blocking: Blocking

    @classmethod
    @asynccontextmanager
    async def open(
        cls, root: Path, name: str, layout: Layout, *, blocking: Blocking, progress: Progress
    ) -> "AsyncIterator[WorkArea]":
        """Open or create the work area of a name for this layout; what is there is verified again.

        Raises:
            InvalidArtefact: another process works there.
        """
        directory = root / WORK_DIRECTORY / checked_name(name)
        await blocking.run(partial(_make_private, root, directory.parent, directory))
        job = _core.Job()
        opening = partial(_core.Spool, directory / SPOOL_FILE, layout.size, layout.packed_symbols, job)
        with progress.step("checking the symbols at hand", job):
            spool = await blocking.run(opening, cancel=job.cancel)
        try:
            missing = await blocking.run(partial(_read_missing, directory / MISSING_FILE))
            yield cls(directory, layout, spool, missing & set(layout.symbols), blocking)
        finally:
            spool.close()

    async def save_missing(self) -> None:
        """Keep the missing keys for the next attempt. Cancelled: the old ones are kept."""
        packed = b"".join(sorted(self.missing))
        with trio.CancelScope(shield=True):  # bounded: one small write
            await self._blocking.run(partial((self.directory / MISSING_FILE).write_bytes, packed))


async def clear_work(root: Path, name: str, *, blocking: Blocking) -> None:
    """Remove the work area of a job that is final."""
    directory = root / WORK_DIRECTORY / checked_name(name)
    await blocking.run(partial(shutil.rmtree, directory, ignore_errors=True))


def _make_private(*directories: Path) -> None:
    for directory in directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def _read_missing(path: Path) -> set[Key]:
    """The keys noted by an earlier attempt. They only order the publishing: a torn file is as good as none."""
    try:
        packed = path.read_bytes()
    except FileNotFoundError:
        return set()
    whole = packed[: len(packed) - len(packed) % 32]
    return set(split_keys(whole))
