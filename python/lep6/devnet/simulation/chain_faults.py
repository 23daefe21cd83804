"""Faults between a node and the chain."""

from collections.abc import Awaitable, Callable
from typing import Any, final

import trio
from attrs import define, field

from lep6.devnet.chain import Chain
from lep6.devnet.simulation.chance import Fault, Weather
from lep6.devnet.simulation.witness import Witness
from lep6.errors import ChainUnavailable
from lep6.transaction import Indeterminate, Pooled, Refusal, Refused, Transaction

LONGEST_DELAY = 25.0
"""Seconds; a query has ten."""
LONGEST_LAG = 20
OUT_OF_GAS = (11, "sdk", "out of gas in location: WriteFlat; gasWanted: 1, gasUsed: 2: out of gas")
REFUSALS = (Refusal.MEMPOOL, Refusal.FEE, Refusal.FUNDS, Refusal.SEQUENCE)


@final
@define(eq=False)
class FaultyConnection:
    """What lies between one node and the chain. A `Between`."""

    account: str
    chain: Chain
    weather: Weather
    witness: Witness
    matters: Callable[[], None]
    """Is told when a transaction has gone out."""
    is_dead: bool = field(default=False, init=False)
    """Whether the node was cut off: nothing that it does reaches the chain any more."""

    def lag(self) -> int:
        """By how many blocks the node of the chain is behind that answers now."""
        return self.weather.random.randint(1, LONGEST_LAG) if self.weather.strikes(Fault.LAGGING) else 0

    async def __call__(self, name: str, argument: Any, call: Callable[[], Awaitable[Any]], /) -> Any:
        """Pass a call on, or let it come to harm."""
        if self.is_dead or self.weather.strikes(Fault.LOST):
            return _lost(name)
        if self.weather.strikes(Fault.LATE):
            await trio.sleep(self.weather.random.uniform(0.0, LONGEST_DELAY))
        if name == "prepare" and self.weather.strikes(Fault.NO_KEY):
            return Refused(Refusal.KEY)
        if name == "broadcast":
            return await self._broadcast(argument, call)
        answer = await call()
        if self.weather.strikes(Fault.DOUBLED):
            answer = await call()
        if self.weather.strikes(Fault.LOST_ANSWER):
            return _lost(name)
        return answer

    async def _broadcast(self, transaction: Transaction, call: Callable[[], Awaitable[Any]]) -> Any:
        weather = self.weather
        if self.is_dead:
            return Indeterminate()
        if weather.strikes(Fault.REFUSED):
            return Refused(weather.random.choice(REFUSALS))
        self.witness.sends(self.account, transaction)
        if weather.strikes(Fault.FAILED):
            self.chain.fail_in_block(transaction.tx_hash, *OUT_OF_GAS)
        if weather.strikes(Fault.HELD):
            self.chain.hold(transaction.tx_hash, weather.random.randint(1, 12))
        answer = await call()
        self.matters()
        if weather.strikes(Fault.DOUBLED):
            answer = await call()
        if isinstance(answer, Refused):
            self.witness.is_refused(transaction)
        if isinstance(answer, Pooled) and weather.strikes(Fault.DROPPED):
            self.chain.drop(transaction.tx_hash)
        return Indeterminate() if weather.strikes(Fault.LOST_ANSWER) else answer


def _lost(name: str) -> Any:
    """What the caller gets of a call whose answer does not come."""
    if name in ("prepare", "broadcast"):
        return Indeterminate()
    raise ChainUnavailable("connection reset")
