"""Files that hold a secret."""

import os
import stat
from pathlib import Path
from typing import Final

from lep6.errors import KeyNotOpened

MAX_SIZE: Final = 64 << 10
"""Bytes. No key, mnemonic, passphrase or keyring item comes near."""

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def read_small(path: Path, *, private: bool) -> bytes:
    """All bytes of a small file.

    Args:
        path: the file, or a link to it.
        private: whether it is refused when its mode lets others than its owner read or write it.

    Raises:
        KeyNotOpened: it is open to others, is no regular file, or is larger than any secret.
        OSError: the system refused to read it.
    """
    try:
        # Without O_NONBLOCK, the writer of a pipe would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except ValueError:
        raise KeyNotOpened(f"{str(path)!r} is no path") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise KeyNotOpened(f"{path} is not a regular file")
        if private and mode & OTHERS:
            raise KeyNotOpened(f"{path} is open to others than its owner (mode {stat.S_IMODE(mode):o}): chmod 600 it")
        data = bytearray()
        while len(data) <= MAX_SIZE and (more := os.read(descriptor, MAX_SIZE)):
            data += more
    finally:
        os.close(descriptor)
    if len(data) > MAX_SIZE:
        raise KeyNotOpened(f"{path} has more than {MAX_SIZE} bytes")
    return bytes(data)
