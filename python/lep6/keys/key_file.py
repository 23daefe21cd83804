"""Private keys from files of the operator's own making: a mnemonic, or the key itself."""

import re
from pathlib import Path
from typing import Final

from lep6 import _core
from lep6.errors import InvalidArtefact, InvalidKey, KeyNotOpened
from lep6.keys.account import KeyKind, PrivateKey
from lep6.keys.discreet import discreet
from lep6.keys.private_file import read_small

RAW_KEY: Final = re.compile(rb"\s*(?:0x)?([0-9A-Fa-f]{64})\s*")


@discreet
def mnemonic_key(path: Path, kind: KeyKind) -> PrivateKey:
    """The key of a kind that an English BIP-39 mnemonic of 12 to 24 words in a file gives (chain contract §2.3).

    It is the first key at the kind's derivation path, with an empty BIP-39 passphrase.

    Raises:
        KeyNotOpened: the file holds no mnemonic, or can be read by others than its owner.
        OSError: the system refused to read it.
    """
    try:
        return PrivateKey(kind, _core.hd_private_key(read_small(path, private=True), kind.derivation_path))
    except (InvalidArtefact, InvalidKey) as error:
        raise KeyNotOpened(f"{path}: {error}") from None


@discreet
def raw_key(path: Path, kind: KeyKind) -> PrivateKey:
    """The key of a kind that a file holds as 64 hexadecimal digits, with or without 0x.

    Raises:
        KeyNotOpened: the file holds no private key, or can be read by others than its owner.
        OSError: the system refused to read it.
    """
    match = RAW_KEY.fullmatch(read_small(path, private=True))
    if match is None:
        raise KeyNotOpened(f"{path}: a private key is 64 hexadecimal digits")
    try:
        return PrivateKey(kind, bytes.fromhex(match[1].decode()))
    except InvalidKey as error:
        raise KeyNotOpened(f"{path}: {error}") from None
