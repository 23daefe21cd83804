"""The mempool: transactions that wait for a block, in the order of their arrival."""

from collections.abc import Callable, Iterable
from typing import final

from attrs import define, field

from lep6.devnet.chain.failures import TxFailed
from lep6.devnet.chain.state import State
from lep6.devnet.chain.transactions import Tx

Step = Callable[[State, Tx], State]
"""What is done with a transaction whose turn it is; `TxFailed` throws it out."""


@final
@define(eq=False)
class Mempool:
    """Transactions that wait, and faults by which they wait longer."""

    capacity: int
    """Transactions that it has room for."""
    _waiting: dict[str, Tx] = field(factory=dict, init=False)
    """By hash."""
    _held: dict[str, int] = field(factory=dict, init=False)
    """The last height that must not include a transaction, by hash."""

    def __contains__(self, tx_hash: str) -> bool:
        return tx_hash in self._waiting

    @property
    def txs(self) -> tuple[Tx, ...]:
        """What waits, in the order of arrival."""
        return tuple(self._waiting.values())

    @property
    def is_full(self) -> bool:
        """Whether there is no room left."""
        return len(self._waiting) >= self.capacity

    def add(self, tx: Tx) -> None:
        """Let a transaction wait."""
        self._waiting[tx.tx_hash] = tx

    def hold(self, tx_hash: str, until: int) -> None:
        """Keep a transaction, here or to come, out of the blocks up to a height."""
        self._held[tx_hash] = until

    def remove(self, tx_hashes: Iterable[str]) -> bool:
        """Take transactions out; whether any was there."""
        found = [self._waiting.pop(tx_hash, None) is not None for tx_hash in tx_hashes]
        return any(found)

    def recheck(self, state: State, step: Step) -> State:
        """The state after the transactions that can run one after another; those that never can are thrown out."""
        state, _, hopeless = _walk(state, self.txs, step)
        self.remove(hopeless)
        return state

    def reap(self, state: State, step: Step) -> State:
        """The state after the block of this state's height has run what it includes; nothing of that waits any more."""
        free = [tx for tx in self.txs if self._held.get(tx.tx_hash, -1) < state.height]
        state, done, hopeless = _walk(state, free, step)
        self.remove([*done, *hopeless])
        return state


def _walk(state: State, waiting: Iterable[Tx], step: Step) -> tuple[State, list[str], list[str]]:
    """Step through transactions, by arrival, and by sequence within an account. Gives hashes done and hashes failed.

    A transaction whose sequence is still to come waits for another that fills the gap, maybe for ever.
    """
    done: list[str] = []
    failed: list[str] = []
    left, before = list(waiting), -1
    while len(left) != before:
        before, again = len(left), []
        for tx in left:
            if tx.is_late(state.height):
                failed.append(tx.tx_hash)
                continue
            account = state.accounts.get(tx.creator)
            if account is not None and tx.sequence > account.sequence:
                again.append(tx)
                continue
            try:
                state = step(state, tx)
                done.append(tx.tx_hash)
            except TxFailed:
                failed.append(tx.tx_hash)
        left = again
    return state, done, failed
