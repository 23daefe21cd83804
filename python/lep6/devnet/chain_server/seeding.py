"""What a chain is given to begin with, or later: accounts, supernodes, actions, tickets, ops."""

import json
from typing import Final

from attrs import fields

from lep6.devnet.chain import Account as KnownAccount
from lep6.devnet.chain import Chain, OpRecord, SuperNodeState, TicketState
from lep6.devnet.chain.tickets import ProofResult
from lep6.devnet.chain_server.records import action_message, supernode_message, ticket_message
from lep6.errors import InvalidMessage, Lep6Error
from lep6.keys import KeyKind, PublicKey, address_bytes
from lep6.model import Action, ActionState, HealOpStatus, Ticket
from lep6.protobuf import parse
from lep6.wire.lep6.devnet.v1 import Account, Seed
from lep6.wire.lumera.action.v1 import Action as ActionMessage
from lep6.wire.lumera.audit.v1 import HealOp, TicketDeteriorationState
from lep6.wire.lumera.supernode.v1 import SuperNode

_SAME: Final = frozenset(field.name for field in fields(TicketState)) - {"ticket", "last_result_class"}
"""Fields of a ticket that the chain in a box names as the wire does."""


class InvalidSeed(Lep6Error):
    """What a chain was to be given is none. Of what came before it, all was added."""


def read_seed(text: bytes) -> Seed:
    """A seed in the JSON of protobuf: names as in `admin.proto` or in camel case, bytes in base64.

    Raises:
        InvalidSeed: it is none.
    """
    try:
        document = json.loads(text)
        nodes = document.get("supernodes", [])
        # betterproto2 looks for a field p2_p_port, by whichever name the JSON has it.
        ports = [str(node.pop("p2p_port", "") or node.pop("p2pPort", "")) for node in nodes]
        seed = Seed.from_dict(document)
        for node, port in zip(seed.supernodes, ports, strict=True):
            node.p2p_port = port
        # Written and read again: from_dict takes values of other types as they come.
        return parse(Seed, bytes(seed))
    except Exception as error:
        raise InvalidSeed(f"not a seed of a chain: {type(error).__name__}: {error}") from error


def plant(chain: Chain, seed: Seed) -> None:
    """Add what a seed holds to a chain, or replace what is there.

    Raises:
        InvalidSeed: an address, key, state or status is none.
    """
    try:
        for account in seed.accounts:
            _add_account(chain, account)
        for node in seed.supernodes:
            _add_supernode(chain, node)
        for action in seed.actions:
            chain.add_action(_action(action))
        for ticket in seed.tickets:
            chain.set_ticket(_ticket(ticket))
        for op in seed.heal_ops:
            chain.set_op(_op(op))
    except (Lep6Error, ValueError) as error:
        raise InvalidSeed(str(error)) from error


def seed_of(chain: Chain) -> Seed:
    """The accounts, supernodes, actions and tickets that a chain knows, as what another may begin with."""
    state = chain.state
    return Seed(
        accounts=[_account_message(account) for account in state.accounts.values()],
        supernodes=[supernode_message(node) for node in state.supernodes.values()],
        actions=[action_message(action) for action in state.actions.values()],
        tickets=[ticket_message(ticket) for ticket in state.tickets.values()],
    )


def _account_message(account: KnownAccount) -> Account:
    key = account.public_key
    return Account(
        address=account.address,
        balance=account.balance,
        sequence=account.sequence,
        account_number=account.number,
        public_key=key.compressed if key is not None else b"",
        key_kind=key.kind.value if key is not None else "",
        legacy_address=account.legacy_address or "",
        is_vesting=account.is_vesting,
    )


def _add_account(chain: Chain, account: Account) -> None:
    """Without a number an account keeps the one that it has, or gets the next."""
    address_bytes(account.address)
    known = chain.state.accounts.get(account.address)
    number = account.account_number if account.account_number is not None or known is None else known.number
    key = PublicKey(KeyKind(account.key_kind), account.public_key) if account.public_key else None
    chain.add_account(
        account.address,
        account.balance,
        public_key=key,
        sequence=account.sequence,
        number=number,
        legacy_address=account.legacy_address or None,
        is_vesting=account.is_vesting,
    )


def _add_supernode(chain: Chain, node: SuperNode) -> None:
    """The last of its states and of its addresses count."""
    chain.add_supernode(
        node.supernode_account,
        SuperNodeState(node.states[-1].state) if node.states else SuperNodeState.ACTIVE,
        host=node.prev_ip_addresses[-1].address if node.prev_ip_addresses else "",
        validator=node.validator_address or None,
        p2p_port=node.p2p_port or "4445",
    )


def _action(action: ActionMessage) -> Action:
    return Action(
        Ticket(_named(action.action_id, "action")),
        action.creator,
        ActionState(action.state),
        action.metadata,
        action.app_pubkey,
    )


def _ticket(ticket: TicketDeteriorationState) -> TicketState:
    same = {name: getattr(ticket, name) for name in _SAME}
    result = ProofResult(ticket.last_result_class)
    return TicketState(ticket=Ticket(_named(ticket.ticket_id, "ticket")), last_result_class=result, **same)


def _op(op: HealOp) -> OpRecord:
    if not op.heal_op_id:
        raise InvalidMessage("a heal op has no id")
    return OpRecord(
        op_id=op.heal_op_id,
        ticket=Ticket(op.ticket_id),
        healer=op.healer_supernode_account,
        verifiers=tuple(op.verifier_supernode_accounts),
        scheduled_epoch=op.scheduled_epoch_id,
        deadline_epoch=op.deadline_epoch_id,
        created_height=op.created_height,
        updated_height=op.updated_height,
        status=HealOpStatus(op.status),
        result_hash=op.result_hash,
        notes=op.notes,
    )


def _named(name: str, what: str) -> str:
    if not name:
        raise InvalidMessage(f"the id of {what} is empty")
    return name
