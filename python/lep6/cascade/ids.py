"""Keys in text form, and id files (docs/formats.md, "Id files")."""

import re
from collections.abc import Sequence
from functools import partial

from attrs import field, frozen

from lep6 import _core
from lep6.errors import InvalidArtefact
from lep6.model import Key, key_of
from lep6.observe import Progress
from lep6.ports import Blocking

MAX_TEXT = 16 << 20
"""Most bytes that an id file may decompress to; the layout of the largest file needs half of it."""

_COUNTER = re.compile(r"0|[1-9][0-9]{0,19}")

PARTS = 3
"""An id file's text: base64 document, base64 signature, counter."""


def key_text(key: Key) -> str:
    """Base58 text of a key."""
    return _core.key_text(key)


def key_from_text(text: str) -> Key:
    """The key of a base58 text.

    Raises:
        InvalidArtefact: it is not base58 of 32 bytes.
    """
    if not text.isascii():
        raise InvalidArtefact("a key's text is base58, which is ASCII")
    return Key(_core.key_from_text(text))


def split_keys(packed: bytes) -> tuple[Key, ...]:
    """The single keys of packed ones."""
    return tuple(Key(packed[at : at + 32]) for at in range(0, len(packed), 32))


@frozen
class IdFile:
    """One id file: a compressed text with a counter."""

    key: Key
    frame: bytes = field(repr=False)


@frozen
class IdText:
    """What an id file says."""

    document: str = field(repr=False)
    """Base64 of the layout or index JSON."""
    signature: str
    """Base64 of the creator's signature over it."""
    counter: int

    @property
    def signed(self) -> bytes:
        """The text that all id files of one document share: document, dot, signature."""
        return f"{self.document}.{self.signature}".encode()


def read_id_file(key: Key, frame: bytes) -> IdText:
    """Decompress an id file and take its text apart.

    Raises:
        InvalidArtefact: the frame is not that of the key, holds too much, or is not three parts with a counter.
    """
    if key_of(frame) != key:
        raise InvalidArtefact(f"the id file offered as {key_text(key)} is another file")
    try:
        text = _core.decompress(frame, MAX_TEXT).decode("ascii")
    except UnicodeDecodeError as error:
        raise InvalidArtefact(f"id file {key_text(key)} is not ASCII text") from error
    parts = text.split(".")
    if len(parts) != PARTS or not _COUNTER.fullmatch(parts[2]):
        raise InvalidArtefact(f"id file {key_text(key)} is not document.signature.counter")
    return IdText(parts[0], parts[1], int(parts[2]))


async def make_id_files(
    signed: bytes, first: int, count: int, *, blocking: Blocking, progress: Progress
) -> Sequence[IdFile]:
    """The id files of `count` counters from `first` for a signed text, in counter order."""
    job = _core.Job()
    with progress.step("compressing id files", job):
        made = await blocking.run(partial(_core.id_files, signed, first, count, job), cancel=job.cancel)
    return [IdFile(Key(key), frame) for key, frame in made]
