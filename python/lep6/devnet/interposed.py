"""A chain with something between it and its user: a fault, a lag, a death."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar, final

from attrs import frozen

from lep6.model import Action, Block, HealOp, HealOpStatus, Page, Parameters, Ticket
from lep6.ports import At, Chain
from lep6.transaction import Found, Message, Prepared, Sent, Transaction

T = TypeVar("T")


class Between(Protocol):
    """Passes a call of the chain on, or does not."""

    async def __call__(self, name: str, argument: Any, call: Callable[[], Awaitable[T]], /) -> T:
        """What the caller gets. `name` and `argument` tell the method and its first argument."""


@final
@frozen(eq=False)
class InterposedChain:
    """A `Chain` all of whose calls go through `between`."""

    chain: Chain
    between: Between

    async def latest_block(self) -> Block:
        """See `Chain.latest_block`."""
        return await self.between("latest_block", None, self.chain.latest_block)

    async def parameters(self) -> At[Parameters]:
        """See `Chain.parameters`."""
        return await self.between("parameters", None, self.chain.parameters)

    async def heal_op(self, op_id: int, /) -> At[HealOp | None]:
        """See `HealOps.heal_op`."""
        return await self.between("heal_op", op_id, lambda: self.chain.heal_op(op_id))

    async def heal_ops(self, status: HealOpStatus, /, *, page: bytes = b"") -> At[Page]:
        """See `Chain.heal_ops`."""
        return await self.between("heal_ops", status, lambda: self.chain.heal_ops(status, page=page))

    async def action(self, ticket: Ticket, /) -> At[Action | None]:
        """See `Chain.action`."""
        return await self.between("action", ticket, lambda: self.chain.action(ticket))

    async def prepare(self, message: Message, /, *, last_height: int | None) -> Prepared:
        """See `Chain.prepare`."""
        return await self.between("prepare", message, lambda: self.chain.prepare(message, last_height=last_height))

    async def broadcast(self, transaction: Transaction, /) -> Sent:
        """See `Chain.broadcast`."""
        return await self.between("broadcast", transaction, lambda: self.chain.broadcast(transaction))

    async def lookup(self, tx_hash: str, /) -> At[Found]:
        """See `Chain.lookup`."""
        return await self.between("lookup", tx_hash, lambda: self.chain.lookup(tx_hash))
