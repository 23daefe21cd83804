"""The creator's signatures over index and layout (docs/formats.md, "Signatures").

They are advice, not a gate: the chain verified the index when the action was made, ids and hashes pin everything else,
and the chain's account migration makes honest old signatures fail. `strict_signatures` makes them a gate.
"""

import enum
from collections.abc import Iterator

from attrs import frozen

from lep6.cascade.text import compact_json, from_base64, to_base64
from lep6.errors import InvalidArtefact, InvalidKey
from lep6.keys import KeyKind, PublicKey, recover
from lep6.model import Action
from lep6.ports import Accounts

HALF = 32
"""Bytes of r and of s."""


class SignedBy(enum.Enum):
    """Whose signature it was found to be."""

    APP_KEY = "the interchain-account key of the action"
    CREATOR = "the creator's account key"
    LEGACY_CREATOR = "the key of the creator's account before its migration"
    NOBODY = "nobody known"


@frozen
class Signatures:
    """What was found of an action's two signatures."""

    index: SignedBy
    layout: SignedBy

    @property
    def are_good(self) -> bool:
        """Whether both are the creator's."""
        return SignedBy.NOBODY not in (self.index, self.layout)


def adr36_document(data: bytes, signer: str) -> bytes:
    """The document that a wallet signs for arbitrary data (ADR-36)."""
    message = {"type": "sign/MsgSignData", "value": {"data": to_base64(data), "signer": signer}}
    return compact_json(
        {
            "account_number": "0",
            "chain_id": "",
            "fee": {"amount": [], "gas": "0"},
            "memo": "",
            "msgs": [message],
            "sequence": "0",
        }
    )


def messages(document: str, signer: str) -> Iterator[bytes]:
    """The messages that a signature over a base64 document may be over, in the order they are tried."""
    encoded, decoded = document.encode(), from_base64(document, "signed document")
    yield encoded
    yield adr36_document(encoded, signer)
    yield decoded
    yield adr36_document(decoded, signer)


def normalise(signature: str) -> bytes:
    """The 64 bytes r, s of a base64 signature in either form.

    Raises:
        InvalidArtefact: it is neither 64 bytes nor a DER sequence of two integers of at most 32 bytes.
    """
    raw = from_base64(signature, "signature")
    return raw if len(raw) == 2 * HALF else _from_der(raw)


def _from_der(raw: bytes) -> bytes:
    sequence = _der_element(raw, 0x30)
    r = _der_element(sequence, 0x02)
    s = _der_element(sequence[2 + len(r) :], 0x02)
    numbers = [number.lstrip(b"\0") for number in (r, s)]
    if any(len(number) > HALF for number in numbers):
        raise InvalidArtefact("a signature's numbers have at most 32 bytes")
    return b"".join(number.rjust(HALF, b"\0") for number in numbers)


def _der_element(raw: bytes, tag: int) -> bytes:
    """The content of the short-form element that `raw` begins with; what follows it is ignored."""
    if len(raw) < 2 or raw[0] != tag or raw[1] > 0x7F or len(raw) < 2 + raw[1]:  # noqa: PLR2004
        raise InvalidArtefact(f"a signature of {len(raw)} bytes is neither r, s nor DER")
    return raw[2 : 2 + raw[1]]


async def check_signatures(
    action: Action, *, index: tuple[str, str], layout: tuple[str, str], accounts: Accounts
) -> Signatures:
    """Find out whose the two signatures are; each argument is a (base64 document, base64 signature) pair.

    The creator's key is asked for once. What cannot be read as a signature is nobody's.
    """
    creator_key = await accounts.public_key(action.creator)
    found = [_signed_by_known(action, creator_key, *pair) for pair in (index, layout)]
    if SignedBy.NOBODY in found and (legacy := await accounts.legacy_address(action.creator)):
        found = [
            SignedBy.LEGACY_CREATOR if by is SignedBy.NOBODY and _signed_by_address(legacy, *pair) else by
            for by, pair in zip(found, (index, layout), strict=True)
        ]
    return Signatures(*found)


def _signed_by_known(action: Action, creator_key: PublicKey | None, document: str, signature: str) -> SignedBy:
    try:
        raw, tried = normalise(signature), list(messages(document, action.creator))
    except InvalidArtefact:
        return SignedBy.NOBODY
    app_key = _app_key(action)
    if app_key is not None and _verifies(app_key, tried, raw):
        return SignedBy.APP_KEY
    if creator_key is not None and _verifies(creator_key, tried, raw):
        return SignedBy.CREATOR
    return SignedBy.NOBODY


def _app_key(action: Action) -> PublicKey | None:
    try:
        return PublicKey(KeyKind.COSMOS, action.app_pubkey) if action.app_pubkey else None
    except InvalidKey:
        return None


def _verifies(key: PublicKey, tried: list[bytes], raw: bytes) -> bool:
    return any(key.verify(message, raw) for message in tried)


def _signed_by_address(address: str, document: str, signature: str) -> bool:
    """Whether a key recovered from the signature has this address. The old documents name the old address."""
    try:
        raw, tried = normalise(signature), list(messages(document, address))
    except InvalidArtefact:
        return False
    return any(key.address == address for message in tried for key in recover(KeyKind.COSMOS, message, raw))
