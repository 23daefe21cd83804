"""Questions to the chain, each answered with a height (chain contract §1, §3.3)."""

from collections.abc import Callable
from typing import Final, TypeVar, final

import betterproto2
from attrs import frozen

from lep6.chain import records
from lep6.chain.classify import Answer, answer_of, refusal_of
from lep6.chain.gas import DENOM
from lep6.chain.nodes import LATEST_BLOCK, Nodes, QueryRefused
from lep6.errors import ChainUnavailable, InvalidMessage
from lep6.keys import PublicKey
from lep6.model import Action, Block, HealOp, HealOpStatus, Page, Parameters, Supernode, Ticket
from lep6.observe import get_logger
from lep6.ports import At
from lep6.transaction import Absent, Found, Included
from lep6.wire.cosmos.auth import v1beta1 as auth
from lep6.wire.cosmos.bank import v1beta1 as bank
from lep6.wire.cosmos.base.query import v1beta1 as paging
from lep6.wire.cosmos.base.tendermint import v1beta1 as tendermint
from lep6.wire.cosmos.tx import v1beta1 as tx
from lep6.wire.lumera import evmigration
from lep6.wire.lumera.action import v1 as action
from lep6.wire.lumera.audit import v1 as audit
from lep6.wire.lumera.supernode import v1 as registry

log = get_logger("chain.queries")

T = TypeVar("T")
M = TypeVar("M", bound=betterproto2.Message)

PAGE_ROWS: Final = 100
AUDIT: Final = "/lumera.audit.v1.Query"
AUTH: Final = "/cosmos.auth.v1beta1.Query"
TX: Final = "/cosmos.tx.v1beta1.Service"


@final
@frozen
class AccountInfo:
    """What a transaction has to know of its account."""

    number: int
    sequence: int


@final
@frozen(eq=False)
class Queries:
    """All questions that lep6 asks. Each raises `ChainUnavailable` when no answer says anything."""

    nodes: Nodes

    async def latest_block(self) -> Block:
        """See `Chain.latest_block`."""
        request = tendermint.GetLatestBlockRequest()
        try:
            reply = await self.nodes.newest(LATEST_BLOCK, request, tendermint.GetLatestBlockResponse)
        except QueryRefused as error:
            raise ChainUnavailable(f"{LATEST_BLOCK}: {error}") from error
        header = reply.message.sdk_block.header if reply.message.sdk_block is not None else None
        if header is None or header.time is None:
            raise ChainUnavailable("the newest block has no header")
        return Block(header.height, header.time.timestamp())

    async def parameters(self) -> At[Parameters]:
        """See `Chain.parameters`."""
        reply = await self._ask(f"{AUDIT}/Params", audit.QueryParamsRequest(), audit.QueryParamsResponse)
        params = reply.value.params
        if params is None:
            raise ChainUnavailable("the answer has no parameters")
        return At(_read(lambda: records.parameters(params)), reply.height)

    async def heal_op(self, op_id: int, /) -> At[HealOp | None]:
        """See `HealOps.heal_op`."""
        request = audit.QueryHealOpRequest(heal_op_id=op_id)
        reply = await self._find(f"{AUDIT}/HealOp", request, audit.QueryHealOpResponse)
        if reply.value is None:
            return At(None, reply.height)
        record = reply.value.heal_op
        if record is None or record.heal_op_id != op_id:
            raise ChainUnavailable(f"asked for heal op {op_id}, and got another")
        return At(_read(lambda: records.heal_op(record)), reply.height)

    async def heal_ops(self, status: HealOpStatus, /, *, page: bytes = b"") -> At[Page]:
        """See `Chain.heal_ops`."""
        request = audit.QueryHealOpsByStatusRequest(
            status=audit.HealOpStatus(int(status)), pagination=paging.PageRequest(key=page, limit=PAGE_ROWS)
        )
        reply = await self._ask(f"{AUDIT}/HealOpsByStatus", request, audit.QueryHealOpsByStatusResponse)
        ops: list[HealOp] = []
        for record in reply.value.heal_ops:
            try:
                ops.append(records.heal_op(record))
            except InvalidMessage as error:  # one of them does not hide the others
                log.error("heal_op_refused", reason=str(error))  # noqa: TRY400 # it says it all
        next_page = reply.value.pagination.next_key if reply.value.pagination is not None else b""
        return At(Page(tuple(ops), next_page), reply.height)

    async def action(self, ticket: Ticket, /) -> At[Action | None]:
        """See `Chain.action`."""
        request = action.QueryGetActionRequest(action_id=ticket)
        reply = await self._find("/lumera.action.v1.Query/GetAction", request, action.QueryGetActionResponse)
        if reply.value is None:
            return At(None, reply.height)
        record = reply.value.action
        if record is None or record.action_id != ticket:
            raise ChainUnavailable(f"asked for action {ticket}, and got another")
        return At(_read(lambda: records.cascade_action(record)), reply.height)

    async def account_info(self, address: str) -> At[AccountInfo | None]:
        """The number and the committed sequence of an account; `None` where the chain knows none."""
        request = auth.QueryAccountInfoRequest(address=address)
        reply = await self._find(f"{AUTH}/AccountInfo", request, auth.QueryAccountInfoResponse)
        if reply.value is None or reply.value.info is None:
            return At(None, reply.height)
        return At(AccountInfo(reply.value.info.account_number, reply.value.info.sequence), reply.height)

    async def balance(self, address: str) -> At[int]:
        """What an account has, in ulume. Of one that the chain does not know, 0."""
        request = bank.QueryBalanceRequest(address=address, denom=DENOM)
        reply = await self._ask("/cosmos.bank.v1beta1.Query/Balance", request, bank.QueryBalanceResponse)
        coin = reply.value.balance
        if coin is None:
            raise ChainUnavailable("the answer has no balance")
        return At(_read(lambda: records.amount(coin)), reply.height)

    async def is_syncing(self) -> bool:
        """Whether the answering node is still catching up with the chain."""
        path = "/cosmos.base.tendermint.v1beta1.Service/GetSyncing"
        reply = await self._ask(path, tendermint.GetSyncingRequest(), tendermint.GetSyncingResponse)
        return reply.value.syncing

    async def public_key(self, address: str, /) -> PublicKey | None:
        """See `Accounts.public_key`."""
        request = auth.QueryAccountRequest(address=address)
        reply = await self._find(f"{AUTH}/Account", request, auth.QueryAccountResponse)
        if reply.value is None or reply.value.account is None:
            return None
        packed = reply.value.account
        account = _read(lambda: records.base_account(packed))
        return records.public_key(account.pub_key) if account is not None else None

    async def legacy_address(self, address: str, /) -> str | None:
        """See `Accounts.legacy_address`."""
        request = evmigration.QueryMigrationRecordByNewAddressRequest(new_address=address)
        reply = await self._find(
            "/lumera.evmigration.Query/MigrationRecordByNewAddress",
            request,
            evmigration.QueryMigrationRecordByNewAddressResponse,
        )
        record = reply.value.record if reply.value is not None else None
        return record.legacy_address or None if record is not None else None

    async def supernode(self, account: str, /) -> Supernode | None:
        """See `Registrations.supernode`."""
        record = await self._supernode(account)
        return records.supernode(record) if record is not None else None

    async def standing(self, account: str) -> records.Standing | None:
        """How the supernode of an account is registered; `None` when there is none."""
        record = await self._supernode(account)
        return records.standing(record) if record is not None else None

    async def _supernode(self, account: str) -> registry.SuperNode | None:
        request = registry.QueryGetSuperNodeBySuperNodeAddressRequest(supernode_address=account)
        path = "/lumera.supernode.v1.Query/GetSuperNodeBySuperNodeAddress"
        reply = await self._find(path, request, registry.QueryGetSuperNodeBySuperNodeAddressResponse)
        record = reply.value.supernode if reply.value is not None else None
        # A record of another account does not stand for this one.
        return record if record is not None and record.supernode_account == account else None

    async def is_account(self, address: str, /) -> bool:
        """See `Registrations.is_account`."""
        reply = await self._find(
            f"{AUTH}/AccountInfo", auth.QueryAccountInfoRequest(address=address), auth.QueryAccountInfoResponse
        )
        return reply.value is not None and reply.value.info is not None and reply.value.info.address == address

    async def lookup(self, tx_hash: str, /) -> At[Found]:
        """See `Chain.lookup`. A node without an index of transactions has none; the op tells."""
        reply = await self._find(f"{TX}/GetTx", tx.GetTxRequest(hash=tx_hash), tx.GetTxResponse)
        found = reply.value.tx_response if reply.value is not None else None
        if found is None or not found.height:
            return At(Absent(), reply.height)
        if found.txhash and found.txhash.upper() != tx_hash.upper():
            raise ChainUnavailable(f"asked for transaction {tx_hash}, and got another")
        refusal = refusal_of(found.codespace, found.code) if found.code else None
        return At(Included(found.height, refusal), max(reply.height, found.height))

    async def _ask(self, path: str, request: betterproto2.Message, reply_type: type[M]) -> At[M]:
        try:
            reply = await self.nodes.ask(path, request, reply_type)
        except QueryRefused as error:
            raise ChainUnavailable(f"{path}: {error}") from error
        return At(reply.message, reply.height)

    async def _find(self, path: str, request: betterproto2.Message, reply_type: type[M]) -> At[M | None]:
        """As `_ask`, for what may not be there."""
        try:
            reply = await self.nodes.ask(path, request, reply_type)
        except QueryRefused as error:
            answer = answer_of(path.rpartition("/")[2], error.status, error.message)
            if answer is Answer.NOTHING:
                raise ChainUnavailable(f"{path}: {error}") from error
            if answer is Answer.UNINDEXED:
                log.warning("transactions_not_indexed", hint="votes are confirmed by sending them again")
            return At(None, error.height)
        return At(reply.message, reply.height)


def _read(read: Callable[[], T]) -> T:
    """A record, read. One that makes no sense is as good as no answer."""
    try:
        return read()
    except InvalidMessage as error:
        raise ChainUnavailable(str(error)) from error
