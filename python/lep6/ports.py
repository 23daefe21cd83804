"""What lep6 needs of the world, as Protocols. Production, the network in a box and the tests each bring their own."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Generic, Protocol, TypeVar

import trio
from attrs import frozen

from lep6.keys import PublicKey
from lep6.model import Action, Block, HealOp, HealOpStatus, Key, Page, Parameters, Supernode, Ticket
from lep6.transaction import Found, Message, Prepared, Sent, Transaction

T = TypeVar("T")


class Blocking(Protocol):
    """Runs work that blocks or computes: in a thread under a limiter, or inline in the simulation."""

    async def run(self, work: Callable[[], T], /, *, cancel: Callable[[], object] | None = None) -> T:
        """Run `work` and give its result.

        When the caller is cancelled, `cancel` is called, which must make `work` return soon, and the work is waited
        for. Without `cancel` the work is short and runs to its end.
        """


class Sink(Protocol):
    """Takes values as they arrive from the network, and judges them."""

    async def __call__(self, values: Sequence[tuple[Key, bytes]], /) -> Collection[Key]:
        """Keep the true ones; give the keys of those that are not true to their key."""


@frozen
class Retrieval:
    """How a retrieval from the network ended. A key in neither set was not asked for: enough had been found."""

    found: frozenset[Key]
    """Keys whose value the sink accepted."""
    missing: frozenset[Key]
    """Keys for which every node that should hold them was asked, and none gave a true value."""
    unreachable: frozenset[Key]
    """Those of `missing` for which a node did not answer: asking later may find them."""
    false: frozenset[Key]
    """Keys for which some node gave a false value, found elsewhere or not."""


@frozen
class Placement:
    """Where a value went that was given to the network."""

    key: Key
    copies: int
    """Nodes that say they hold it."""
    wanted: int
    """Nodes that should."""

    @property
    def is_placed(self) -> bool:
        """Whether the value is on as many nodes as it should be."""
        return self.copies >= self.wanted


class Network(Protocol):
    """The storage network, other nodes only: a value of one's own counts for nothing here."""

    async def retrieve(self, keys: Sequence[Key], /, *, need: int, sink: Sink) -> Retrieval:
        """Ask for values, in the order given, until the sink has accepted `need` of them.

        Values go to the sink as they come. Where one is refused, another node is asked for it. No more are asked for
        at a time than are still needed. Cancelled: what the sink took, it keeps.
        """

    async def store(self, items: Sequence[tuple[Key, bytes]], /) -> Sequence[Placement]:
        """Give values to the nodes that should hold them: a placement for each. Storing is idempotent.

        Cancelled: some are stored.
        """


class Accounts(Protocol):
    """What the chain knows of accounts."""

    async def public_key(self, address: str, /) -> PublicKey | None:
        """The key that the account has shown the chain; `None` when it has not shown one."""

    async def legacy_address(self, address: str, /) -> str | None:
        """The address that the account had before its migration; `None` when it was not migrated."""


class Registrations(Protocol):
    """Whom the chain knows. Every query may raise `ChainUnavailable`; none has a deadline."""

    async def supernode(self, account: str, /) -> Supernode | None:
        """The supernode that is registered under an account now, whatever its state; `None` when there is none."""

    async def is_account(self, address: str, /) -> bool:
        """Whether the chain has an account at this address."""


@frozen
class At(Generic[T]):
    """What the chain answered, and the height that the answering node was at."""

    value: T
    height: int


class HealOps(Protocol):
    """The chain's heal ops."""

    async def heal_op(self, op_id: int, /) -> At[HealOp | None]:
        """The op, or `None` when the answering node knows no such op.

        Raises:
            ChainUnavailable: no node answered.
        """


class Chain(HealOps, Protocol):
    """The Lumera chain, as one account uses it. Every query may raise `ChainUnavailable`; none has a deadline."""

    async def latest_block(self) -> Block:
        """The newest block of the answering node."""

    async def parameters(self) -> At[Parameters]:
        """The parameters that a heal depends on."""

    async def heal_ops(self, status: HealOpStatus, /, *, page: bytes = b"") -> At[Page]:
        """A page of the ops in a status."""

    async def action(self, ticket: Ticket, /) -> At[Action | None]:
        """The action of a ticket, or `None` when the answering node knows no such action."""

    async def prepare(self, message: Message, /, *, last_height: int | None) -> Prepared:
        """Make and sign a transaction. Nothing is sent yet: its hash is to be journalled first.

        Its time-out height is near, and at most `last_height`.
        """

    async def broadcast(self, transaction: Transaction, /) -> Sent:
        """Send a transaction. Cancelled: it may have been sent."""

    async def lookup(self, tx_hash: str, /) -> At[Found]:
        """Where a transaction is."""


class ArtefactSource(Protocol):
    """Where a verifier gets the rebuilt file of an op: its assigned healer, and nobody else."""

    def open(self, op: HealOp, /, *, size_bound: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The file as chunks, in order. The iteration ends only when the whole file was given.

        `size_bound`: bytes that the file cannot have more of.

        Raises:
            FetchFailed: on entering or while iterating. What came until then is evidence of nothing.
        """


class IdentityResolver(Protocol):
    """Tells who is at the other end of a connection."""

    def resolve(self, transport: trio.abc.Stream, /) -> str | None:
        """The account of the caller, or `None` when it cannot be told. What a request says of it does not count."""


class Clock(Protocol):
    """Wall-clock time, for what must mean the same after a restart."""

    def now(self) -> float:
        """Seconds since the Unix epoch."""


@frozen
class PublishState:
    """How far the publishing of one staging is."""

    confirmed: bytes
    """One bit per value, most significant first, in the staging's publishing order: set when it is stored."""
    attempts: int
    """Attempts that have failed in a row."""
    not_before: float
    """When the next attempt is due, in seconds since the Unix epoch."""
    reason: str
    """Why the last attempt failed; empty when none has."""


class PublishJournal(Protocol):
    """Durable progress of publishing, by staging."""

    async def load(self, staging: str, seal: bytes, /) -> PublishState | None:
        """The state of a staging; `None` when there is none for a staging with this seal."""

    async def save(self, staging: str, seal: bytes, state: PublishState, /) -> None:
        """Record a state, durably: once this returns it survives a power cut."""

    async def forget(self, staging: str, /) -> None:
        """Remove the state of a staging that is gone."""
