"""JSON and base64 as the network writes them."""

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any, TypeVar

from lep6.errors import InvalidArtefact

T = TypeVar("T")


def compact_json(document: Any) -> bytes:
    """JSON without a blank, keys in the order given: the spelling that is hashed and signed."""
    return json.dumps(document, separators=(",", ":")).encode()


def parse_json(text: bytes, what: str) -> dict[str, Any]:
    """The object that a JSON text holds.

    Raises:
        InvalidArtefact: it is not JSON, or not an object.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArtefact(f"the {what} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidArtefact(f"the {what} is not a JSON object")
    return document


def member(document: dict[str, Any], name: str, kind: Callable[[Any], T | None], what: str) -> T:
    """A member of a JSON object, as `kind` reads it; `kind` gives `None` for what it does not accept."""
    value = kind(document.get(name))
    if value is None:
        raise InvalidArtefact(f"the {what} has no usable {name!r}: {document.get(name)!r:.60}")
    return value


def integer(value: Any) -> int | None:
    """A JSON integer."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def string(value: Any) -> str | None:
    """A JSON string of ASCII, which all strings of these formats are."""
    return value if isinstance(value, str) and value.isascii() else None


def strings(value: Any) -> list[str] | None:
    """A JSON array of such strings."""
    return value if isinstance(value, list) and all(string(item) is not None for item in value) else None


def to_base64(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str, what: str) -> bytes:
    """The bytes of a standard base64 text.

    Raises:
        InvalidArtefact: it is something else.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise InvalidArtefact(f"the {what} is not base64: {error}") from error
