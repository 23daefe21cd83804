"""Account keys: ECDSA over secp256k1, with the digest and address of their kind (docs/formats.md, "Signatures")."""

import enum
import hashlib
from typing import final

from attrs import field, frozen

from lep6 import _core
from lep6.errors import InvalidArtefact, InvalidKey
from lep6.keys.address import account_address

SIGNATURE_SIZE = 64
"""Bytes of a signature r, s."""


class KeyKind(enum.Enum):
    """How a key hashes what it signs, and how its address follows from it."""

    COSMOS = "secp256k1"
    ETHEREUM = "eth_secp256k1"

    def digest(self, message: bytes) -> bytes:
        """The 32 bytes that a key of this kind signs for a message."""
        if self is KeyKind.COSMOS:
            return hashlib.sha256(message).digest()
        return _core.keccak256(message)

    @property
    def has_parity(self) -> bool:
        """Whether signatures of this kind, as transactions and handshakes carry them, have the parity behind r, s."""
        return self is KeyKind.ETHEREUM

    @property
    def derivation_path(self) -> str:
        """Where a mnemonic's first key of this kind is, in the notation of BIP-32 (chain contract §2.3)."""
        if self is KeyKind.COSMOS:
            return "m/44'/118'/0'/0/0"
        return "m/44'/60'/0'/0/0"


@final
@frozen
class PublicKey:
    """The public key of an account."""

    kind: KeyKind
    compressed: bytes
    """33 bytes."""

    def __attrs_post_init__(self) -> None:
        try:
            _core.secp256k1_point(self.compressed)
        except InvalidArtefact as error:
            raise InvalidKey(str(error)) from error

    @property
    def address(self) -> str:
        """The bech32 account address."""
        if self.kind is KeyKind.COSMOS:
            return account_address(_core.ripemd160(hashlib.sha256(self.compressed).digest()))
        return account_address(_core.keccak256(_core.secp256k1_point(self.compressed))[-20:])

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether a 64-byte r, s signature (low S) over the message is this key's."""
        if len(signature) != SIGNATURE_SIZE:
            return False
        return _core.secp256k1_verify(self.compressed, self.kind.digest(message), signature)


@final
@frozen
class PrivateKey:
    """The private key of an account. Its bytes show in no representation."""

    kind: KeyKind
    _secret: bytes = field(repr=False)
    """32 bytes."""

    def __attrs_post_init__(self) -> None:
        try:
            _core.secp256k1_public_key(self._secret)
        except InvalidArtefact as error:
            raise InvalidKey(str(error)) from error

    @property
    def public(self) -> PublicKey:
        """The public key."""
        return PublicKey(self.kind, _core.secp256k1_public_key(self._secret))

    def sign(self, message: bytes) -> bytes:
        """The deterministic 64-byte r, s signature over a message."""
        return _core.secp256k1_sign(self._secret, self.kind.digest(message))[:SIGNATURE_SIZE]

    def sign_in_full(self, message: bytes) -> bytes:
        """The signature as transactions and handshakes carry it: r, s, and the parity too where the kind has it."""
        signature = _core.secp256k1_sign(self._secret, self.kind.digest(message))
        return signature if self.kind.has_parity else signature[:SIGNATURE_SIZE]


def recover(kind: KeyKind, message: bytes, signature: bytes) -> list[PublicKey]:
    """The keys of a kind that can have made a 64-byte signature over the message."""
    if len(signature) != SIGNATURE_SIZE:
        return []
    return [PublicKey(kind, key) for key in _core.secp256k1_recover(kind.digest(message), signature)]
