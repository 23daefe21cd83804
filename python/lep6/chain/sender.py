"""The one actor that sends the transactions of a key: it owns the sequence of the account (chain contract §2.4-§2.7).

Transactions are prepared one at a time, what expires first comes first, and sent in the order of their sequences; many
may wait for their block. When the chain expects another sequence, higher or lower, it is adopted. A host that shares
the key prepares and sends its own messages (`Packed`) here, too.
"""

import heapq
import math
from itertools import count
from typing import Final, final

import trio
from attrs import define, evolve, field

from lep6.chain.classify import IN_MEMPOOL, expected_sequence, refusal_in, refusal_of
from lep6.chain.gas import GasPolicy
from lep6.chain.nodes import Nodes, QueryRefused
from lep6.chain.queries import TX, Queries
from lep6.chain.signing import Signer, Terms, for_simulation, hash_of, signed
from lep6.errors import ChainUnavailable, WrongChain
from lep6.keys import PrivateKey
from lep6.observe import get_logger
from lep6.ports import At
from lep6.transaction import (
    Found,
    Included,
    Indeterminate,
    Message,
    Packed,
    Pooled,
    Prepared,
    Refusal,
    Refused,
    Sent,
    Transaction,
)
from lep6.wire.cosmos.tx import v1beta1 as tx

log = get_logger("chain.sender")

TIMEOUT_BLOCKS: Final = 20
"""Blocks that a transaction has to be included."""
SEQUENCE_ATTEMPTS: Final = 3
SEQUENCE_PAUSE: Final = 0.5
"""Seconds before the second attempt with another sequence; twice as many before the third."""
LEASE_SECONDS: Final = 20.0
"""How long those that come after it wait for a prepared transaction to be sent."""
MOST_REMEMBERED: Final = 10_000


@final
@define(eq=False)
class Turns:
    """One at a time; of those that wait, the most urgent is next."""

    _waiting: list[tuple[float, int, trio.Event]] = field(factory=list)
    _order: "count[int]" = field(factory=count)
    _is_taken: bool = False

    async def take(self, urgency: float) -> None:
        """Wait for one's turn. The less, the more urgent."""
        await trio.lowlevel.checkpoint()
        if not self._is_taken:
            self._is_taken = True
            return
        event = trio.Event()
        entry = (urgency, next(self._order), event)
        heapq.heappush(self._waiting, entry)
        try:
            await event.wait()
        except trio.Cancelled:
            if event.is_set():
                self.give()  # it was handed over in this moment
            else:
                self._waiting.remove(entry)
                heapq.heapify(self._waiting)
            raise

    def give(self) -> None:
        """The turn is over."""
        if self._waiting:
            *_, event = heapq.heappop(self._waiting)
            event.set()
        else:
            self._is_taken = False


@final
@define(eq=False, kw_only=True)
class Sender:
    """Prepares and sends for one key."""

    key: PrivateKey
    nodes: Nodes
    queries: Queries
    gas: GasPolicy = field(factory=GasPolicy)
    timeout_blocks: int = TIMEOUT_BLOCKS
    _turns: Turns = field(init=False, factory=Turns)
    _number: int | None = field(init=False, default=None)
    """The account's, once it is known."""
    _next: int | None = field(init=False, default=None)
    """The next sequence; `None` when the chain is to be asked."""
    _reserved: dict[int, float] = field(init=False, factory=dict)
    """Sequences that were given out and not used yet, with the time until which they are waited for."""
    _changed: trio.Event = field(init=False, factory=trio.Event)
    _outs: dict[Message | Packed, int] = field(init=False, factory=dict)
    """How many transactions with a message have run out of gas."""
    _sent: dict[str, Message | Packed] = field(init=False, factory=dict)
    """What was sent and not looked up with an end yet, by hash."""

    async def prepare(self, message: Message | Packed, *, last_height: int | None) -> Prepared:
        """See `Chain.prepare`. Of those that wait for their turn, the one with the lowest `last_height` is next."""
        await self._turns.take(math.inf if last_height is None else last_height)
        try:
            for attempt in range(SEQUENCE_ATTEMPTS):
                await trio.sleep(attempt * SEQUENCE_PAUSE)
                prepared = await self._prepare(message, last_height)
                if prepared != Refused(Refusal.SEQUENCE):
                    return prepared
            return Refused(Refusal.SEQUENCE)
        except (ChainUnavailable, WrongChain) as error:
            log.warning("transaction_not_prepared", reason=str(error))
            return Indeterminate()
        finally:
            self._turns.give()

    async def broadcast(self, transaction: Transaction) -> Sent:
        """See `Chain.broadcast`. Transactions go out in the order of their sequences."""
        sequence = transaction.sequence
        await self._wait_for_those_before(sequence)
        if self._reserved.pop(sequence, None) is None:
            return Refused(Refusal.SEQUENCE)  # it waited too long, or the chain expects another: it was not sent
        self._remember(transaction)
        try:
            return await self._broadcast(transaction)
        finally:
            self._changed.set()
            self._changed = trio.Event()

    async def lookup(self, tx_hash: str) -> At[Found]:
        """See `Chain.lookup`."""
        found = await self.queries.lookup(tx_hash)
        message = self._sent.get(tx_hash)
        if isinstance(found.value, Included) and message is not None:
            del self._sent[tx_hash]
            if found.value.refusal is Refusal.GAS:
                self._outs[message] = self._outs.get(message, 0) + 1
            else:
                self._outs.pop(message, None)
        return found

    async def _prepare(self, message: Message | Packed, last_height: int | None) -> Prepared:
        signer, height = await self._signer()
        if signer is None or self._next is None:
            return Refused(Refusal.FUNDS)  # an account that does not exist was never given anything
        timeout = height + self.timeout_blocks
        timeout = timeout if last_height is None else min(timeout, last_height)
        if timeout <= height:
            return Refused(Refusal.LATE)
        terms = Terms(self._next, 0, 1, timeout)
        used = await self._simulate(signer, message, terms)
        if not isinstance(used, int):
            return used
        limit = self.gas.limit(used, outs=self._outs.get(message, 0))
        terms = evolve(terms, gas_limit=limit, fee=self.gas.fee(limit))
        raw = signed(signer, message, terms)
        self._next = terms.sequence + 1
        self._reserved[terms.sequence] = trio.current_time() + LEASE_SECONDS
        return Transaction(message, hash_of(raw), terms.sequence, timeout, raw)

    async def _signer(self) -> tuple[Signer | None, int]:
        """Who signs, and the height that the chain is at. The sequence is known afterwards."""
        if self._number is None or self._next is None:
            account = await self.queries.account_info(self.key.public.address)
            if account.value is None:
                log.error("account_unknown", account=self.key.public.address, hint="send it some ulume")
                return None, account.height
            self._number = account.value.number
            self._next = account.value.sequence if self._next is None else self._next
            height = account.height
        else:
            height = (await self.queries.latest_block()).height
        return Signer(self.key, self.nodes.chain_id, self._number), height

    async def _simulate(self, signer: Signer, message: Message | Packed, terms: Terms) -> int | Refused | Indeterminate:
        """The gas that it uses, or why it would be refused (chain contract §2.4)."""
        request = tx.SimulateRequest(tx_bytes=for_simulation(signer, message, terms))
        try:
            reply = await self.nodes.ask(f"{TX}/Simulate", request, tx.SimulateResponse)
        except QueryRefused as error:
            refusal = refusal_in(error.message)
            if refusal is Refusal.SEQUENCE:
                self._adopt(expected_sequence(error.message))
            elif refusal is Refusal.GAS:
                self._outs[message] = self._outs.get(message, 0) + 1
            if refusal is None:
                log.warning("simulation_failed", reason=error.message)
                return Indeterminate()
            return Refused(refusal)
        used = reply.message.gas_info.gas_used if reply.message.gas_info is not None else 0
        if not used:
            log.warning("simulation_says_nothing")
            return Indeterminate()
        return used

    async def _broadcast(self, transaction: Transaction) -> Sent:
        request = tx.BroadcastTxRequest(tx_bytes=transaction.raw, mode=tx.BroadcastMode.SYNC)
        reply, is_only = await self.nodes.send(f"{TX}/BroadcastTx", request, tx.BroadcastTxResponse)
        if reply is None:
            self._adopt(None)
            return Refused(Refusal.UNSENT) if is_only else Indeterminate()
        answer = reply.tx_response
        if answer is None:
            return Indeterminate()
        if not answer.code or (answer.codespace, answer.code) == IN_MEMPOOL:
            return Pooled()
        refusal = refusal_of(answer.codespace, answer.code)
        self._adopt(expected_sequence(answer.raw_log) if refusal is Refusal.SEQUENCE else None)
        log.warning("transaction_refused", code=answer.code, codespace=answer.codespace, reason=answer.raw_log)
        # Another node may have taken it before this one refused it.
        return Refused(refusal) if is_only else Indeterminate()

    async def _wait_for_those_before(self, sequence: int) -> None:
        await trio.lowlevel.checkpoint()
        while True:
            now = trio.current_time()
            before = [until for earlier, until in self._reserved.items() if earlier < sequence and until > now]
            if not before:
                return
            with trio.move_on_at(min(before)):
                await self._changed.wait()

    def _adopt(self, expected: int | None) -> None:
        """The chain expects this sequence next, be it higher or lower; `None`: it is to be asked.

        What was reserved is void: it would be refused, or leave a gap.
        """
        self._next = expected
        self._reserved.clear()

    def _remember(self, transaction: Transaction) -> None:
        self._sent[transaction.tx_hash] = transaction.message
        while len(self._sent) > MOST_REMEMBERED:
            del self._sent[next(iter(self._sent))]
