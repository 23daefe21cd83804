"""The id files of an action made again, compared with the ids that are signed and on the chain.

Ids are hashes of compressed bytes. Where another compressor made the original, what is made here has another id; then
the original bytes from the network, which prove themselves by their key, stand in. A file of one layout file and one
index file can be found again; what is beyond that is redundancy, and what is lost of it is named, not hidden.
"""

from collections.abc import Sequence
from functools import partial
from typing import final

from attrs import field, frozen

from lep6 import _core
from lep6.cascade.ids import IdFile, key_text, make_id_files, read_id_file
from lep6.cascade.publish import Rank
from lep6.cascade.retrieve import Found, Retriever
from lep6.cascade.staging import ID_FILES, Draft
from lep6.model import Key
from lep6.observe import get_logger

log = get_logger("cascade.regenerate")


@final
@frozen
class IdFiles:
    """The id files of an action, under the ids that the action names."""

    layouts: Sequence[IdFile] = field(repr=False)
    indexes: Sequence[IdFile] = field(repr=False)
    ranks: dict[Key, Rank] = field(repr=False)
    lost: tuple[Key, ...]
    """Ids that the action names, of files that could be neither made again nor fetched."""

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return sum(len(file.frame) for file in (*self.layouts, *self.indexes))

    def write(self, draft: Draft) -> None:
        """Write the pack of id files of a staging: layout files first, then index files, each in counter order."""
        writer = _core.PackWriter(draft.path(ID_FILES[0]))
        writer.append([(file.frame, self.ranks[file.key]) for file in (*self.layouts, *self.indexes)])
        writer.finish(draft.path(ID_FILES[1]))


async def regenerate_id_files(retriever: Retriever, found: Found) -> IdFiles:
    """Make the layout files and index files of an action again, with fetched originals where the ids differ."""
    metadata = retriever.metadata
    layouts = await _of_document(retriever, found.text.signed, metadata.index.layout_keys)
    indexes = await _of_document(retriever, metadata.index.signed, metadata.index_keys)
    ranks = {file.key: Rank.UNASKED for file in (*layouts.files, *indexes.files)}
    ranks |= dict.fromkeys(found.missing & ranks.keys(), Rank.MISSING)
    ranks |= dict.fromkeys((found.had | layouts.fetched | indexes.fetched) & ranks.keys(), Rank.FOUND)
    return IdFiles(layouts.files, indexes.files, ranks, (*layouts.lost, *indexes.lost))


@final
@frozen
class _Document:
    """The id files of one signed text."""

    files: Sequence[IdFile]
    fetched: frozenset[Key]
    """Those that were not made here."""
    lost: Sequence[Key]


async def _of_document(retriever: Retriever, signed: bytes, keys: Sequence[Key]) -> _Document:
    """The id files of one signed text, under the keys that are named for them."""
    first = retriever.metadata.first_counter
    made = await make_id_files(signed, first, len(keys), blocking=retriever.blocking, progress=retriever.progress)
    files = {key: file for key, file in zip(keys, made, strict=True) if file.key == key}
    different = [key for key in keys if key not in files]
    if different:
        log.warning(
            "id_files_made_differently",
            ticket=retriever.ticket,
            different=len(different),
            of=len(keys),
            text_bytes=len(signed),
        )
        originals = await retriever.originals(different)
        counters = {key: first + place for place, key in enumerate(keys)}
        for key, frame in originals.items():
            text = await retriever.blocking.run(partial(read_id_file, key, frame))
            if (text.signed, text.counter) == (signed, counters[key]):
                files[key] = IdFile(key, frame)
            else:
                log.warning("id_file_of_another_text", ticket=retriever.ticket, key=key_text(key))
    return _Document(
        [files[key] for key in keys if key in files],
        frozenset(different) & files.keys(),
        [key for key in keys if key not in files],
    )
