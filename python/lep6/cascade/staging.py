"""Staging: the artefacts of a healed file on disk, complete or absent (docs/formats.md, "Staging directory").

Built under a temporary name, synced in order (data, index, manifest, directory), then renamed and the parent synced. A
power cut at any moment leaves the directory whole or not there. Temporary directories are locked while they are built:
the sweep removes those that no process holds.
"""

import errno
import fcntl
import os
import re
import secrets
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, final

import attrs
import cattrs
import trio
from attrs import define, frozen

from lep6 import _core
from lep6.cascade.text import compact_json, from_base64, parse_json, to_base64
from lep6.errors import InvalidArtefact, NoSpace, StagingExists
from lep6.model import Ticket
from lep6.ports import Blocking

WORK_DIRECTORY: Final = ".work"
MANIFEST: Final = "manifest.json"
RECONSTRUCTED: Final = "reconstructed.bin"
SYMBOLS: Final = ("symbols.pack", "symbols.idx")
ID_FILES: Final = ("id_files.pack", "id_files.idx")
FILES: Final = (RECONSTRUCTED, *SYMBOLS, *ID_FILES)

VERSION: Final = 1
MAX_MANIFEST: Final = 1 << 20
"""Most bytes of a manifest that are read."""
SPARE_BYTES: Final = 64 << 20
"""Room left on the disk beside what the work needs."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
_BUILDING: Final = ".tmp-"
_LEAVING: Final = ".gone-"
_DAMAGED: Final = ".damaged-"


def checked_name(name: str) -> str:
    """A name of a staging or work area: an op id, or what else names a job; never a path."""
    if not _NAME.fullmatch(name):
        raise InvalidArtefact(f"{name!r:.100} cannot name a staging: letters, digits, - and _ only")
    return name


@frozen
class Manifest:
    """What a staging directory says of itself."""

    version: int
    op_id: str
    """The op that it was staged for, or the name of the republish."""
    ticket: Ticket
    size: int
    manifest_hash: str
    """Base64 of the file's BLAKE3-256: what the healer claims."""
    symbols: int
    layout_files: int
    index_files: int
    irreproducible: tuple[str, ...]
    """Keys of id files that the action lists and that could neither be made again nor fetched."""
    nonce: str
    """Tells this staging from any other, of the same file too: what was published of one says nothing of the next."""

    def to_json(self) -> bytes:
        """The file's content: compact JSON, and a seal over it."""
        document = attrs.asdict(self)
        return compact_json({**document, "seal": self.seal()})

    def seal(self) -> str:
        """Base64 of BLAKE3-256 over the rest of the manifest."""
        return to_base64(_core.blake3(compact_json(attrs.asdict(self))))

    @classmethod
    def from_json(cls, text: bytes) -> "Manifest":
        """Read a manifest and check its seal.

        Raises:
            InvalidArtefact: a byte of it is not as it was written, or a newer lep6 wrote it.
        """
        document = parse_json(text, "manifest")
        if document.get("version") != VERSION:
            raise InvalidArtefact(f"the manifest has version {document.get('version')!r:.20}, not {VERSION}")
        document.pop("seal", None)
        try:
            manifest = _CONVERTER.structure(document, cls)
        except cattrs.BaseValidationError as error:
            problems = "; ".join(cattrs.transform_error(error, path="manifest"))
            raise InvalidArtefact(f"the manifest is damaged: {problems}") from error
        if manifest.to_json() != text:
            raise InvalidArtefact("the manifest is damaged: it does not match its seal")
        return manifest


def _structure_exactly(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r:.40} is not of type {kind.__name__}")
    return value


_CONVERTER: Final = cattrs.Converter(forbid_extra_keys=True)
for _kind in (int, str):
    _CONVERTER.register_structure_hook(_kind, _structure_exactly)
_CONVERTER.register_structure_hook(Ticket, lambda value, _: Ticket(_structure_exactly(value, str)))


@frozen(eq=False)
class Staged:
    """A complete staging, its manifest and packs checked against each other."""

    directory: Path
    manifest: Manifest
    symbols: _core.Pack
    id_files: _core.Pack

    @property
    def name(self) -> str:
        """The op id, or the name of the republish."""
        return self.directory.name

    @property
    def reconstructed(self) -> Path:
        """The file, as the artefact stream serves it; `manifest.size` bytes."""
        return self.directory / RECONSTRUCTED

    @property
    def digest(self) -> bytes:
        """BLAKE3-256 of the file."""
        return from_base64(self.manifest.manifest_hash, "manifest hash")

    def check(self, job: _core.Job) -> None:
        """Read every byte of the staging and check it.

        Raises:
            InvalidArtefact: a byte changed; the message names the file.
        """
        if _core.hash_file(self.reconstructed, job) != self.digest:
            raise InvalidArtefact(f"{self.reconstructed} is not the file that was staged")
        for pack, names in ((self.symbols, SYMBOLS), (self.id_files, ID_FILES)):
            if damaged := pack.check(job):
                raise InvalidArtefact(
                    f"{self.directory / names[0]} has {len(damaged)} damaged values, the first at {damaged[0]}"
                )


@final
@frozen
class Names:
    """What lies below a staging root."""

    staged: frozenset[str]
    """Names of stagings, whole or not."""
    rests: frozenset[str]
    """Names of work areas, and of damaged stagings that were set aside."""


@final
@define(eq=False)
class Draft:
    """A staging that is being built."""

    root: Path
    name: str
    directory: Path
    _blocking: Blocking

    def path(self, name: str) -> Path:
        """A file of the staging, in the directory where it is built."""
        return self.directory / name

    async def complete(self, manifest: Manifest) -> Staged:
        """Seal the staging and move it into place. Cancelled: it is moved all the same.

        Raises:
            StagingExists: there is one of this name already.
        """
        with trio.CancelScope(shield=True):  # bounded: a few small writes and syncs
            await self._blocking.run(partial(self._seal, manifest))
        return await open_staged(self.root, self.name, blocking=self._blocking)

    def _seal(self, manifest: Manifest) -> None:
        with _new_private_file(self.path(MANIFEST)) as file:
            file.write(manifest.to_json())
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(self.directory)
        try:
            self.directory.rename(self.root / self.name)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            _clear_debris(self.root, self.name)
            self.directory.rename(self.root / self.name)
        _sync_directory(self.root)


@asynccontextmanager
async def begin_staging(
    root: Path, name: str, geometry: _core.Geometry, *, beside: int, blocking: Blocking
) -> AsyncIterator[Draft]:
    """Begin a staging: the room for its large files is reserved on the disk before the block runs.

    What the block did not complete is removed when it ends, however it ends.

    Args:
        root: where stagings lie.
        name: op id, or another name for the job.
        geometry: of the file.
        beside: bytes that the block writes elsewhere on the same disk.
        blocking: runs the disk work.

    Raises:
        NoSpace: the disk has not the room; nothing is left behind.
        StagingExists: there is a staging of this name already.
    """
    name = checked_name(name)
    directory = root / f"{_BUILDING}{name}-{secrets.token_hex(4)}"
    sizes = {RECONSTRUCTED: geometry.size, SYMBOLS[0]: geometry.total_symbols * _core.PACKET_SIZE}
    lock = await blocking.run(partial(_make_room, root, name, directory, sizes, beside))
    try:
        yield Draft(root, name, directory, blocking)
    finally:
        with trio.CancelScope(shield=True):  # bounded: the tree is ours and has a dozen files
            await blocking.run(partial(shutil.rmtree, directory, ignore_errors=True))
        os.close(lock)


def _make_room(root: Path, name: str, directory: Path, sizes: dict[str, int], beside: int) -> int:
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    _clear_debris(root, name)
    needed = sum(sizes.values()) + beside + SPARE_BYTES
    free = shutil.disk_usage(root).free
    if free < needed:
        raise NoSpace(f"{root} has {free} bytes free, staging {name} needs {needed}; nothing was begun")
    with _locked_root(root, fcntl.LOCK_SH):  # a sweep sees no directory that is not locked yet
        directory.mkdir(mode=0o700)
        lock = os.open(directory, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        for file, size in sizes.items():
            with _new_private_file(directory / file) as reserved:
                os.posix_fallocate(reserved.fileno(), 0, size)
    except OSError as error:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"{root} ran full while {needed} bytes were reserved for staging {name}") from error
        raise
    return lock


def _clear_debris(root: Path, name: str) -> None:
    """Make way for a staging of this name. What has no manifest is none; what has one, stays."""
    place, aside = root / name, root / f"{_LEAVING}{name}-{secrets.token_hex(4)}"
    if not (place / MANIFEST).exists():
        try:
            place.rename(aside)
        except FileNotFoundError:
            return
        if not (aside / MANIFEST).exists():
            _remove(aside)
            return
        aside.rename(place)  # it was completed in this moment, by another process
    raise StagingExists(f"{place} exists; it is kept")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _locked_root(root: Path, how: int) -> Iterator[None]:
    """Lock all stagings of a root for a moment, shared or alone."""
    descriptor = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def _new_private_file(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def open_staged(root: Path, name: str, *, blocking: Blocking) -> Staged:
    """Open a complete staging: its manifest, the indexes of its packs and all sizes are checked.

    Raises:
        FileNotFoundError: there is no staging of this name. A directory without a manifest is none.
        InvalidArtefact: it is damaged; the message says where. It is not touched.
    """
    return await blocking.run(partial(_open_staged, root / checked_name(name)))


def _open_staged(directory: Path) -> Staged:
    try:
        with (directory / MANIFEST).open("rb") as file:
            text = file.read(MAX_MANIFEST + 1)
    except (IsADirectoryError, NotADirectoryError) as error:
        raise InvalidArtefact(f"{directory} is no staging: {error.strerror}") from error
    if len(text) > MAX_MANIFEST:
        raise InvalidArtefact(f"{directory / MANIFEST} is no manifest: it has more than {MAX_MANIFEST} bytes")
    try:
        manifest = Manifest.from_json(text)
    except InvalidArtefact as error:
        raise InvalidArtefact(f"{directory}: {error}") from error
    if manifest.op_id != directory.name:
        raise InvalidArtefact(f"{directory} is the staging of {manifest.op_id}")
    try:
        size = (directory / RECONSTRUCTED).stat().st_size
        symbols, id_files = (_core.Pack(directory / pack, directory / index) for pack, index in (SYMBOLS, ID_FILES))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InvalidArtefact(f"{directory} lacks {Path(str(error.filename)).name}") from error
    found = (size, len(symbols), len(id_files))
    expected = (manifest.size, manifest.symbols, manifest.layout_files + manifest.index_files)
    if found != expected:
        raise InvalidArtefact(
            f"{directory} has a file of {found[0]} bytes, {found[1]} symbols and {found[2]} id files;"
            f" its manifest says {expected[0]}, {expected[1]} and {expected[2]}"
        )
    return Staged(directory, manifest, symbols, id_files)


async def set_aside_staged(root: Path, name: str, *, blocking: Blocking) -> Path:
    """Move a damaged staging out of the way, for someone to look at; nothing of ours removes it. Where it lies now."""
    aside = root / f"{_DAMAGED}{checked_name(name)}-{secrets.token_hex(4)}"
    with trio.CancelScope(shield=True):  # bounded: a rename
        await blocking.run(partial((root / name).rename, aside))
        await blocking.run(partial(_sync_directory, root))
    return aside


async def discard_staged(root: Path, name: str, *, blocking: Blocking) -> None:
    """Remove a staging, if there is one. From the first moment on it is gone, not damaged. Cancelled: it goes."""
    with trio.CancelScope(shield=True):  # bounded: a rename, and a tree of seven files
        await blocking.run(partial(_discard, root, checked_name(name)))


def _discard(root: Path, name: str) -> None:
    leaving = root / f"{_LEAVING}{name}-{secrets.token_hex(4)}"
    try:
        (root / name).rename(leaving)
    except FileNotFoundError:
        return
    _sync_directory(root)
    _remove(leaving)


async def discard_set_aside(root: Path, name: str, *, blocking: Blocking) -> None:
    """Remove the damaged stagings of this name that were set aside, for a job that is final. Cancelled: they go."""
    with trio.CancelScope(shield=True):  # bounded: trees of seven files
        await blocking.run(partial(_discard_set_aside, root, checked_name(name)))


def _discard_set_aside(root: Path, name: str) -> None:
    for directory in root.glob(f"{_DAMAGED}{name}-*"):
        _remove(directory)


async def names_on_disk(root: Path, *, blocking: Blocking) -> Names:
    """The names of which something lies on disk."""
    return await blocking.run(partial(_names_on_disk, root))


def _names_on_disk(root: Path) -> "Names":
    if not root.is_dir():
        return Names(frozenset(), frozenset())
    entries = {path.name for path in root.iterdir()}
    work = root / WORK_DIRECTORY
    rests = {path.name for path in work.iterdir()} if work.is_dir() else set()
    rests |= {_named(Path(name), _DAMAGED) for name in entries if name.startswith(_DAMAGED)}
    return Names(frozenset(name for name in entries if not name.startswith(".")), frozenset(rests))


@final
@define
class Sizes:
    """Bytes of the files that lie below a staging root under one name."""

    staged: int = 0
    building: int = 0
    """Of stagings that are being built, with the room that was reserved for them."""
    work: int = 0
    damaged: int = 0
    """Of damaged stagings that were set aside."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.staged + self.building + self.work + self.damaged


async def sizes_on_disk(root: Path, *, blocking: Blocking) -> dict[str, Sizes]:
    """How much lies on disk, by name. What goes meanwhile does not count."""
    return await blocking.run(partial(_sizes_on_disk, root))


def _sizes_on_disk(root: Path) -> dict[str, Sizes]:
    sizes: defaultdict[str, Sizes] = defaultdict(Sizes)
    for path in _entries(root):
        if path.name.startswith(_DAMAGED):
            sizes[_named(path, _DAMAGED)].damaged += _size(path)
        elif path.name.startswith(_BUILDING):
            sizes[_named(path, _BUILDING)].building += _size(path)
        elif not path.name.startswith("."):
            sizes[path.name].staged += _size(path)
    for path in _entries(root / WORK_DIRECTORY):
        sizes[path.name].work += _size(path)
    return dict(sizes)


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except FileNotFoundError:
        return []


def _named(path: Path, prefix: str) -> str:
    """The name of which a directory is, that has a prefix before it and something random behind it."""
    return path.name.removeprefix(prefix).rpartition("-")[0]


def _size(directory: Path) -> int:
    total = 0
    for place, _, files in os.walk(directory):
        for file in files:
            with suppress(FileNotFoundError):
                total += os.lstat(os.path.join(place, file)).st_size  # noqa: PTH118 - there may be many
    return total


async def sweep(root: Path, *, blocking: Blocking) -> int:
    """Remove what dead attempts left: half-built and half-removed stagings. How many were removed.

    A directory that a living process builds is locked, and stays.
    """
    return await blocking.run(partial(_sweep, root))


def _sweep(root: Path) -> int:
    if not root.is_dir():
        return 0
    with _locked_root(root, fcntl.LOCK_EX):
        return _sweep_alone(root)


def _sweep_alone(root: Path) -> int:
    removed = 0
    for directory in [*root.glob(f"{_BUILDING}*"), *root.glob(f"{_LEAVING}*")]:
        try:
            lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)
            removed += 1
        except BlockingIOError:
            pass
        finally:
            os.close(lock)
    return removed
