"""What the two messages of healing do, and how they are refused (chain contract §3.2, §4.4-§4.6)."""

import json

from lep6.devnet.chain.failures import AUDIT, TxFailed
from lep6.devnet.chain.ops import CLAIMABLE_STATUSES, OpRecord
from lep6.devnet.chain.state import State
from lep6.model import HealOpStatus
from lep6.transaction import Claim, Message, Vote


def execute(state: State, creator: str, message: Message, details: str = "") -> State:
    """The state after a message; `details` are those of a claim.

    Raises:
        TxFailed: the message is refused.
    """
    match message:
        case Claim():
            return claim(state, creator, message, details)
        case Vote():
            return vote(state, creator, message)


def claim(state: State, creator: str, message: Claim, details: str = "") -> State:
    """`MsgClaimHealComplete`. Neither mode nor deadline matter, nor registration. lep6 sends no details.

    Raises:
        TxFailed: the claim is refused.
    """
    if not creator:
        raise TxFailed(AUDIT, 1, "creator is required")
    if not message.op_id:
        raise TxFailed(AUDIT, 11, "heal_op_id is required")
    if not message.ticket:
        raise TxFailed(AUDIT, 14, "ticket_id is required")
    if not message.manifest_hash:
        raise TxFailed(AUDIT, 13, "heal_manifest_hash is required")
    op = _op(state, message.op_id)
    if op.ticket != message.ticket:
        given, stored = _quoted(message.ticket), _quoted(op.ticket)
        raise TxFailed(AUDIT, 14, f"ticket_id {given} does not match heal op ticket_id {stored}")
    if op.healer != creator:
        raise TxFailed(AUDIT, 12, "creator is not assigned healer for this heal op")
    if op.status not in CLAIMABLE_STATUSES:
        raise TxFailed(AUDIT, 13, f"heal op status {_name(op.status)} does not accept healer completion claim")
    if not op.verifiers:
        raise TxFailed(AUDIT, 13, "heal op has no independent verifier assignments")
    state = state.with_op(
        op.moved(HealOpStatus.HEALER_REPORTED, state.height, result_hash=message.manifest_hash, note=details),
    )
    return state.with_event(
        "healer_reported",
        heal_op_id=op.op_id,
        ticket_id=op.ticket,
        healer_supernode_account=op.healer,
        heal_manifest_hash=message.manifest_hash,
    )


def vote(state: State, creator: str, message: Vote) -> State:
    """`MsgSubmitHealVerification`. A vote that decides nothing leaves no trace on the op.

    Raises:
        TxFailed: the vote is refused.
    """
    if not creator:
        raise TxFailed(AUDIT, 1, "creator is required")
    if not message.op_id:
        raise TxFailed(AUDIT, 11, "heal_op_id is required")
    if not message.hash:
        raise TxFailed(AUDIT, 13, "verification_hash is required")
    op = _op(state, message.op_id)
    if op.status is not HealOpStatus.HEALER_REPORTED:
        raise TxFailed(AUDIT, 13, f"heal op status {_name(op.status)} does not accept verification")
    if creator not in op.verifiers:
        raise TxFailed(AUDIT, 12, "creator is not assigned verifier for this heal op")
    if creator in state.votes.get(op.op_id, {}):
        raise TxFailed(AUDIT, 15, "verification already submitted by creator")
    if message.verified and op.result_hash and op.result_hash != message.hash:
        # The chain gives the hex of the texts, not of the digests.
        given, stored = message.hash.encode().hex(), op.result_hash.encode().hex()
        raise TxFailed(AUDIT, 17, f"positive attestation hash {given} mismatches heal-op result hash {stored}")
    state = state.with_vote(op.op_id, creator, verified=message.verified)
    cast = state.votes[op.op_id]
    if sum(cast.get(verifier) is False for verifier in op.verifiers) >= op.majority:
        return _failed(state, op, creator, message)
    if sum(cast.get(verifier) is True for verifier in op.verifiers) >= op.majority:
        return _verified(state, op, creator, message)
    return state


def _verified(state: State, op: OpRecord, creator: str, message: Vote) -> State:
    state = state.with_op(op.moved(HealOpStatus.VERIFIED, state.height, result_hash=message.hash, note=message.details))
    ticket = state.tickets.get(op.ticket)
    if ticket is not None:
        state = state.with_ticket(ticket.healed(op.op_id, state.epoch.epoch_id, state.params.probation_epochs))
    return state.with_event(
        "verified",
        heal_op_id=op.op_id,
        ticket_id=op.ticket,
        verifier_supernode_account=creator,
        verification_hash=message.hash,
    )


def _failed(state: State, op: OpRecord, creator: str, message: Vote) -> State:
    state = state.with_op(op.moved(HealOpStatus.FAILED, state.height, result_hash=message.hash, note=message.details))
    return state.not_healed(op, state.epoch.epoch_id).with_event(
        "failed",
        heal_op_id=op.op_id,
        ticket_id=op.ticket,
        verifier_supernode_account=creator,
        verified=str(message.verified).lower(),
    )


def _op(state: State, op_id: int) -> OpRecord:
    if op_id not in state.ops:
        raise TxFailed(AUDIT, 11, f"heal op {op_id} not found")
    return state.ops[op_id]


def _name(status: HealOpStatus) -> str:
    return f"HEAL_OP_STATUS_{status.name}"


def _quoted(text: str) -> str:
    """A text in quotes, with what is special in it escaped, much as Go does it."""
    return json.dumps(text, ensure_ascii=False)
