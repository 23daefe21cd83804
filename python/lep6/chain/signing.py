"""Transactions as bytes, SIGN_MODE_DIRECT (chain contract §2.1-§2.4)."""

from hashlib import sha256
from typing import Final, final

from attrs import frozen

from lep6.chain.gas import DENOM
from lep6.keys import PrivateKey, pack_key
from lep6.transaction import Claim, Message, Packed, Vote
from lep6.wire.cosmos.base import v1beta1 as base
from lep6.wire.cosmos.tx import v1beta1 as tx
from lep6.wire.cosmos.tx.signing import v1beta1 as signing
from lep6.wire.google import protobuf
from lep6.wire.lumera.audit import v1 as audit

CLAIM_URL: Final = "/lumera.audit.v1.MsgClaimHealComplete"
VOTE_URL: Final = "/lumera.audit.v1.MsgSubmitHealVerification"


@final
@frozen
class Signer:
    """Who signs, and for which chain."""

    key: PrivateKey
    chain_id: str
    account_number: int

    @property
    def address(self) -> str:
        """The account."""
        return self.key.public.address


@final
@frozen
class Terms:
    """Under which terms a transaction is sent."""

    sequence: int
    gas_limit: int
    fee: int
    """In ulume."""
    timeout_height: int


def pack(creator: str, message: Message | Packed) -> protobuf.Any:
    """A message as a transaction carries it."""
    match message:
        case Packed(type_url, value):
            return protobuf.Any(type_url=type_url, value=value)
        case Claim(op_id, ticket, manifest_hash):
            claim = audit.MsgClaimHealComplete(
                creator=creator, heal_op_id=op_id, ticket_id=ticket, heal_manifest_hash=manifest_hash
            )
            return protobuf.Any(type_url=CLAIM_URL, value=bytes(claim))
        case Vote(op_id, verified, text, details):
            vote = audit.MsgSubmitHealVerification(
                creator=creator, heal_op_id=op_id, verified=verified, verification_hash=text, details=details
            )
            return protobuf.Any(type_url=VOTE_URL, value=bytes(vote))


def signed(signer: Signer, message: Message | Packed, terms: Terms) -> bytes:
    """The bytes of a signed transaction."""
    body, info = _body(signer, message, terms), _auth_info(signer, terms)
    document = tx.SignDoc(
        body_bytes=body, auth_info_bytes=info, chain_id=signer.chain_id, account_number=signer.account_number
    )
    signature = signer.key.sign_in_full(bytes(document))
    return bytes(tx.TxRaw(body_bytes=body, auth_info_bytes=info, signatures=[signature]))


def for_simulation(signer: Signer, message: Message | Packed, terms: Terms) -> bytes:
    """The bytes that are simulated: the same body, no signature, no gas (chain contract §2.4)."""
    free = Terms(terms.sequence, 0, 1, terms.timeout_height)
    return bytes(
        tx.TxRaw(body_bytes=_body(signer, message, terms), auth_info_bytes=_auth_info(signer, free), signatures=[b""])
    )


def hash_of(raw: bytes) -> str:
    """The hash that a transaction is looked up by."""
    return sha256(raw).hexdigest().upper()


def _body(signer: Signer, message: Message | Packed, terms: Terms) -> bytes:
    return bytes(tx.TxBody(messages=[pack(signer.address, message)], timeout_height=terms.timeout_height))


def _auth_info(signer: Signer, terms: Terms) -> bytes:
    direct = tx.ModeInfo(single=tx.ModeInfoSingle(mode=signing.SignMode.DIRECT))
    info = tx.SignerInfo(public_key=pack_key(signer.key.public), mode_info=direct, sequence=terms.sequence)
    fee = tx.Fee(amount=[base.Coin(denom=DENOM, amount=str(terms.fee))], gas_limit=terms.gas_limit)
    return bytes(tx.AuthInfo(signer_infos=[info], fee=fee))
