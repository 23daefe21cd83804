"""What processes of other gRPCs say to a test, a line of JSON at a time."""

import json
import sys
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from echo_wire.echo import Note


def say(**result: Any) -> None:
    """Tell the test something."""
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


def texts(metadata: Iterable[tuple[str, str | bytes]] | None) -> list[list[str]]:
    """Metadata in JSON."""
    return [[key, value.hex() if isinstance(value, bytes) else value] for key, value in metadata or ()]


def values(metadata: Iterable[tuple[str, str]]) -> list[tuple[str, str | bytes]]:
    """Metadata from JSON."""
    return [(key, bytes.fromhex(value) if key.endswith("-bin") else value) for key, value in metadata]


def told(note: Note) -> dict[str, Any]:
    """A message in JSON."""
    digest = sha256(note.data).hexdigest()
    return {"text": note.text, "number": note.number, "size": len(note.data), "digest": digest}
