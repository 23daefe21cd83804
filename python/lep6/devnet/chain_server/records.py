"""The chain's records as messages (chain contract §1.3-§1.6, §5)."""

from datetime import UTC, datetime
from typing import Final

from attrs import asdict

from lep6.devnet.chain import Account, ChainParams, EpochAnchor, Event, OpRecord, SuperNode, TicketState
from lep6.keys import pack_key
from lep6.model import Action
from lep6.wire.cosmos.auth.v1beta1 import BaseAccount
from lep6.wire.cosmos.base.abci.v1beta1 import Event as EventMessage
from lep6.wire.cosmos.base.abci.v1beta1 import EventAttribute
from lep6.wire.cosmos.vesting.v1beta1 import AnyVestingAccount, BaseVestingAccount
from lep6.wire.google.protobuf import Any
from lep6.wire.lumera.action.v1 import Action as ActionMessage
from lep6.wire.lumera.action.v1 import ActionState, ActionType
from lep6.wire.lumera.audit.v1 import EpochAnchor as EpochAnchorMessage
from lep6.wire.lumera.audit.v1 import (
    HealOp,
    HealOpStatus,
    Params,
    StorageProofResultClass,
    StorageTruthEnforcementMode,
    TicketDeteriorationState,
)
from lep6.wire.lumera.supernode.v1 import (
    IpAddressHistory,
    SupernodeAccountHistory,
    SuperNodeState,
    SuperNodeStateRecord,
)
from lep6.wire.lumera.supernode.v1 import SuperNode as SuperNodeMessage

_ACCOUNT_URL: Final = "/cosmos.auth.v1beta1.BaseAccount"
_VESTING_URL: Final = "/cosmos.vesting.v1beta1.ContinuousVestingAccount"
_PRICE: Final = "10000ulume"


def params_message(params: ChainParams) -> Params:
    """`Params`, as far as the chain in a box has them."""
    return Params(
        epoch_length_blocks=params.epoch_length,
        epoch_zero_height=params.epoch_zero_height,
        keep_last_epoch_entries=params.keep_epochs,
        storage_truth_max_self_heal_ops_per_epoch=params.max_ops_per_epoch,
        storage_truth_probation_epochs=params.probation_epochs,
        storage_truth_node_suspicion_decay_per_epoch=params.suspicion_decay,
        storage_truth_ticket_deterioration_decay_per_epoch=params.ticket_decay,
        storage_truth_node_suspicion_threshold_probation=params.suspicion_probation_threshold,
        storage_truth_ticket_deterioration_heal_threshold=params.heal_threshold,
        storage_truth_enforcement_mode=StorageTruthEnforcementMode(params.mode),
        storage_truth_pattern_escalation_window=params.escalation_window,
        storage_truth_heal_deadline_epochs=params.deadline_epochs,
        storage_truth_heal_verifier_count=params.verifier_count,
    )


def op_message(op: OpRecord) -> HealOp:
    """`HealOp`."""
    return HealOp(
        heal_op_id=op.op_id,
        ticket_id=op.ticket,
        scheduled_epoch_id=op.scheduled_epoch,
        healer_supernode_account=op.healer,
        verifier_supernode_accounts=list(op.verifiers),
        status=HealOpStatus(op.status),
        created_height=op.created_height,
        updated_height=op.updated_height,
        deadline_epoch_id=op.deadline_epoch,
        result_hash=op.result_hash,
        notes=op.notes,
    )


def anchor_message(anchor: EpochAnchor) -> EpochAnchorMessage:
    """`EpochAnchor`, without the commitments."""
    epoch = anchor.epoch
    return EpochAnchorMessage(
        epoch_id=epoch.epoch_id,
        epoch_start_height=epoch.first_height,
        epoch_end_height=epoch.last_height,
        epoch_length_blocks=epoch.last_height - epoch.first_height + 1,
        seed=anchor.seed,
        active_supernode_accounts=list(anchor.active),
        target_supernode_accounts=list(anchor.targets),
    )


def ticket_message(ticket: TicketState) -> TicketDeteriorationState:
    """`TicketDeteriorationState`."""
    fields = asdict(ticket)
    result = StorageProofResultClass(fields.pop("last_result_class"))
    return TicketDeteriorationState(ticket_id=fields.pop("ticket"), last_result_class=result, **fields)


def action_message(action: Action) -> ActionMessage:
    """`Action`: a Cascade action's, with a price of no meaning."""
    return ActionMessage(
        creator=action.creator,
        action_id=action.ticket,
        action_type=ActionType.CASCADE,
        metadata=action.metadata,
        price=_PRICE,
        state=ActionState(action.state),
        app_pubkey=action.app_pubkey,
    )


def supernode_message(node: SuperNode) -> SuperNodeMessage:
    """`SuperNode`. Its histories have one entry each, from when it was registered."""
    since = node.states[0].height
    return SuperNodeMessage(
        validator_address=node.validator,
        states=[SuperNodeStateRecord(SuperNodeState(was.state), was.height, was.reason) for was in node.states],
        prev_ip_addresses=[IpAddressHistory(node.host, since)] if node.host else [],
        supernode_account=node.account,
        p2p_port=node.p2p_port,
        prev_supernode_accounts=[SupernodeAccountHistory(node.account, since)],
    )


def base_account_message(account: Account) -> BaseAccount:
    """`BaseAccount`; without a key while the account has shown none."""
    key = pack_key(account.public_key) if account.public_key is not None else None
    return BaseAccount(account.address, key, account.number, account.sequence)


def account_message(account: Account) -> Any:
    """An account as the chain keeps it: as it is, or inside a vesting account."""
    base = base_account_message(account)
    if not account.is_vesting:
        return Any(_ACCOUNT_URL, bytes(base))
    return Any(_VESTING_URL, bytes(AnyVestingAccount(BaseVestingAccount(base))))


def event_message(event: Event) -> EventMessage:
    """An event."""
    return EventMessage(event.kind, [EventAttribute(name, value, index=True) for name, value in event.attributes])


def moment(seconds: float) -> datetime:
    """A time of the chain, from seconds since the Unix epoch."""
    return datetime.fromtimestamp(seconds, UTC)
