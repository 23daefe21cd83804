"""Transactions as they come over the wire (chain contract §2.1-§2.4): strictly, as the chain reads them."""

from typing import Final, TypeVar

import betterproto2
from attrs import frozen

from lep6.devnet.chain import Tx
from lep6.devnet.chain.failures import SDK, TxFailed
from lep6.devnet.chain.signatures import Signed
from lep6.errors import InvalidKey, InvalidMessage
from lep6.keys import KEY_URLS, PublicKey, address_bytes, unpack_key
from lep6.model import Ticket
from lep6.protobuf import parse
from lep6.transaction import Claim, Message, Vote
from lep6.wire.cosmos.tx.signing.v1beta1 import SignMode
from lep6.wire.cosmos.tx.v1beta1 import AuthInfo, Fee, SignerInfo, TxBody, TxRaw
from lep6.wire.google.protobuf import Any
from lep6.wire.lumera.audit.v1 import MsgClaimHealComplete, MsgSubmitHealVerification

CLAIM_URL: Final = "/lumera.audit.v1.MsgClaimHealComplete"
VOTE_URL: Final = "/lumera.audit.v1.MsgSubmitHealVerification"
DENOM: Final = "ulume"

_PARSE, _PUBKEY, _COINS, _INVALID = 2, 8, 10, 18
_UNAUTHORIZED, _NO_SIGNATURES, _EXTENSIONS, _NOT_FOUND = 4, 15, 31, 38
_LARGEST: Final = 2**64
"""Amounts in the box are below this, as is all the money there is."""

M = TypeVar("M", bound=betterproto2.Message)


@frozen
class _Content:
    """What a message says, and who sends it."""

    creator: str
    message: Message
    details: str = ""


def decode_tx(raw: bytes) -> Tx:
    """The transaction of a `TxRaw`'s bytes, with its signature, which is not verified here.

    Raises:
        TxFailed: it is refused whatever the state of the chain. Code 2: not canonical, with a field that is unknown,
            with other than one message of the two, not signed with SIGN_MODE_DIRECT. Codes 4 and 15: not one signature
            of one signer. Codes 8, 10, 18, 31, 38: a key, fee, time-out, extension or granter that is not served.
    """
    envelope = _canonical(raw)
    body, auth = _parsed(TxBody, envelope.body_bytes), _parsed(AuthInfo, envelope.auth_info_bytes)
    content = _content(body)
    _check_extras(body)
    signer = _signer(auth, envelope.signatures)
    fee = auth.fee or Fee()
    _check_payer(fee, content.creator)
    signed = Signed(_key(signer.public_key), envelope.signatures[0], envelope.body_bytes, envelope.auth_info_bytes)
    return Tx(
        creator=content.creator,
        message=content.message,
        sequence=signer.sequence,
        timeout_height=body.timeout_height,
        gas_limit=fee.gas_limit,
        fee=_amount(fee),
        memo=body.memo,
        details=content.details,
        signed=signed,
        encoded=raw,
    )


def _canonical(raw: bytes) -> TxRaw:
    """A `TxRaw` in the one way in which the chain takes it: ascending fields, no defaults, shortest numbers."""
    envelope = _parsed(TxRaw, raw)
    if bytes(envelope) != raw:
        raise TxFailed(SDK, _PARSE, "the encoding of TxRaw is not canonical")
    return envelope


def _parsed(message_type: type[M], data: bytes) -> M:
    try:
        return parse(message_type, data, knows_all=True)
    except InvalidMessage as error:
        raise TxFailed(SDK, _PARSE, str(error)) from error


def _content(body: TxBody) -> _Content:
    """The one message."""
    if len(body.messages) != 1:
        raise TxFailed(SDK, _PARSE, f"the box takes one message in a transaction, not {len(body.messages)}")
    content = _read(body.messages[0])
    try:
        address_bytes(content.creator)
    except InvalidKey as error:
        raise TxFailed(SDK, _PARSE, str(error)) from error
    return content


def _read(packed: Any) -> _Content:
    if packed.type_url == CLAIM_URL:
        claim = _parsed(MsgClaimHealComplete, packed.value)
        said = Claim(claim.heal_op_id, Ticket(claim.ticket_id), claim.heal_manifest_hash)
        return _Content(claim.creator, said, claim.details)
    if packed.type_url == VOTE_URL:
        vote = _parsed(MsgSubmitHealVerification, packed.value)
        return _Content(vote.creator, Vote(vote.heal_op_id, vote.verified, vote.verification_hash, vote.details))
    raise TxFailed(SDK, _PARSE, f"unable to resolve type URL {packed.type_url}")


def _check_extras(body: TxBody) -> None:
    if body.extension_options:
        raise TxFailed(SDK, _EXTENSIONS)
    if body.unordered or body.timeout_timestamp is not None:
        raise TxFailed(SDK, _INVALID, "the box takes neither unordered transactions nor time-outs by time")


def _signer(auth: AuthInfo, signatures: list[bytes]) -> SignerInfo:
    """The one signer."""
    for signer in auth.signer_infos:
        mode = signer.mode_info.single.mode if signer.mode_info and signer.mode_info.single else SignMode.UNSPECIFIED
        if mode != SignMode.DIRECT:
            raise TxFailed(SDK, _PARSE, f"sign mode {int(mode)} is not SIGN_MODE_DIRECT")
    if not signatures:
        raise TxFailed(SDK, _NO_SIGNATURES)
    for count in (len(signatures), len(auth.signer_infos)):
        if count != 1:
            raise TxFailed(SDK, _UNAUTHORIZED, f"wrong number of signers; expected 1, got {count}")
    return auth.signer_infos[0]


def _key(packed: Any | None) -> PublicKey | None:
    """The key that a signer shows, if it does."""
    if packed is None:
        return None
    if packed.type_url not in KEY_URLS.values():
        raise TxFailed(SDK, _PARSE, f"unable to resolve type URL {packed.type_url}")
    try:
        return unpack_key(packed)
    except InvalidKey as error:
        raise TxFailed(SDK, _PUBKEY, str(error)) from error


def _check_payer(fee: Fee, creator: str) -> None:
    """Nobody pays for others in the box."""
    if fee.payer not in ("", creator):
        raise TxFailed(SDK, _UNAUTHORIZED, "wrong number of signers; expected 2, got 1")
    if fee.granter not in ("", creator):
        raise TxFailed(SDK, _NOT_FOUND, f"{fee.granter} does not allow to pay fees for {creator}: fee-grant not found")


def _amount(fee: Fee) -> int:
    """The fee in ulume."""
    for coin in fee.amount:
        text = coin.amount
        if not (text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")):
            raise TxFailed(SDK, _PARSE, f"{text!r:.40} is not an amount")
        if coin.denom != DENOM:
            raise TxFailed(SDK, _COINS, f"expected only native token {DENOM} for fee, but got {coin.denom}")
    if len(fee.amount) > 1:
        raise TxFailed(SDK, _COINS, f"expected one coin for fee, but got {len(fee.amount)}")
    amount = fee.amount[0].amount if fee.amount else "0"
    return min(int(amount), _LARGEST - 1) if len(amount) < 100 else _LARGEST - 1  # noqa: PLR2004
