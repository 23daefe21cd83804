"""What a transaction may cost (chain contract §2.5)."""

from math import ceil, inf
from typing import Final, final

from attrs import field, frozen, validators

DENOM: Final = "ulume"
MOST_ATTEMPTS: Final = 10
MOST_RAISES: Final = 8
"""Raises of the price, one upon the other: eight times as much by default."""


@final
@frozen(kw_only=True)
class GasPolicy:
    """How much gas is asked for, and what is paid for it."""

    price: float = field(default=0.025, validator=[validators.gt(0), validators.lt(inf)])
    """In ulume per gas."""
    adjustment: float = field(default=1.3, validator=[validators.ge(1), validators.lt(inf)])
    """Gas asked for, as a multiple of what the simulation used."""
    escalation: float = field(default=1.3, validator=[validators.gt(1), validators.lt(inf)])
    """By what the adjustment grows when a transaction ran out of gas, and the price when it was too low."""
    attempts: int = field(default=3, validator=[validators.ge(1), validators.le(MOST_ATTEMPTS)])
    """Transactions of growing gas before it is given up for a while."""
    padding: int = field(default=50_000, validator=validators.ge(0))

    def limit(self, used: int, *, outs: int = 0) -> int:
        """The gas limit after a simulation that used so much, when so many transactions have run out of gas."""
        return int(used * self.adjustment * self.escalation ** min(outs, self.attempts - 1)) + self.padding

    def fee(self, limit: int, *, raises: int = 0) -> int:
        """What is offered for a gas limit, in ulume, when so many offers were too low."""
        return max(1, ceil(self.price * self.escalation ** min(raises, MOST_RAISES) * limit))
