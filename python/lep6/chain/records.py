"""The chain's records as lep6's values."""

import re
from typing import Final, final

from attrs import frozen

from lep6.chain.gas import DENOM
from lep6.errors import InvalidKey, InvalidMessage
from lep6.keys import PublicKey, unpack_key
from lep6.model import Action, ActionState, EnforcementMode, HealOp, HealOpStatus, Parameters, Supernode, Ticket
from lep6.protobuf import parse
from lep6.wire.cosmos.auth import v1beta1 as auth
from lep6.wire.cosmos.base import v1beta1 as base
from lep6.wire.cosmos.vesting import v1beta1 as vesting
from lep6.wire.google import protobuf
from lep6.wire.lumera.action import v1 as action
from lep6.wire.lumera.audit import v1 as audit
from lep6.wire.lumera.supernode import v1 as registry

BASE_ACCOUNT: Final = "/cosmos.auth.v1beta1.BaseAccount"
BASE_VESTING: Final = "/cosmos.vesting.v1beta1.BaseVestingAccount"
VESTING: Final = "/cosmos.vesting."
AMOUNT: Final = re.compile(r"[0-9]{1,78}")
"""As the chain writes an amount: at most 256 bits."""


@final
@frozen
class Standing:
    """How a supernode is registered."""

    address: str
    """As `Supernode.address`."""
    state: str
    """The name of its state: `active`, `postponed` and so on; `state 9` for one that this lep6 does not know."""
    reason: str
    """Why it is in this state, where the chain says so."""


def heal_op(record: audit.HealOp) -> HealOp:
    """A heal op.

    Raises:
        InvalidMessage: it is none that the chain makes.
    """
    if not record.heal_op_id or not record.healer_supernode_account:
        raise InvalidMessage(f"heal op {record.heal_op_id} has no id or no healer")
    try:
        status = HealOpStatus(int(record.status))
    except ValueError:
        status = HealOpStatus.UNSPECIFIED
    return HealOp(
        op_id=record.heal_op_id,
        ticket=Ticket(record.ticket_id),
        healer=record.healer_supernode_account,
        verifiers=tuple(record.verifier_supernode_accounts),
        status=status,
        result_hash=record.result_hash,
        scheduled_epoch=record.scheduled_epoch_id,
        deadline_epoch=record.deadline_epoch_id,
    )


def parameters(record: audit.Params) -> Parameters:
    """The parameters.

    Raises:
        InvalidMessage: they cannot be those of a chain.
    """
    if not record.epoch_length_blocks:
        raise InvalidMessage("the chain's parameters have epochs without blocks")
    try:
        mode = EnforcementMode(int(record.storage_truth_enforcement_mode))
    except ValueError as error:
        raise InvalidMessage(
            f"the chain has enforcement mode {int(record.storage_truth_enforcement_mode)}: this lep6 does not know it"
        ) from error
    return Parameters(mode, record.epoch_zero_height, record.epoch_length_blocks)


def cascade_action(record: action.Action) -> Action:
    """An action.

    Raises:
        InvalidMessage: it is not a Cascade action.
    """
    if record.action_type != action.ActionType.CASCADE:
        raise InvalidMessage(f"action {record.action_id} is not a Cascade action")
    try:
        state = ActionState(int(record.state))
    except ValueError:
        state = ActionState.UNSPECIFIED
    return Action(Ticket(record.action_id), record.creator, state, record.metadata, record.app_pubkey)


def supernode(record: registry.SuperNode) -> Supernode:
    """A supernode. Of its addresses the one with the greatest height counts, the first of several such."""
    newest = max(record.prev_ip_addresses, key=lambda entry: entry.height, default=None)
    return Supernode(record.supernode_account, newest.address if newest is not None else "")


def standing(record: registry.SuperNode) -> Standing:
    """How a supernode is registered. The last of its states counts."""
    last = record.states[-1] if record.states else registry.SuperNodeStateRecord()
    name = registry.SuperNodeState(int(last.state)).name
    return Standing(supernode(record).address, name.lower() if name else f"state {int(last.state)}", last.reason)


def amount(coin: base.Coin) -> int:
    """How much a coin is, in ulume.

    Raises:
        InvalidMessage: it is another coin, or no amount.
    """
    if coin.denom != DENOM or not AMOUNT.fullmatch(coin.amount):
        raise InvalidMessage(f"{coin.amount!r:.40} of {coin.denom!r:.40} is no amount of {DENOM}")
    return int(coin.amount)


def public_key(packed: protobuf.Any | None) -> PublicKey | None:
    """An account's key; `None` where it has shown none, or one of a kind that signs nothing of ours."""
    if packed is None:
        return None
    try:
        return unpack_key(packed)
    except InvalidKey:
        return None


def base_account(packed: protobuf.Any) -> auth.BaseAccount | None:
    """The account within an account of any kind; `None` where it is a kind that has no key.

    Raises:
        InvalidMessage: it is not what its type says.
    """
    if packed.type_url == BASE_ACCOUNT:
        return parse(auth.BaseAccount, packed.value)
    if packed.type_url == BASE_VESTING:
        return parse(vesting.BaseVestingAccount, packed.value).base_account
    if packed.type_url.startswith(VESTING):
        outer = parse(vesting.AnyVestingAccount, packed.value).base_vesting_account
        return outer.base_account if outer is not None else None
    return None
