"""Accounts: addresses, and the two kinds of keys that they have."""

from lep6.keys.account import KeyKind, PrivateKey, PublicKey, recover
from lep6.keys.address import ACCOUNT_PREFIX, account_address, address_bytes

__all__ = ["ACCOUNT_PREFIX", "KeyKind", "PrivateKey", "PublicKey", "account_address", "address_bytes", "recover"]
