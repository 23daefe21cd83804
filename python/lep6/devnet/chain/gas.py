"""What transactions cost (chain contract §2.5)."""

from fractions import Fraction
from math import ceil
from typing import final

from attrs import frozen

from lep6.transaction import Claim, Message


@final
@frozen(kw_only=True)
class GasRules:
    """The gas that the parts of a transaction use, and its least price."""

    ante: int = 60_000
    """Of everything before the message: signature, size, fee."""
    claim: int = 40_000
    """Of a claim's message."""
    vote: int = 50_000
    """Of a vote's message."""
    base_fee: Fraction = Fraction(25, 10_000)
    """In ulume per gas. The chain begins with this one and moves it; here it stays."""

    def used(self, message: Message) -> int:
        """The gas of a whole transaction with a message."""
        return self.ante + (self.claim if isinstance(message, Claim) else self.vote)

    def least_fee(self, gas_limit: int) -> int:
        """The least fee in ulume for a gas limit."""
        return ceil(self.base_fee * gas_limit)


ADJUSTMENT = 1.3
PADDING = 50_000
PRICE = 0.025
"""In ulume per gas: ten times the first base fee."""


def gas_limit(used: int) -> int:
    """The gas limit that clients ask for when a simulation has used some gas."""
    return int(used * ADJUSTMENT) + PADDING


def fee(limit: int) -> int:
    """The fee in ulume that clients offer for a gas limit."""
    return max(1, ceil(PRICE * limit))
