"""When what a command says is not taken: its reader has gone (`lep6 status | head -1`), or a disk is full."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TextIO

from lep6.cli import EXIT_BAD_INPUT, EXIT_UNREAD


@contextmanager
def taken() -> Iterator[None]:
    """End the process in order when something that was printed in the block was not taken."""
    try:
        yield
    except OSError as error:
        _give_up(error)


@contextmanager
def flushed() -> Iterator[None]:
    """As `taken`; what is left in the buffers goes out at the end. Python would end with a traceback, and 120."""
    # Closed by who has started it.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, PTH123
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115, PTH123
    try:
        with taken():
            try:
                yield
            finally:
                sys.stdout.flush()
    finally:
        try:
            sys.stderr.flush()
        except OSError:
            _discard(sys.stderr)


def _give_up(error: OSError) -> NoReturn:
    from lep6.cli.terminal import fail  # noqa: PLC0415 # rich takes its time

    _discard(sys.stdout)
    if error.errno == errno.EPIPE:
        sys.exit(EXIT_UNREAD)
    fail(f"the output cannot be written: {error}", EXIT_BAD_INPUT)


def _discard(stream: TextIO) -> None:
    """Let nobody have what is still to be written."""
    with suppress(OSError):
        descriptor = stream.fileno()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)
