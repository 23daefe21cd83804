"""Faults of a node of the chain, as they are ordered: what goes wrong, in which calls, how often or how long."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import count
from typing import Final, TypeVar, final

import trio
from attrs import define, field, frozen

from lep6.devnet.chain.failures import SDK

ALL: Final = "*"


@final
@frozen
class Unavailable:
    """The call is refused with UNAVAILABLE before anything is done."""

    message: str = "connection refused"


@final
@frozen
class Slow:
    """Nothing is done for some seconds; then the call goes on."""

    seconds: float


@final
@frozen
class AnswerLost:
    """The call is carried out; then it is broken off without an answer (RST_STREAM, CANCEL)."""


@final
@frozen
class Behind:
    """The answer is that of a node which is some blocks behind, and its height says so."""

    blocks: int


@final
@frozen
class NoIndex:
    """GetTx answers as a node without a transaction index."""


@final
@frozen
class Dropped:
    """BroadcastTx accepts a transaction, and the mempool loses it at once."""


@final
@frozen
class Late:
    """BroadcastTx accepts a transaction, and some blocks leave it out."""

    blocks: int


@final
@frozen
class SequenceMismatch:
    """Simulate and BroadcastTx refuse a transaction as if its account's sequence were another."""

    expected: int | None = None
    """The sequence that is said to be expected; `None` for one more than the transaction's."""


@final
@frozen
class OutOfGas:
    """Simulate fails for want of gas; what BroadcastTx accepts fails so in its block."""


@final
@frozen
class FailsInBlock:
    """What BroadcastTx accepts fails in its block. It pays, and has no effect."""

    code: int
    codespace: str = SDK
    log: str = ""
    """Empty for the code's description."""


@final
@frozen
class CheckRefused:
    """BroadcastTx answers as if CheckTx had refused."""

    code: int
    codespace: str = SDK
    log: str = ""
    """Empty for the code's description."""


CallFault = Unavailable | Slow | AnswerLost | Behind
"""What can happen to any call, whatever it asks."""

TxFault = Dropped | Late | SequenceMismatch | OutOfGas | FailsInBlock | CheckRefused
"""What can happen to a transaction."""

Fault = CallFault | TxFault | NoIndex

F = TypeVar("F")


@final
@define(eq=False)
class _Order:
    fault: Fault
    methods: str
    left: float
    """Calls."""
    until: float
    """On Trio's clock."""
    account: str

    def concerns(self, path: str, account: str) -> bool:
        """Whether a call of a method, with a transaction of an account or none, is meant."""
        names = (path, path.removeprefix("/"), path.rpartition("/")[2], path.rpartition(".")[2])
        is_meant = any(fnmatchcase(name, self.methods) for name in names)
        return is_meant and self.account in ("", account)


@final
@define(eq=False)
class Faults:
    """The orders that stand. Each call that one concerns uses it once."""

    taken: list[tuple[str, Fault]] = field(factory=list, init=False)
    """Methods and faults, each time that one came to pass, in order."""
    _orders: dict[int, _Order] = field(factory=dict, init=False)
    _ids: Iterator[int] = field(factory=lambda: count(1), init=False)

    def order(
        self,
        fault: Fault,
        methods: str = ALL,
        *,
        count: int | None = 1,
        seconds: float | None = None,
        account: str = "",
    ) -> int:
        """Order a fault; gives the order's number.

        Args:
            fault: What is to happen.
            methods: A pattern (`*`, `?`) of full method names (`lumera.audit.v1.Query/HealOp`), or of their end
                (`HealOp`, `Query/HealOp`). Calls of others are left alone, as are methods that the fault has no
                meaning for.
            count: In how many calls; `None` for any number.
            seconds: For how long from now on; `None` without end.
            account: Only for transactions of this account. Faults that are not about transactions never match one.
        """
        order_id = next(self._ids)
        left = float("inf") if count is None else count
        until = float("inf") if seconds is None else trio.current_time() + seconds
        self._orders[order_id] = _Order(fault, methods, left, until, account)
        return order_id

    def cancel(self, order_id: int | None = None) -> None:
        """Take an order back, or all of them. What is not there any more is no error."""
        if order_id is None:
            self._orders.clear()
        else:
            self._orders.pop(order_id, None)

    def take(self, kind: type[F], path: str, account: str = "") -> F | None:
        """The oldest fault of a kind that a call meets, used up by one."""
        now = trio.current_time()
        self._orders = {id_: order for id_, order in self._orders.items() if order.left > 0 and now < order.until}
        for order in self._orders.values():
            if isinstance(order.fault, kind) and order.concerns(path, account):
                order.left -= 1
                self.taken.append((path, order.fault))
                return order.fault
        return None
