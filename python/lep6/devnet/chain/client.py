"""The chain in a box behind the ports that lep6 uses, for one account."""

from collections.abc import Callable
from typing import final

import trio
from attrs import define, evolve, field
from grpclib.const import Status

from lep6.chain.classify import expected_sequence, refusal_in, refusal_of
from lep6.devnet.chain import gas
from lep6.devnet.chain.accounts import Account
from lep6.devnet.chain.chain import Chain
from lep6.devnet.chain.paging import QueryError
from lep6.devnet.chain.queries import View
from lep6.devnet.chain.sequencer import Sequencer
from lep6.devnet.chain.transactions import Tx
from lep6.errors import ChainUnavailable, InvalidMessage
from lep6.keys import PublicKey
from lep6.model import Action, Block, HealOp, HealOpStatus, Page, Parameters, Supernode, Ticket
from lep6.ports import At
from lep6.transaction import (
    Absent,
    Found,
    Included,
    Message,
    Pooled,
    Prepared,
    Refusal,
    Refused,
    Sent,
    Transaction,
)

_IN_MEMPOOL = ("sdk", 19)


@final
@define(eq=False)
class ChainClient:
    """A `lep6.ports.Chain`, and its `Accounts` and `Registrations`.

    Each call is one step: cancelled, it has not happened. A transaction gets its sequence when it is prepared. When the
    chain expects another one it is refused, and the next one has the sequence that was expected, be it higher or lower.
    """

    chain: Chain
    account: str
    """Signs what is sent."""
    lag: Callable[[], int] = field(kw_only=True, default=lambda: 0)
    """By how many blocks the node is behind that answers the next query. Transactions go to one that is not."""
    timeout_blocks: int = field(kw_only=True, default=10)
    """Blocks after which a transaction is not included any more."""
    _sequencer: Sequencer | None = field(default=None, init=False)
    """`None` when the chain is to be asked."""

    async def latest_block(self) -> Block:
        """See `Chain.latest_block`."""
        return (await self._view()).latest_block()

    async def parameters(self) -> At[Parameters]:
        """See `Chain.parameters`."""
        view = await self._view()
        return At(view.params().parameters, view.height)

    async def heal_op(self, op_id: int, /) -> At[HealOp | None]:
        """See `HealOps.heal_op`."""
        view = await self._view()
        try:
            return At(view.heal_op(op_id).op, view.height)
        except QueryError as error:
            _must_be_absence(error)
            return At(None, view.height)

    async def heal_ops(self, status: HealOpStatus, /, *, page: bytes = b"") -> At[Page]:
        """See `Chain.heal_ops`."""
        view = await self._view()
        try:
            rows = view.heal_ops_by_status(status, key=page)
        except QueryError as error:
            raise ChainUnavailable(str(error)) from error
        return At(Page(tuple(record.op for record in rows.rows), rows.next_key), view.height)

    async def action(self, ticket: Ticket, /) -> At[Action | None]:
        """See `Chain.action`."""
        view = await self._view()
        try:
            return At(view.action(ticket), view.height)
        except QueryError as error:
            _must_be_absence(error)
            return At(None, view.height)

    async def public_key(self, address: str, /) -> PublicKey | None:
        """See `Accounts.public_key`."""
        account = _account(await self._view(), address)
        return None if account is None else account.public_key

    async def legacy_address(self, address: str, /) -> str | None:
        """See `Accounts.legacy_address`."""
        account = _account(await self._view(), address)
        return None if account is None else account.legacy_address

    async def supernode(self, account: str, /) -> Supernode | None:
        """See `Registrations.supernode`."""
        try:
            found = (await self._view()).supernode_by_account(account)
        except QueryError as error:
            _must_be_absence(error)
            return None
        return Supernode(found.account, found.host)

    async def is_account(self, address: str, /) -> bool:
        """See `Registrations.is_account`."""
        return _account(await self._view(), address) is not None

    async def prepare(self, message: Message, /, *, last_height: int | None) -> Prepared:
        """See `Chain.prepare`."""
        view = await self._view()
        timeout = view.height + self.timeout_blocks
        if last_height is not None:
            timeout = min(timeout, last_height)
        if timeout <= view.height:
            return Refused(Refusal.LATE)
        sequencer = self._sequencer = self._sequencer or _sequencer(view, self.account)
        tx = Tx(
            creator=self.account,
            message=message,
            sequence=sequencer.expected,  # a simulation takes no other
            timeout_height=timeout,
            gas_limit=0,
            fee=1,
        )
        try:
            limit = gas.gas_limit(self.chain.simulate(tx))
        except QueryError as error:
            return self._refused(refusal_in(error.message) or Refusal.OTHER, error.message)
        tx = evolve(tx, sequence=sequencer.reserve(), gas_limit=limit, fee=gas.fee(limit))
        return Transaction(message, tx.tx_hash, tx.sequence, tx.timeout_height, tx.raw)

    async def broadcast(self, transaction: Transaction, /) -> Sent:
        """See `Chain.broadcast`."""
        await trio.lowlevel.checkpoint()
        try:
            tx = Tx.decode(transaction.raw)
        except InvalidMessage:
            return Refused(Refusal.OTHER)
        sequencer = self._sequencer = self._sequencer or _sequencer(self.chain.at(), self.account)
        result = self.chain.submit(tx)
        if result.code == 0:
            sequencer.used(tx.sequence)
        elif (result.codespace, result.code) != _IN_MEMPOOL and not _is_included(self.chain.at(), tx.tx_hash):
            sequencer.give_back(tx.sequence)
            return self._refused(refusal_of(result.codespace, result.code), result.log)
        return Pooled()

    async def lookup(self, tx_hash: str, /) -> At[Found]:
        """See `Chain.lookup`."""
        view = await self._view()
        try:
            result = view.tx(tx_hash)
        except QueryError as error:
            _must_be_absence(error)
            return At(Absent(), view.height)
        refusal = refusal_of(result.codespace, result.code) if result.code else None
        return At(Included(result.height, refusal), view.height)

    async def _view(self) -> View:
        await trio.lowlevel.checkpoint()
        return self.chain.at(self.lag())

    def _refused(self, why: Refusal, text: str) -> Refused:
        """A refusal; one of the sequence tells the next."""
        if why is Refusal.SEQUENCE:
            expected = expected_sequence(text)
            self._sequencer = None if expected is None else Sequencer(expected)
        return Refused(why)


def _sequencer(view: View, address: str) -> Sequencer:
    account = _account(view, address)
    return Sequencer(0 if account is None else account.sequence)


def _account(view: View, address: str) -> Account | None:
    try:
        return view.account(address)
    except QueryError as error:
        _must_be_absence(error)
        return None


def _is_included(view: View, tx_hash: str) -> bool:
    """Whether a block has a transaction: then what a mempool says of it is no refusal."""
    try:
        view.tx(tx_hash)
    except QueryError:
        return False
    return True


def _must_be_absence(error: QueryError) -> None:
    """Go on if the chain says that there is no such thing.

    Raises:
        ChainUnavailable: it says something else.
    """
    if error.status is not Status.NOT_FOUND:
        raise ChainUnavailable(str(error)) from error
