"""Where the passphrase of a keyring comes from (chain contract §6.1)."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias, final

from attrs import field, frozen

from lep6.errors import KeyNotOpened
from lep6.keys.discreet import discreet
from lep6.keys.private_file import read_small

WHITE_SPACE: Final = "".join(
    map(chr, [*range(9, 14), 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000])
)
"""What Go trims of the file, which is a little less than what Python would."""


@final
@frozen
class Prompt:
    """Somebody is asked, each time anew."""

    ask: Callable[[], str] = field(repr=False)
    """What asks; called without arguments."""

    @discreet
    def read(self) -> bytes:
        """The answer, in UTF-8.

        Raises:
            KeyNotOpened: it is empty, or no text.
        """
        try:
            passphrase = self.ask().encode(errors="surrogateescape")
        except UnicodeEncodeError:
            raise KeyNotOpened("the passphrase is no text") from None
        return _given(passphrase, "no passphrase was given")


@final
@frozen
class FromFile:
    """The content of a file, without white space around it."""

    path: Path

    @discreet
    def read(self) -> bytes:
        """The passphrase.

        Raises:
            KeyNotOpened: the file can be read by others than its owner, or holds none.
            OSError: the system refused to read it.
        """
        text = read_small(self.path, private=True).decode(errors="surrogateescape")
        return _given(text.strip(WHITE_SPACE).encode(errors="surrogateescape"), f"{self.path} holds no passphrase")


@final
@frozen
class FromEnvironment:
    """The value of an environment variable, as it is."""

    variable: str

    @discreet
    def read(self) -> bytes:
        """The passphrase.

        Raises:
            KeyNotOpened: the variable is not set, or empty.
        """
        value = os.fsencode(os.environ.get(self.variable, ""))
        return _given(value, f"the environment variable {self.variable} is not set, or empty")


Passphrase: TypeAlias = Prompt | FromFile | FromEnvironment
"""A source of a passphrase."""


def _given(passphrase: bytes, otherwise: str) -> bytes:
    if not passphrase:
        raise KeyNotOpened(otherwise)
    return passphrase
