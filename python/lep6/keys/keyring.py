"""Keyrings of the Cosmos SDK's backends `test` and `file`, as they lie on the disk (chain contract §6.2).

They are read, never written.
"""

import base64
import json
import re
from pathlib import Path
from typing import Final, final

from attrs import field, frozen

from lep6.errors import KeyNotOpened
from lep6.keys.account import PrivateKey
from lep6.keys.address import account_address
from lep6.keys.discreet import discreet
from lep6.keys.jwe import open_token
from lep6.keys.passphrase import Passphrase
from lep6.keys.private_file import read_small
from lep6.keys.record import Holding, KeyRecord, OpenRecord, read_record

RECORD: Final = ".info"
"""Behind the name of a key, in the key of its item."""
ADDRESS: Final = re.compile(r"([0-9a-f]{40})\.address")
TEST_PASSWORD: Final = b"test"


@final
@frozen
class Keyring:
    """The keyring of one backend in an operator's keyring directory."""

    folder: Path
    _passphrase: Passphrase | None = field(alias="passphrase")
    """`None`: that of the backend `test`, which everybody knows."""

    @classmethod
    def test(cls, directory: Path) -> "Keyring":
        """The keyring of the backend `test`. Its files hold keys for whoever can read them."""
        return cls(directory / "keyring-test", passphrase=None)

    @classmethod
    def file(cls, directory: Path, passphrase: Passphrase) -> "Keyring":
        """The keyring of the backend `file`."""
        return cls(directory / "keyring-file", passphrase)

    def file_of(self, name: str) -> Path:
        """Where the key of a name lies, whether it is there or not."""
        return self.folder / _file_of(name + RECORD)

    def names(self) -> list[str]:
        """The names of its keys, sorted. No passphrase is asked for.

        Raises:
            OSError: the system refused to list the folder, or there is none.
        """
        return sorted(item.removesuffix(RECORD) for item in self._items() if item.endswith(RECORD) and item != RECORD)

    def addresses(self) -> list[str]:
        """The bech32 addresses of its keys, sorted. No passphrase is asked for; which is whose is in `records` only.

        Raises:
            OSError: as `names`.
        """
        found = (ADDRESS.fullmatch(item) for item in self._items())
        return sorted(account_address(bytes.fromhex(match[1])) for match in found if match)

    @discreet
    def records(self) -> list[KeyRecord]:
        """What it says of its keys, in the order of their names. The passphrase is read once.

        Raises:
            KeyNotOpened: the passphrase was not had or is wrong, or a record cannot be read.
            OSError: the system refused a read.
        """
        names = self.names()
        password = self._password() if names else b""
        return [self._open(name, password).record for name in names]

    @discreet
    def private_key(self, name: str) -> PrivateKey:
        """The private key of this name.

        Raises:
            KeyNotOpened: there is none of this name, the passphrase was not had or is wrong, the record is damaged,
                another's, or open to others, or the private key is elsewhere or of a kind that lep6 does not know.
            OSError: the system refused a read.
        """
        names = self.names()
        if name not in names:
            raise KeyNotOpened(f"{self.folder} has no key {name!r}; its keys are: {', '.join(map(repr, names))}")
        opened = self._open(name, self._password())
        if opened.private is None:
            if opened.record.holding is Holding.LOCAL:
                raise KeyNotOpened(f"the key {name!r} in {self.folder} is of a kind that lep6 does not know")
            raise KeyNotOpened(
                f"the private key of {name!r} is not in {self.folder}; its kind there is {opened.record.holding.value}"
            )
        return opened.private

    def _password(self) -> bytes:
        return TEST_PASSWORD if self._passphrase is None else self._passphrase.read()

    def _items(self) -> list[str]:
        """Keys of the items; other files are nobody's here."""
        keys = [_item_of(file.name) for file in self.folder.iterdir()]
        return [key for key in keys if key is not None]

    def _open(self, name: str, password: bytes) -> OpenRecord:
        path = self.file_of(name)
        token = read_small(path, private=self._passphrase is None)
        try:
            return _read_item(open_token(token, password), name)
        except KeyNotOpened as error:
            raise KeyNotOpened(f"{path}: {error}") from None


def _file_of(item: str) -> str:
    """The name of an item's file."""
    return item.replace("%", "%25").replace("/", "%2F")


def _item_of(file: str) -> str | None:
    """The key of the item that a file of this name holds."""
    item = file.replace("%2F", "/").replace("%25", "%")
    return item if _file_of(item) == file else None


def _read_item(plaintext: bytes, name: str) -> OpenRecord:
    """The record in the item of a name."""
    try:
        item = json.loads(plaintext.decode())
        key, data = item["Key"], base64.b64decode(item["Data"], validate=True)
    except (ValueError, LookupError, TypeError, RecursionError):
        raise KeyNotOpened("it does not hold an item of a keyring") from None
    opened = read_record(data)
    if (key, opened.record.name) != (name + RECORD, name):
        raise KeyNotOpened("it holds the record of another key")
    return opened
