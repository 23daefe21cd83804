"""What a keyring says of a key: `cosmos.crypto.keyring.v1.Record` (chain contract §2.3, §6.2)."""

import enum
import hashlib
from typing import Final, final

from attrs import field, frozen

from lep6.errors import InvalidKey, InvalidMessage, KeyNotOpened
from lep6.keys.account import KeyKind, PrivateKey, PublicKey
from lep6.protobuf import parse
from lep6.wire.cosmos.crypto.keyring.v1 import Record
from lep6.wire.cosmos.crypto.secp256k1 import PrivKey, PubKey
from lep6.wire.google.protobuf import Any

PACKAGES: Final = {
    "/cosmos.crypto.secp256k1": KeyKind.COSMOS,
    "/cosmos.evm.crypto.v1.ethsecp256k1": KeyKind.ETHEREUM,
}
"""Packages of the messages `PubKey` and `PrivKey`, which are alike in both."""


class Holding(enum.Enum):
    """Where the private key is."""

    LOCAL = "local"
    """In the keyring."""
    LEDGER = "ledger"
    MULTI = "multi"
    """In several other keys."""
    OFFLINE = "offline"


@final
@frozen
class KeyRecord:
    """A key of a keyring, without its secret."""

    name: str
    holding: Holding
    public: PublicKey | None
    """`None`: it is of a kind that lep6 does not know."""

    @property
    def address(self) -> str | None:
        """The bech32 account address, where the kind is known."""
        return None if self.public is None else self.public.address

    @property
    def kind(self) -> KeyKind | None:
        """The kind of the key, where it is known."""
        return None if self.public is None else self.public.kind


@final
@frozen
class OpenRecord:
    """A record and the private key that came with it."""

    record: KeyRecord
    private: PrivateKey | None = field(repr=False)
    """`None`: it is elsewhere, or of a kind that lep6 does not know."""


def read_record(data: bytes) -> OpenRecord:
    """The record of a keyring item's bytes.

    Raises:
        KeyNotOpened: they are not one, they are an amino one, or the two keys do not belong together.
    """
    if _is_amino(data):
        raise KeyNotOpened(
            "it is an amino record of an old Cosmos SDK; a newer one rewrites it when its `keys list` is called"
        )
    try:
        record = parse(Record, data)
        public = _public_key(record.pub_key)
        private = _private_key(record.local.priv_key, public) if record.local is not None else None
    except (InvalidMessage, InvalidKey):
        raise KeyNotOpened("it does not hold the record of a key") from None
    return OpenRecord(KeyRecord(record.name, _holding(record), public), private)


def _holding(record: Record) -> Holding:
    for holding in Holding:
        if getattr(record, holding.value) is not None:
            return holding
    raise KeyNotOpened("it does not say where the private key is")


def _public_key(packed: Any | None) -> PublicKey | None:
    if packed is None:
        raise KeyNotOpened("it has no public key")
    kind = PACKAGES.get(packed.type_url.removesuffix(".PubKey"))
    if kind is None or not packed.type_url.endswith(".PubKey"):
        return None
    return PublicKey(kind, parse(PubKey, packed.value).key)


def _private_key(packed: Any | None, public: PublicKey | None) -> PrivateKey | None:
    if public is None:
        return None
    if packed is None or PACKAGES.get(packed.type_url.removesuffix(".PrivKey")) is not public.kind:
        raise KeyNotOpened("it has no private key of the kind of its public key")
    private = PrivateKey(public.kind, parse(PrivKey, packed.value).key)
    if private.public != public:
        raise KeyNotOpened("its private key is not that of its public key")
    return private


def _amino_prefix(name: str) -> bytes:
    """The 4 bytes before an amino value of a registered type."""
    return hashlib.sha256(name.encode()).digest().lstrip(b"\0")[3:].lstrip(b"\0")[:4]


AMINO_PREFIXES: Final = frozenset(
    _amino_prefix(f"crypto/keys/{name}") for name in ("localInfo", "ledgerInfo", "offlineInfo", "multiInfo")
)


def _is_amino(data: bytes) -> bool:
    """Whether the bytes begin as amino's do: with their length, and the prefix of one of the SDK's types."""
    length_size = 1 + next((place for place, byte in enumerate(data) if byte < 0x80), 0)  # noqa: PLR2004
    return data[length_size : length_size + 4] in AMINO_PREFIXES
