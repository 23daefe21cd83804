"""The queries of the chain, answered from one height (chain contract §1, §3.3)."""

from collections.abc import Mapping
from typing import TypeVar, final

from attrs import field, frozen
from grpclib.const import Status

from lep6.devnet.chain.accounts import Account
from lep6.devnet.chain.epochs import Epoch, EpochAnchor
from lep6.devnet.chain.ops import OpRecord
from lep6.devnet.chain.paging import DEFAULT_LIMIT, QueryError, Rows, page
from lep6.devnet.chain.params import ChainParams
from lep6.devnet.chain.state import State
from lep6.devnet.chain.supernodes import SuperNode, validator_bytes
from lep6.devnet.chain.tickets import TicketState
from lep6.devnet.chain.transactions import TxResult
from lep6.errors import InvalidKey
from lep6.keys import address_bytes
from lep6.model import Action, Block, HealOpStatus, Ticket

T = TypeVar("T")


@final
@frozen(eq=False)
class View:
    """The chain as a node at some height tells it. Every query may raise `QueryError`."""

    state: State
    """All that is known at the height; for tests and reports, since the chain itself answers queries only."""
    _results: Mapping[str, TxResult] = field(repr=False)

    @property
    def height(self) -> int:
        """The height that the answers are from."""
        return self.state.height

    def latest_block(self) -> Block:
        """The newest block."""
        return Block(self.state.height, self.state.time)

    def params(self) -> ChainParams:
        """The parameters of `x/audit`."""
        return self.state.params

    def current_epoch(self) -> Epoch:
        """The epoch of the newest block: right after an epoch's last block still that one."""
        return self.state.epoch

    def current_epoch_anchor(self) -> EpochAnchor:
        """The anchor of the epoch of the newest block."""
        anchor = self.state.anchors.get(self.state.epoch.epoch_id)
        return _found(anchor, "current epoch anchor not found")

    def epoch_anchor(self, epoch_id: int) -> EpochAnchor:
        """The anchor of an epoch that has begun and was not pruned."""
        return _found(self.state.anchors.get(epoch_id), "epoch anchor not found")

    def heal_op(self, op_id: int) -> OpRecord:
        """A heal op."""
        if not op_id:
            raise QueryError(Status.INVALID_ARGUMENT, "heal_op_id is required")
        return _found(self.state.ops.get(op_id), "heal op not found")

    def heal_ops_by_status(
        self,
        status: HealOpStatus,
        *,
        key: bytes = b"",
        limit: int = DEFAULT_LIMIT,
        offset: int = 0,
        reverse: bool = False,
        count_total: bool = False,
    ) -> Rows[OpRecord]:
        """A page of the ops in a status, by id."""
        if status is HealOpStatus.UNSPECIFIED:
            raise QueryError(Status.INVALID_ARGUMENT, "status is required")
        ops = (op for op in self.state.ops.values() if op.status is status)
        return page(ops, _op_cursor, key=key, limit=limit, offset=offset, reverse=reverse, count_total=count_total)

    def heal_ops_by_ticket(
        self,
        ticket: str,
        *,
        key: bytes = b"",
        limit: int = DEFAULT_LIMIT,
        offset: int = 0,
        reverse: bool = False,
        count_total: bool = False,
    ) -> Rows[OpRecord]:
        """A page of the ops of a ticket, by id."""
        if not ticket:
            raise QueryError(Status.INVALID_ARGUMENT, "ticket_id is required")
        ops = (op for op in self.state.ops.values() if op.ticket == ticket)
        return page(ops, _op_cursor, key=key, limit=limit, offset=offset, reverse=reverse, count_total=count_total)

    def ticket_state(self, ticket: str) -> TicketState:
        """How bad the chain thinks a ticket is."""
        return _found(self.state.tickets.get(Ticket(ticket)), "ticket deterioration state not found")

    def action(self, action_id: str) -> Action:
        """The record of a file."""
        return _found(self.state.actions.get(Ticket(action_id)), "failed to get action by ID")

    def supernode(self, validator: str) -> SuperNode:
        """A supernode by its validator operator's address."""
        try:
            validator_bytes(validator)
        except InvalidKey as error:
            raise QueryError(Status.INVALID_ARGUMENT, f"invalid validator address: {error}") from error
        found = next((node for node in self.state.supernodes.values() if node.validator == validator), None)
        return _found(found, f"no supernode found for validator {validator}")

    def supernode_by_account(self, account: str) -> SuperNode:
        """A supernode by its account."""
        return _found(self.state.supernodes.get(account), "supernode not found")

    def list_supernodes(
        self,
        *,
        key: bytes = b"",
        limit: int = 0,
        offset: int = 0,
        reverse: bool = False,
        count_total: bool = False,
    ) -> Rows[SuperNode]:
        """A page of the supernodes, by the bytes of their validators. Without a limit they are counted, too."""
        return page(
            self.state.supernodes.values(),
            lambda node: validator_bytes(node.validator),
            key=key,
            limit=limit,
            offset=offset,
            reverse=reverse,
            count_total=count_total or not limit,
        )

    def account(self, address: str) -> Account:
        """An account."""
        if not address:
            raise QueryError(Status.INVALID_ARGUMENT, "address cannot be empty")
        known = self.state.accounts.get(address)
        if known is None:
            _check_address(address)
        return _found(known, f"account {address} not found")

    def tx(self, tx_hash: str) -> TxResult:
        """What became of a transaction in a block of this height or below."""
        result = self._results.get(tx_hash.upper())
        known = result is not None and result.height <= self.height
        return _found(result if known else None, f"tx not found: {tx_hash.upper()}")

    def votes(self, op_id: int) -> Mapping[str, bool]:
        """The votes on an op by verifier. For tests and reports: the chain has no such query."""
        return dict(self.state.votes.get(op_id, {}))

    def voters(self, op_id: int) -> tuple[str, ...]:
        """Who has voted on an op, in the order of the votes. For tests and reports: the chain has no such query."""
        return tuple(self.state.votes.get(op_id, {}))


def op_cursor(op_id: int) -> bytes:
    """The page key of a heal op."""
    return op_id.to_bytes(8, "big")


def _op_cursor(op: OpRecord) -> bytes:
    return op_cursor(op.op_id)


def _check_address(address: str) -> None:
    try:
        address_bytes(address)
    except InvalidKey as error:
        raise QueryError(Status.UNKNOWN, str(error)) from error


def _found(value: T | None, message: str) -> T:
    if value is None:
        raise QueryError(Status.NOT_FOUND, message)
    return value
