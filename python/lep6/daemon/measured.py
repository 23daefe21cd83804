"""Ports with a meter before them: what passes is counted, and nothing is changed."""

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol, TypeVar, final

import trio
from attrs import define, field, frozen

from lep6.daemon.labels import Query, Said
from lep6.daemon.metrics import Metrics
from lep6.heal.decisions import Fate, fate
from lep6.heal.rows import SentTransaction
from lep6.keys import PublicKey
from lep6.model import Action, Block, HealOp, HealOpStatus, Key, Page, Parameters, Supernode, Ticket
from lep6.observe import Counter, Progress
from lep6.ports import Accounts, At, Chain, Clock, Network, Placement, Registrations, Retrieval, Sink
from lep6.transaction import (
    Claim,
    Found,
    Indeterminate,
    Message,
    Packed,
    Pooled,
    Prepared,
    Refused,
    Sent,
    Transaction,
    Vote,
)

T = TypeVar("T")

MOST_ALIVE: Final = 1000
"""Transactions whose end is waited for; of more, the oldest are not counted when they die."""


class WholeChain(Chain, Accounts, Registrations, Protocol):
    """All that a node asks the chain."""


@final
@define(eq=False)
class MeasuredChain:
    """A `Chain`, an `Accounts` and a `Registrations`."""

    inner: WholeChain
    metrics: Metrics
    clock: Clock
    block: Block | None = field(default=None, init=False)
    """The newest that was told."""
    _began: float = field(init=False)
    _alive: dict[str, tuple[Said, SentTransaction]] = field(factory=dict, init=False)
    """Transactions that went out since the start and whose end is not known, by hash."""

    def __attrs_post_init__(self) -> None:
        self._began = self.clock.now()
        self.metrics.chain_lag = self.lag_seconds

    def lag_seconds(self) -> float:
        """The age of the newest block; until there is one, the time since the start."""
        return self.clock.now() - (self._began if self.block is None else self.block.time)

    async def latest_block(self) -> Block:
        """See `Chain.latest_block`."""
        block = await self._ask("latest_block", self.inner.latest_block)
        self.metrics.answered(block.height)
        if self.block is None or block.time > self.block.time:
            self.block = block
        return block

    async def parameters(self) -> At[Parameters]:
        """See `Chain.parameters`."""
        return await self._ask_at("parameters", self.inner.parameters)

    async def heal_op(self, op_id: int, /) -> At[HealOp | None]:
        """See `HealOps.heal_op`."""
        return await self._ask_at("heal_op", lambda: self.inner.heal_op(op_id))

    async def heal_ops(self, status: HealOpStatus, /, *, page: bytes = b"") -> At[Page]:
        """See `Chain.heal_ops`."""
        return await self._ask_at("heal_ops", lambda: self.inner.heal_ops(status, page=page))

    async def action(self, ticket: Ticket, /) -> At[Action | None]:
        """See `Chain.action`."""
        return await self._ask_at("action", lambda: self.inner.action(ticket))

    async def public_key(self, address: str, /) -> PublicKey | None:
        """See `Accounts.public_key`."""
        return await self._ask("public_key", lambda: self.inner.public_key(address))

    async def legacy_address(self, address: str, /) -> str | None:
        """See `Accounts.legacy_address`."""
        return await self._ask("legacy_address", lambda: self.inner.legacy_address(address))

    async def supernode(self, account: str, /) -> Supernode | None:
        """See `Registrations.supernode`."""
        return await self._ask("supernode", lambda: self.inner.supernode(account))

    async def is_account(self, address: str, /) -> bool:
        """See `Registrations.is_account`."""
        return await self._ask("is_account", lambda: self.inner.is_account(address))

    async def prepare(self, message: Message, /, *, last_height: int | None) -> Prepared:
        """See `Chain.prepare`."""
        return await self._tell("prepare", message, lambda: self.inner.prepare(message, last_height=last_height))

    async def broadcast(self, transaction: Transaction, /) -> Sent:
        """See `Chain.broadcast`."""
        self._remember(transaction)
        answer = await self._tell("broadcast", transaction.message, lambda: self.inner.broadcast(transaction))
        if isinstance(answer, Refused):
            self._alive.pop(transaction.tx_hash, None)
        return answer

    async def lookup(self, tx_hash: str, /) -> At[Found]:
        """See `Chain.lookup`."""
        answer = await self._ask_at("lookup", lambda: self.inner.lookup(tx_hash))
        said, sent = self._alive.get(tx_hash, (None, None))
        if said is not None and sent is not None:
            end = fate(sent, answer.value, answer.height)
            if end is not Fate.UNDECIDED:
                del self._alive[tx_hash]
            if end is Fate.UNSENT:
                self.metrics.told(said, "dead")
        return answer

    async def _ask(self, query: Query, ask: Callable[[], Awaitable[T]]) -> T:
        began, is_answered = trio.current_time(), False
        try:
            answer = await ask()
            is_answered = not isinstance(answer, Indeterminate)
        finally:
            # Who waits too long cancels: that is no answer either.
            self.metrics.asked(query, trio.current_time() - began, is_answered=is_answered)
        if is_answered:
            self.metrics.succeeded("chain")
        return answer

    async def _ask_at(self, query: Query, ask: Callable[[], Awaitable[At[T]]]) -> At[T]:
        answer = await self._ask(query, ask)
        self.metrics.answered(answer.height)
        return answer

    async def _tell(self, query: Query, message: Message | Packed, tell: Callable[[], Awaitable[T]]) -> T:
        answer: T | Indeterminate = Indeterminate()
        try:
            answer = await self._ask(query, tell)
        finally:
            self._count(message, answer)
        return answer

    def _count(self, message: Message | Packed, answer: object) -> None:
        said = _said(message)
        if said is None:
            return
        if isinstance(answer, Pooled):
            self.metrics.told(said, "pooled")
        elif isinstance(answer, Refused):
            self.metrics.told(said, "refused", answer.why)
        elif isinstance(answer, Indeterminate):
            self.metrics.told(said, "indeterminate")

    def _remember(self, transaction: Transaction) -> None:
        said = _said(transaction.message)
        if said is None:
            return
        if len(self._alive) >= MOST_ALIVE:
            del self._alive[next(iter(self._alive))]
        sent = SentTransaction(transaction.tx_hash, transaction.sequence, transaction.timeout_height)
        self._alive[transaction.tx_hash] = said, sent


@final
@frozen(eq=False)
class MeasuredProgress:
    """A `Progress`."""

    inner: Progress
    metrics: Metrics

    def step(self, name: str, counter: Counter, /, *, unit: str = "B") -> AbstractContextManager[None]:
        """See `Progress.step`."""
        return self._step(name, counter, unit)

    @contextmanager
    def _step(self, name: str, counter: Counter, unit: str) -> Iterator[None]:
        with self.metrics.phase(name, counter, unit), self.inner.step(name, counter, unit=unit):
            yield


@final
@frozen(eq=False)
class MeasuredNetwork:
    """A `Network`."""

    inner: Network
    metrics: Metrics

    async def retrieve(self, keys: Sequence[Key], /, *, need: int, sink: Sink) -> Retrieval:
        """See `Network.retrieve`."""

        async def counted(values: Sequence[tuple[Key, bytes]], /) -> Collection[Key]:
            self.metrics.moved("retrieved", sum(len(value) for _, value in values))
            return await sink(values)

        return await self.inner.retrieve(keys, need=need, sink=counted)

    async def store(self, items: Sequence[tuple[Key, bytes]], /) -> Sequence[Placement]:
        """See `Network.store`. Counted when it is over, and once, on however many nodes it is."""
        placements = await self.inner.store(items)
        placed = {placement.key for placement in placements if placement.copies}
        self.metrics.moved("stored", sum(len(value) for key, value in items if key in placed))
        return placements


def _said(message: Message | Packed) -> Said | None:
    """What is told; `None`: a host's affair."""
    match message:
        case Claim():
            return "claim"
        case Vote():
            return "vote"
        case Packed():
            return None
