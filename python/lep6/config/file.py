"""Reading the file itself."""

import os
import re
import stat
from pathlib import Path
from typing import Any, Final, final

import ryaml
from attrs import field, frozen

from lep6.errors import InvalidConfig, Problem

MAX_SIZE: Final = 1 << 20
"""Bytes. No configuration comes near."""
_OTHERS: Final = stat.S_IRGRP | stat.S_IROTH
_QUOTED: Final = re.compile(r"`[^`]*`")
_TWICE: Final = re.compile(r'^duplicate entry with key "(.*)"$', re.DOTALL)


@final
@frozen
class Tree:
    """What stands in a file."""

    sections: dict[Any, Any] = field(repr=False)
    is_open: bool
    """Whether others than its owner can read it."""


def read(path: Path) -> Tree:
    """Read a configuration file.

    Raises:
        InvalidConfig: it is missing, unreadable, too large, or not a mapping in YAML.
    """
    try:
        data, mode = _bytes(path)
    except FileNotFoundError:
        raise _refused(path, "is not there", "name another file, or begin one: lep6 config init PATH") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _refused(path, f"cannot be read ({reason})", "name a file that this user may read") from None
    if len(data) > MAX_SIZE:
        raise _refused(path, f"has more than {MAX_SIZE} bytes", "name a configuration file")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _refused(path, f"is not UTF-8 (line {line})", "save it as UTF-8") from None
    return Tree(_mapping(path, text), bool(mode & _OTHERS))


def _bytes(path: Path) -> tuple[bytes, int]:
    # Without O_NONBLOCK, the writer of a pipe would be waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise ValueError("it is not a regular file")
        data = bytearray()
        while len(data) <= MAX_SIZE and (more := os.read(descriptor, MAX_SIZE)):
            data += more
    finally:
        os.close(descriptor)
    return bytes(data), mode


def _mapping(path: Path, text: str) -> dict[Any, Any]:
    try:
        tree = ryaml.loads(text)  # type: ignore[attr-defined] # it names none of what it exports
    except ValueError as error:
        raise _refused(path, f"is not YAML ({_reason(str(error), text)})", "mend the line") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise _refused(path, "is not a mapping", "write sections, `supernode:` and so on, with their keys below")
    return tree


def _reason(message: str, text: str) -> str:
    """What the parser says, with a line where it names none, and without values, which may be secrets."""
    if twice := _TWICE.match(message):
        lines = [number for number, line in enumerate(text.splitlines(), 1) if _begins(line, twice[1])]
        message += f" at line {lines[1]}" if len(lines) > 1 else ""
    return _QUOTED.sub("...", message)


def _begins(line: str, key: str) -> bool:
    return re.match(rf"""["']?{re.escape(key)}["']?\s*:""", line) is not None


def _refused(path: Path, what: str, mend: str) -> InvalidConfig:
    return InvalidConfig(path, [Problem("", what, mend)])
