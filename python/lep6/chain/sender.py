"""The one actor that sends the transactions of a key: it owns the sequence of the account (chain contract §2.4-§2.7).

Transactions are prepared one at a time, what expires first comes first, and sent in the order of their sequences; many
may wait for their block. When the chain expects another sequence, higher or lower, it is adopted. A host that shares
the key prepares and sends its own messages (`Packed`) here, too.
"""

import heapq
import math
from itertools import count
from typing import Final, TypeVar, final

import trio
from attrs import define, evolve, field, frozen

from lep6.chain.classify import IN_MEMPOOL, expected_sequence, refusal_in, refusal_of
from lep6.chain.gas import GasPolicy
from lep6.chain.nodes import Nodes, QueryRefused
from lep6.chain.queries import TX, Queries
from lep6.chain.sequences import Sequences
from lep6.chain.signing import Signer, Terms, for_simulation, hash_of, signed
from lep6.errors import ChainUnavailable
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

K = TypeVar("K")
V = TypeVar("V")

TIMEOUT_BLOCKS: Final = 20
"""Blocks that a transaction has to be included."""
SEQUENCE_ATTEMPTS: Final = 3
SEQUENCE_PAUSE: Final = 0.5
"""Seconds before the second attempt with another sequence; twice as many before the third."""
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
@frozen
class Mismatch:
    """The chain expects another sequence."""

    expected: int | None
    """`None` when it does not say which."""


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
    _sequences: Sequences = field(init=False, factory=Sequences)
    _outs: dict[Message | Packed, int] = field(init=False, factory=dict)
    """How many transactions with a message have run out of gas."""
    _raises: int = field(init=False, default=0)
    """How often the price was raised since a transaction was last included."""
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
        except ChainUnavailable as error:
            log.warning("transaction_not_prepared", reason=str(error))
            return Indeterminate()
        finally:
            self._turns.give()

    async def broadcast(self, transaction: Transaction) -> Sent:
        """See `Chain.broadcast`. Transactions go out in the order of their sequences, one after the other's answer."""
        sequence, tx_hash = transaction.sequence, transaction.tx_hash
        await self._sequences.wait_for_those_before(sequence)
        is_again = tx_hash in self._sent
        if not is_again and not self._sequences.is_held(sequence, tx_hash):
            return Refused(Refusal.SEQUENCE)  # it waited too long, or the chain expects another: it was not sent
        self._sequences.is_being_sent(sequence, tx_hash)
        _keep(self._sent, tx_hash, transaction.message)
        try:
            answer = await self._broadcast(transaction)
        finally:
            self._sequences.is_answered(sequence, tx_hash)
        if isinstance(answer, Refused):
            if is_again:
                return Indeterminate()  # what was sent before may be in a mempool, or in a block
            self._sent.pop(tx_hash, None)
        return answer

    async def lookup(self, tx_hash: str) -> At[Found]:
        """See `Chain.lookup`."""
        found = await self.queries.lookup(tx_hash)
        message = self._sent.get(tx_hash)
        if isinstance(found.value, Included) and message is not None:
            del self._sent[tx_hash]
            if found.value.refusal is Refusal.GAS:
                self._ran_out(message)
            else:
                self._outs.pop(message, None)
                self._raises = max(0, self._raises - 1)
        return found

    async def _prepare(self, message: Message | Packed, last_height: int | None) -> Prepared:
        signer, height = await self._signer()
        sequence = self._sequences.next
        if signer is None or sequence is None:
            return Refused(Refusal.FUNDS)  # an account that does not exist was never given anything
        timeout = height + self.timeout_blocks
        timeout = timeout if last_height is None else min(timeout, last_height)
        if timeout <= height:
            return Refused(Refusal.LATE)
        used = await self._simulate(signer, message, Terms(sequence, 0, 1, timeout))
        if not isinstance(used, int):
            return used
        if self._sequences.next != sequence:
            return Refused(Refusal.SEQUENCE)  # another one was adopted meanwhile
        limit = self.gas.limit(used, outs=self._outs.get(message, 0))
        terms = Terms(sequence, limit, self.gas.fee(limit, raises=self._raises), timeout)
        raw = signed(signer, message, terms)
        self._sequences.reserve(sequence, hash_of(raw))
        return Transaction(message, hash_of(raw), sequence, timeout, raw)

    async def _signer(self) -> tuple[Signer | None, int]:
        """Who signs, and the height that the chain is at. The sequence is known afterwards."""
        if self._number is None or self._sequences.next is None:
            account = await self.queries.account_info(self.key.public.address)
            if account.value is None:
                log.error("account_unknown", account=self.key.public.address, hint="send it some ulume")
                return None, account.height
            self._number = account.value.number
            if self._sequences.next is None:
                self._sequences.next = account.value.sequence
            height = account.height
        else:
            height = (await self.queries.latest_block()).height
        return Signer(self.key, self.nodes.chain_id, self._number), height

    async def _simulate(self, signer: Signer, message: Message | Packed, terms: Terms) -> int | Refused | Indeterminate:
        """The gas that it uses, or why it would be refused (chain contract §2.4).

        A simulation takes no other sequence than the chain expects: that of the first transaction that was not sent.
        """
        sequence = self._sequences.first_unsent(terms.sequence)
        for _ in range(SEQUENCE_ATTEMPTS):
            used = await self._simulate_as(signer, message, evolve(terms, sequence=sequence))
            if not isinstance(used, Mismatch):
                return used
            if used.expected is None or not self._sequences.leads_to(used.expected, terms.sequence):
                self._sequences.adopt(used.expected)
                return Refused(Refusal.SEQUENCE)
            sequence = used.expected  # one was sent, or not yet, meanwhile
        return Refused(Refusal.SEQUENCE)

    async def _simulate_as(
        self, signer: Signer, message: Message | Packed, terms: Terms
    ) -> int | Refused | Indeterminate | Mismatch:
        request = tx.SimulateRequest(tx_bytes=for_simulation(signer, message, terms))
        try:
            reply = await self.nodes.ask(f"{TX}/Simulate", request, tx.SimulateResponse)
        except QueryRefused as error:
            refusal = refusal_in(error.message)
            if refusal is None:
                log.warning("simulation_failed", reason=error.message)
                return Indeterminate()
            if refusal is Refusal.SEQUENCE:
                return Mismatch(expected_sequence(error.message))
            if refusal is Refusal.GAS:
                self._ran_out(message)
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
            self._sequences.adopt(None)
            return Refused(Refusal.UNSENT) if is_only else Indeterminate()
        answer = reply.tx_response
        if answer is None:
            return Indeterminate()
        if not answer.code or (answer.codespace, answer.code) == IN_MEMPOOL:
            return Pooled()
        refusal = refusal_of(answer.codespace, answer.code)
        if refusal is Refusal.GAS:
            self._ran_out(transaction.message)
        elif refusal is Refusal.FEE:
            self._raises += 1
        self._sequences.adopt(expected_sequence(answer.raw_log) if refusal is Refusal.SEQUENCE else None)
        log.warning("transaction_refused", code=answer.code, codespace=answer.codespace, reason=answer.raw_log)
        # Another node may have taken it before this one refused it.
        return Refused(refusal) if is_only else Indeterminate()

    def _ran_out(self, message: Message | Packed) -> None:
        _keep(self._outs, message, self._outs.get(message, 0) + 1)


def _keep(kept: dict[K, V], key: K, value: V) -> None:
    """Note something, and let go of the oldest when it is too much."""
    kept[key] = value
    while len(kept) > MOST_REMEMBERED:
        del kept[next(iter(kept))]
