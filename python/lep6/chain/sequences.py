"""The sequences of one account, as its sender gives them out (chain contract §2.6)."""

import math
from typing import Final, final

import trio
from attrs import define, field, frozen

LEASE_SECONDS: Final = 5.0
"""How long those that come after it wait for a prepared transaction to be sent."""


@final
@frozen
class Reservation:
    """A sequence that a transaction has, until the chain has answered."""

    tx_hash: str
    until: float
    """How long those after it wait for it, on Trio's clock."""


@final
@define(eq=False)
class Sequences:
    """Given out in advance, one after the other, and used in that order."""

    next: int | None = None
    """The one that is given out next; `None` when the chain is to be asked."""
    _reserved: dict[int, Reservation] = field(factory=dict)
    _changed: trio.Event = field(factory=trio.Event)

    def reserve(self, sequence: int, tx_hash: str) -> None:
        """Give a sequence to a transaction."""
        self._reserved[sequence] = Reservation(tx_hash, trio.current_time() + LEASE_SECONDS)
        self.next = sequence + 1

    def first_unsent(self, sequence: int) -> int:
        """The first sequence that was given out and not used, up to this one: what the chain expects now."""
        now = trio.current_time()
        return min((own for own, held in self._reserved.items() if held.until > now), default=sequence)

    def leads_to(self, expected: int, sequence: int) -> bool:
        """Whether what was given out reaches from what the chain expects to this sequence, without a gap."""
        return expected <= sequence and all(own in self._reserved for own in range(expected, sequence))

    def is_held(self, sequence: int, tx_hash: str) -> bool:
        """Whether a transaction still has its sequence."""
        held = self._reserved.get(sequence)
        return held is not None and held.tx_hash == tx_hash

    def is_being_sent(self, sequence: int, tx_hash: str) -> None:
        """Those after it wait for the chain's answer, however long it takes."""
        if self.is_held(sequence, tx_hash):
            self._reserved[sequence] = Reservation(tx_hash, math.inf)

    def is_answered(self, sequence: int, tx_hash: str) -> None:
        """The chain has answered, or will not: nobody waits any more."""
        if self.is_held(sequence, tx_hash):
            del self._reserved[sequence]
        self._notify()

    def adopt(self, expected: int | None) -> None:
        """The chain expects this one, be it higher or lower; `None`: it is to be asked.

        What was given out is void: it would be refused, or leave a gap.
        """
        self.next = expected
        self._reserved.clear()
        self._notify()

    async def wait_for_those_before(self, sequence: int) -> None:
        """Wait until all that were given out before this one are used, or were waited for long enough."""
        await trio.lowlevel.checkpoint()
        while True:
            now = trio.current_time()
            before = [held.until for own, held in self._reserved.items() if own < sequence and held.until > now]
            if not before:
                return
            with trio.move_on_at(min(before)):
                await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
