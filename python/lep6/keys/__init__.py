"""Accounts: addresses, the two kinds of keys that they have, and where an operator keeps these."""

from lep6.keys.account import KeyKind, PrivateKey, PublicKey, recover
from lep6.keys.address import ACCOUNT_PREFIX, account_address, address_bytes
from lep6.keys.key_file import mnemonic_key, raw_key
from lep6.keys.keyring import Keyring
from lep6.keys.packed import KEY_URLS, pack_key, unpack_key
from lep6.keys.passphrase import FromEnvironment, FromFile, Passphrase, Prompt
from lep6.keys.record import Holding, KeyRecord

__all__ = [
    "ACCOUNT_PREFIX",
    "KEY_URLS",
    "FromEnvironment",
    "FromFile",
    "Holding",
    "KeyKind",
    "KeyRecord",
    "Keyring",
    "Passphrase",
    "PrivateKey",
    "Prompt",
    "PublicKey",
    "account_address",
    "address_bytes",
    "mnemonic_key",
    "pack_key",
    "raw_key",
    "recover",
    "unpack_key",
]
