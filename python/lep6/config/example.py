"""A file to begin with."""

import os
from importlib import resources
from pathlib import Path

from lep6.errors import OutputExists


def example() -> str:
    """A commented file: every key, with what the Go supernode's own `init` writes, or its default."""
    return resources.files("lep6.config").joinpath("example.yml").read_text(encoding="utf-8")


def write_example(path: Path) -> None:
    """Write that file. Only its owner can read it, since a passphrase may come to stand in it.

    Raises:
        OutputExists: there is something already; it is kept.
        OSError: the system refused to write it.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise OutputExists(f"{path} is there already") from None
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
        file.write(example())
