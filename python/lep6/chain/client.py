"""The chain as one account uses it: a `Chain`, an `Accounts` and a `Registrations`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import final

from attrs import frozen

from lep6.chain.gas import GasPolicy
from lep6.chain.nodes import Connect, Nodes
from lep6.chain.queries import Queries
from lep6.chain.sender import TIMEOUT_BLOCKS, Sender
from lep6.grpc import Address, dial
from lep6.keys import PrivateKey, PublicKey
from lep6.model import Action, Block, HealOp, HealOpStatus, Page, Parameters, Supernode, Ticket
from lep6.ports import At
from lep6.transaction import Found, Message, Prepared, Sent, Transaction


@final
@frozen(eq=False)
class LumeraChain:
    """A Lumera chain over gRPC. See `ports.Chain`, `ports.Accounts` and `ports.Registrations` for its methods."""

    queries: Queries
    sender: Sender
    """Sends for the key; a host that shares it sends here, too."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        addresses: Sequence[Address],
        chain_id: str,
        key: PrivateKey,
        *,
        random: Random,
        gas: GasPolicy | None = None,
        timeout_blocks: int = TIMEOUT_BLOCKS,
        connect: Connect = dial,
    ) -> "AsyncIterator[LumeraChain]":
        """Be ready to use the chain. Nothing is asked before it is needed."""
        async with Nodes.open(addresses, chain_id, random=random, connect=connect) as nodes:
            queries = Queries(nodes)
            sender = Sender(
                key=key, nodes=nodes, queries=queries, gas=gas or GasPolicy(), timeout_blocks=timeout_blocks
            )
            yield cls(queries, sender)

    async def latest_block(self) -> Block:
        """See `Chain.latest_block`."""
        return await self.queries.latest_block()

    async def parameters(self) -> At[Parameters]:
        """See `Chain.parameters`."""
        return await self.queries.parameters()

    async def heal_op(self, op_id: int, /) -> At[HealOp | None]:
        """See `HealOps.heal_op`."""
        return await self.queries.heal_op(op_id)

    async def heal_ops(self, status: HealOpStatus, /, *, page: bytes = b"") -> At[Page]:
        """See `Chain.heal_ops`."""
        return await self.queries.heal_ops(status, page=page)

    async def action(self, ticket: Ticket, /) -> At[Action | None]:
        """See `Chain.action`."""
        return await self.queries.action(ticket)

    async def public_key(self, address: str, /) -> PublicKey | None:
        """See `Accounts.public_key`."""
        return await self.queries.public_key(address)

    async def legacy_address(self, address: str, /) -> str | None:
        """See `Accounts.legacy_address`."""
        return await self.queries.legacy_address(address)

    async def supernode(self, account: str, /) -> Supernode | None:
        """See `Registrations.supernode`."""
        return await self.queries.supernode(account)

    async def is_account(self, address: str, /) -> bool:
        """See `Registrations.is_account`."""
        return await self.queries.is_account(address)

    async def prepare(self, message: Message, /, *, last_height: int | None) -> Prepared:
        """See `Chain.prepare`."""
        return await self.sender.prepare(message, last_height=last_height)

    async def broadcast(self, transaction: Transaction, /) -> Sent:
        """See `Chain.broadcast`."""
        return await self.sender.broadcast(transaction)

    async def lookup(self, tx_hash: str, /) -> At[Found]:
        """See `Chain.lookup`."""
        return await self.sender.lookup(tx_hash)
