"""The index: which layout files a file has, signed by its creator (docs/formats.md, "Id files")."""

from attrs import frozen

from lep6 import _core
from lep6.cascade.ids import key_text, split_keys
from lep6.cascade.text import compact_json, from_base64, integer, member, parse_json, string, strings, to_base64
from lep6.errors import InvalidArtefact
from lep6.model import Key


@frozen
class Index:
    """The index of an action, as its `signatures` field holds it."""

    layout_keys: tuple[Key, ...]
    """Keys of the layout files, in counter order."""
    layout_signature: str
    """Base64 of the creator's signature over the layout."""
    document: str
    """Base64 of the index JSON, as it was signed."""
    signature: str
    """Base64 of the creator's signature over `document`."""

    @property
    def signed(self) -> bytes:
        """The `signatures` field: the text that all index files share."""
        return f"{self.document}.{self.signature}".encode()


def index_document(layout_keys: tuple[Key, ...], layout_signature: str) -> str:
    """Base64 of the index JSON: what a creator signs."""
    document = {
        "layout_ids": [key_text(key) for key in layout_keys],
        "layout_signature": layout_signature,
        "version": 1,
    }
    return to_base64(compact_json(document))


def parse_index(signatures: str) -> Index:
    """Read an action's `signatures` field.

    Raises:
        InvalidArtefact: it is not index and signature with one dot between, or the index is not one.
    """
    parts = signatures.split(".")
    if len(parts) != 2:  # noqa: PLR2004
        raise InvalidArtefact(f"the signatures field has {len(parts)} parts; an index and its signature are two")
    document, signature = parts
    fields = parse_json(from_base64(document, "index"), "index")
    # The one version there is; the field is left out where it would be zero.
    if integer(fields.get("version", 0)) not in (0, 1):
        raise InvalidArtefact(f"the index has version {fields['version']!r:.20}; this lep6 reads version 1")
    texts = member(fields, "layout_ids", strings, "index")
    if not texts:
        raise InvalidArtefact("the index lists no layout file")
    layout_keys = split_keys(_core.keys_from_texts(texts))
    if len(set(layout_keys)) != len(layout_keys):
        raise InvalidArtefact("the index lists a layout file twice")
    return Index(
        layout_keys=layout_keys,
        layout_signature=member(fields, "layout_signature", string, "index"),
        document=document,
        signature=signature,
    )
