"""The sequences of one account's transactions, as its sender counts them."""

from typing import final

from attrs import define, field


@final
@define(eq=False)
class Sequencer:
    """Hands out sequences in advance, until the chain says that it expects another: then there is a new sequencer.

    What was handed out and never sent leaves a gap: the next transaction is refused, and tells the way back.
    """

    expected: int
    """What the chain expects next, as far as is known."""
    _next: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._next = self.expected

    def reserve(self) -> int:
        """The sequence of a transaction to be sent after those that were reserved before."""
        self._next += 1
        return self._next - 1

    def used(self, sequence: int) -> None:
        """A transaction of this sequence waits in the mempool."""
        self.expected = sequence + 1
        self._next = max(self._next, self.expected)

    def give_back(self, sequence: int) -> None:
        """A transaction of this sequence was refused for something else."""
        if self._next == sequence + 1:
            self._next = sequence
