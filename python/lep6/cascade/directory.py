"""Encode directories (docs/formats.md, "Encode directory").

A file's symbols, one a file, with its layout, as the network's own encoder writes them.
"""

import enum
import os
import secrets
import shutil
import stat
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, final

import trio
from attrs import frozen

from lep6 import _core
from lep6.cascade.ids import key_text
from lep6.cascade.layout import COMPACT_LAYOUT_FILE, LAYOUT_FILE, MAX_LAYOUT_FILE, Layout, parse_layout
from lep6.cascade.publish import Rank
from lep6.cascade.retrieve import SURPLUS
from lep6.errors import InvalidArtefact, OutputExists
from lep6.model import Key
from lep6.observe import Progress
from lep6.ports import Blocking

BLOCK_DIRECTORY: Final = "block_0"


class Spelling(enum.Enum):
    """How a layout is written."""

    COMPACT = "compact"
    PRETTY = "pretty"
    OTHER = "other"


@final
@frozen
class ReadLayout:
    """A layout from disk."""

    path: Path
    layout: Layout
    spelling: Spelling


@final
@frozen
class Undecodable:
    """The directory has too few symbols, or too few independent ones."""

    have: int
    needed: int

    def __str__(self) -> str:
        """One sentence for people."""
        why = "are not independent enough" if self.have >= self.needed else "are not enough"
        return f"cannot decode: the {self.have} true symbols that are there {why}; {self.needed} are needed"


@final
@frozen
class Directories:
    """Reads and writes encode directories."""

    blocking: Blocking
    progress: Progress

    async def encode(self, file: Path, out: Path) -> Layout:
        """Write the encode directory of a file to `out`. It appears complete or not at all.

        Raises:
            OutputExists: `out` exists and is not an empty directory.
            InvalidArtefact: the file is empty, too large, not a regular file, or changed meanwhile.
        """
        if await self.blocking.run(partial(_is_occupied, out)):
            raise OutputExists(f"{out} is not empty; nothing was written")
        building = _beside(out)
        try:
            await self.blocking.run(building.mkdir)
            await self.blocking.run((building / BLOCK_DIRECTORY).mkdir)
            layout = await self._write(file, building)
            await self.blocking.run(partial(building.rename, out))
        finally:
            with trio.CancelScope(shield=True):  # bounded by the number of symbols
                await self.blocking.run(partial(shutil.rmtree, building, ignore_errors=True))
        return layout

    async def _write(self, file: Path, building: Path) -> Layout:
        pack, index = building / "symbols.pack", building / "symbols.idx"
        job = _core.Job()
        with self.progress.step("encoding", job):
            encode = partial(_core.encode, file, pack, index, Rank.UNASKED, job)
            encoded = await self.blocking.run(encode, cancel=job.cancel)
        layout = Layout(encoded.size, encoded.file, encoded.symbols)
        job = _core.Job()
        with self.progress.step("writing symbol files", job):
            unpack = partial(_core.Pack(pack, index).unpack, building / BLOCK_DIRECTORY, job)
            await self.blocking.run(unpack, cancel=job.cancel)

        def finish() -> None:
            (building / LAYOUT_FILE).write_bytes(layout.pretty())
            pack.unlink()
            index.unlink()

        await self.blocking.run(finish)
        return layout

    async def decode(self, directory: Path, output: Path) -> Layout | Undecodable:
        """Decode a directory of symbols to `output`, which is replaced atomically, and only by the right file.

        Raises:
            InvalidArtefact: the layout is unreadable, or the symbols do not decode to the file that it names.
        """
        read = await self.layout(directory)
        scratch = _beside(output)
        await self.blocking.run(partial(scratch.mkdir, mode=0o700))
        try:
            return await self._decode(read.layout, symbols_directory(directory), scratch, output)
        finally:
            with trio.CancelScope(shield=True):  # bounded: three files
                await self.blocking.run(partial(shutil.rmtree, scratch, ignore_errors=True))

    async def _decode(self, layout: Layout, symbols: Path, scratch: Path, output: Path) -> Layout | Undecodable:
        open_spool = partial(_core.Spool, scratch / "symbols.spool", layout.size, layout.packed_symbols, _core.Job())
        spool = await self.blocking.run(open_spool)
        try:
            if not await self._collect(spool, layout, symbols):
                return Undecodable(len(spool.held()), layout.geometry.source_symbols)
            decoded = scratch / "output"
            job = _core.Job()
            with self.progress.step("decoding", job):
                result = await self.blocking.run(partial(spool.decode, decoded, job), cancel=job.cancel)
        finally:
            spool.close()
        if result is None or result.file != layout.digest:
            wanted = key_text(Key(layout.digest))
            raise InvalidArtefact(f"the symbols do not decode to the layout's file: the hash is not {wanted}")
        await self.blocking.run(partial(_move_into_place, decoded, output))
        return layout

    async def _collect(self, spool: _core.Spool, layout: Layout, symbols: Path) -> bool:
        """Take symbols until they determine the file: the sources, a few repairs, or all there are."""
        needed = layout.geometry.source_symbols
        for enough in (needed, needed + SURPLUS, layout.geometry.total_symbols):
            job = _core.Job()
            with self.progress.step("reading symbols", job):
                await self.blocking.run(partial(spool.fill, symbols, enough, job), cancel=job.cancel)
            job = _core.Job()
            if await self.blocking.run(partial(spool.decodable, job), cancel=job.cancel):
                return True
        return False

    async def survey(self, directory: Path) -> tuple[Layout, _core.Survey]:
        """Check every symbol of a directory against its layout.

        Raises:
            InvalidArtefact: the layout is unreadable.
        """
        layout = (await self.layout(directory)).layout
        job = _core.Job()
        with self.progress.step("checking symbols", job):
            check = partial(_core.survey, symbols_directory(directory), layout.size, layout.packed_symbols, job)
            return layout, await self.blocking.run(check, cancel=job.cancel)

    async def layout(self, path: Path) -> ReadLayout:
        """The layout of a directory, or in a file."""
        return await self.blocking.run(partial(_read_layout, path))


def symbols_directory(directory: Path) -> Path:
    """Where the symbols of an encode directory lie: in its block directory, or in itself where it has none."""
    block = directory / BLOCK_DIRECTORY
    return block if block.is_dir() else directory


def _read_layout(path: Path) -> ReadLayout:
    if path.is_dir():
        candidates = [path / LAYOUT_FILE, path / COMPACT_LAYOUT_FILE]
        found = next((candidate for candidate in candidates if candidate.exists()), None)
        if found is None:
            raise InvalidArtefact(f"{path} has no layout: neither {LAYOUT_FILE} nor {COMPACT_LAYOUT_FILE}")
        path = found
    with open_regular(path) as file:
        text = file.read(MAX_LAYOUT_FILE + 1)
    if len(text) > MAX_LAYOUT_FILE:
        raise InvalidArtefact(f"{path} is no layout: it has more than {MAX_LAYOUT_FILE} bytes")
    try:
        layout = parse_layout(text)
    except InvalidArtefact as error:
        raise InvalidArtefact(f"{path}: {error}") from error
    spellings = {layout.compact(): Spelling.COMPACT, layout.pretty(): Spelling.PRETTY}
    return ReadLayout(path, layout, spellings.get(text, Spelling.OTHER))


def _beside(path: Path) -> Path:
    """A new name in the directory where `path` is to appear, so that what is built there can be renamed to it."""
    return path.absolute().parent / f".{path.name}.lep6-{secrets.token_hex(4)}"


def open_regular(path: Path) -> BinaryIO:
    """Open a file that must be a regular one; a pipe is not waited for."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise InvalidArtefact(f"{path} is not a regular file")
    return file


def _is_occupied(path: Path) -> bool:
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))


def _move_into_place(source: Path, target: Path) -> None:
    with source.open("rb") as file:
        os.fsync(file.fileno())
    source.replace(target)
    directory = os.open(target.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
