"""The layout: which symbols a file has (docs/formats.md, "Layout")."""

import json
from typing import Any, Final

from attrs import field, frozen

from lep6 import _core
from lep6.cascade.ids import split_keys
from lep6.cascade.text import compact_json, from_base64, integer, member, parse_json, string, strings
from lep6.errors import InvalidArtefact
from lep6.model import Key

LAYOUT_FILE: Final = "_raptorq_layout.json"
"""The layout's name in an encode directory, in the pretty spelling."""
COMPACT_LAYOUT_FILE: Final = "layout.json"
"""Its name in a decode directory of the network's own codec, in the compact spelling."""
MAX_LAYOUT_FILE: Final = 32 << 20
"""Most bytes of a layout file that are read; the largest file's takes 6 MiB."""


@frozen
class Layout:
    """The symbols of a file in one source block."""

    size: int
    """File size F in bytes."""
    digest: bytes
    """BLAKE3-256 of the file; the same 32 bytes as the action's data hash."""
    packed_symbols: bytes = field(repr=False)
    """Keys of all symbols, 32 bytes each, by encoding symbol id."""

    def __attrs_post_init__(self) -> None:
        total = self.geometry.total_symbols
        if len(self.packed_symbols) != 32 * total:
            raise InvalidArtefact(
                f"a file of {self.size} bytes has {total} symbols, the layout lists {len(self.packed_symbols) // 32}"
            )
        if len(set(self.symbols)) != total:
            raise InvalidArtefact("the layout lists a symbol twice")

    @property
    def geometry(self) -> _core.Geometry:
        """What follows from the size."""
        return _core.Geometry(self.size)

    @property
    def symbols(self) -> tuple[Key, ...]:
        """Keys of all symbols, by encoding symbol id."""
        return split_keys(self.packed_symbols)

    def compact(self) -> bytes:
        """The spelling that is signed, hashed and stored."""
        return compact_json(self._document())

    def pretty(self) -> bytes:
        """The spelling of an encode directory: two blanks of indentation, no final newline."""
        return json.dumps(self._document(), indent=2).encode()

    def _document(self) -> dict[str, Any]:
        block = {
            "block_id": 0,
            "encoder_parameters": list(self.geometry.oti),
            "original_offset": 0,
            "size": self.size,
            "symbols": _core.key_texts(self.packed_symbols),
            "hash": _core.key_text(self.digest),
        }
        return {"blocks": [block]}


def parse_layout(text: bytes) -> Layout:
    """Read a layout in either spelling, and check it against its own size.

    Raises:
        InvalidArtefact: it is not one block, or its parameters, symbols or hash are not those of a file of its size.
    """
    blocks = parse_json(text, "layout").get("blocks")
    if not isinstance(blocks, list) or len(blocks) != 1 or not isinstance(blocks[0], dict):
        raise InvalidArtefact("the layout has not exactly one block; Cascade files have one")
    block: dict[str, Any] = blocks[0]
    for name in ("block_id", "original_offset"):
        if member(block, name, integer, "layout") != 0:
            raise InvalidArtefact(f"the layout's {name} is not 0, which is that of a single block")
    size = member(block, "size", integer, "layout")
    if not 1 <= size <= _core.MAX_FILE_SIZE:
        raise InvalidArtefact(f"the layout states a size that no file has: 1 to {_core.MAX_FILE_SIZE} bytes")
    geometry = _core.Geometry(size)
    oti = _encoder_parameters(block.get("encoder_parameters"))
    if oti != geometry.oti:
        raise InvalidArtefact(
            f"the layout's encoder parameters are {oti.hex()}, those of {size} bytes are {geometry.oti.hex()}"
        )
    texts = member(block, "symbols", strings, "layout")
    if len(texts) != geometry.total_symbols:
        raise InvalidArtefact(f"{size} bytes have {geometry.total_symbols} symbols, the layout lists {len(texts)}")
    digest = _core.key_from_text(member(block, "hash", string, "layout"))
    return Layout(size, digest, _core.keys_from_texts(texts))


def _encoder_parameters(value: Any) -> bytes:
    if isinstance(value, str):
        oti = from_base64(value, "layout's encoder parameters")
    elif isinstance(value, list) and all(integer(number) is not None for number in value):
        oti = bytes(number % 256 for number in value[:12])
    else:
        raise InvalidArtefact("the layout's encoder parameters are neither a list of numbers nor base64")
    if len(oti) < 12:  # noqa: PLR2004
        raise InvalidArtefact(f"the layout has {len(oti)} bytes of encoder parameters instead of 12")
    return oti[:12]
