"""The chain as the heal roles see it: every query with a deadline, every answer held against what was seen before."""

import math
from collections.abc import Awaitable, Callable, Collection
from typing import Final, TypeVar, final

import trio
from attrs import define, field, frozen

from lep6.errors import ChainUnavailable
from lep6.heal.decisions import Duty, Sight
from lep6.keys import PublicKey
from lep6.model import Action, Block, EnforcementMode, HealOp, HealOpStatus, Parameters, Ticket
from lep6.observe import get_logger
from lep6.ports import Accounts, At, Chain, Clock
from lep6.transaction import Found

log = get_logger("heal.sight")

T = TypeVar("T")

MOST_PAGES: Final = 1000
"""Pages of one listing that are read; more is a chain gone mad."""
LEAP_BLOCKS: Final = 1000
"""A height so far above all others has to be told twice before it is believed."""
FRESH_SECONDS: Final = 60.0
FRESH_BLOCKS: Final = 10
"""How old, in seconds or in times between blocks, the newest block of a node may be that is not behind."""


async def bounded(query: Callable[[], Awaitable[T]], seconds: float) -> T:
    """The answer to a question to the chain.

    Raises:
        ChainUnavailable: it did not come in time, or as the port raises it.
    """
    try:
        with trio.fail_after(seconds):
            return await query()
    except trio.TooSlowError as error:
        raise ChainUnavailable(f"no answer within {seconds:g} s") from error


@final
@frozen(eq=False)
class BoundedAccounts:
    """What the chain knows of accounts, with a deadline for each answer. It is an `Accounts`."""

    accounts: Accounts
    query_seconds: float

    async def public_key(self, address: str, /) -> PublicKey | None:
        """See `Accounts.public_key`."""
        return await bounded(lambda: self.accounts.public_key(address), self.query_seconds)

    async def legacy_address(self, address: str, /) -> str | None:
        """See `Accounts.legacy_address`."""
        return await bounded(lambda: self.accounts.legacy_address(address), self.query_seconds)


@final
@define(eq=False)
class ChainSight:
    """Asks the chain for one node, and remembers how far it was. It is a `HealOps`."""

    account: str
    """Of this node."""
    chain: Chain
    clock: Clock
    query_seconds: float
    block_seconds: float
    """Time between blocks: assumed, until it was measured."""
    is_enabled: bool
    """Whether new work may be begun at all."""
    height: int = 0
    """The greatest height of any answer."""
    parameters: Parameters | None = None
    """As the chain last told them."""
    is_mode_known: bool = False
    """Whether the last question for them was answered."""
    _seen: dict[int, tuple[HealOp | None, int]] = field(factory=dict)
    """What an op was when it was first seen so, and at which height."""
    _first_block: Block | None = None
    _leap: int | None = None
    """A height far above all others, which one answer had."""
    _is_tip_known: bool = False
    """Whether a block was seen that was made just now. Until then all nodes that answer may be behind."""

    async def look(self, op_id: int) -> Sight | None:
        """What the chain says of an op now; `None` when it does not answer."""
        known = self.height
        try:
            answer = await self.heal_op(op_id)
        except ChainUnavailable as error:
            log.warning("chain_unavailable", op_id=op_id, reason=str(error))
            return None
        if answer.height < known:
            return Sight(answer.value, is_current=False, is_confirmed=False)
        before, height = self._seen.get(op_id, (None, answer.height))
        if before != answer.value or op_id not in self._seen:
            self._seen[op_id] = (answer.value, answer.height)
            return Sight(answer.value, is_current=True, is_confirmed=False)
        return Sight(answer.value, is_current=True, is_confirmed=answer.height > height and self._is_tip_known)

    def seen(self, op_id: int) -> At[HealOp | None] | None:
        """What the chain said of an op when it was last asked, and the height at which it first said so."""
        seen = self._seen.get(op_id)
        return None if seen is None else At(*seen)

    def forget(self, op_id: int) -> None:
        """Forget what was seen of an op that this node has nothing of."""
        self._seen.pop(op_id, None)

    def forget_all_but(self, op_ids: Collection[int]) -> None:
        """Forget what was seen of other ops than these."""
        self._seen = {op_id: seen for op_id, seen in self._seen.items() if op_id in op_ids}

    async def heal_op(self, op_id: int, /) -> At[HealOp | None]:
        """See `HealOps.heal_op`."""
        return await self._ask(lambda: self.chain.heal_op(op_id))

    async def action(self, ticket: Ticket) -> Action | None:
        """The action of a ticket. Raises as the port does."""
        return (await self._ask(lambda: self.chain.action(ticket))).value

    async def lookup(self, tx_hash: str) -> At[Found] | None:
        """Where a transaction is; `None` when the chain does not answer."""
        try:
            return await self._ask(lambda: self.chain.lookup(tx_hash))
        except ChainUnavailable as error:
            log.warning("chain_unavailable", tx_hash=tx_hash, reason=str(error))
            return None

    async def listing(self, status: HealOpStatus, is_wanted: Callable[[HealOp], bool]) -> list[HealOp]:
        """The wanted ops in a status, of all pages; those that expire first come first. Raises as the port does."""
        wanted: list[HealOp] = []
        page = b""
        for _ in range(MOST_PAGES):
            answer = await self._ask(lambda page=page: self.chain.heal_ops(status, page=page))  # type: ignore[misc]
            wanted += filter(is_wanted, answer.value.ops)
            page = answer.value.next_page
            if not page:
                break
        else:
            log.error("listing_has_no_end", status=status.name, pages=MOST_PAGES)
        return sorted(wanted, key=lambda op: (op.deadline_epoch or math.inf, op.op_id))

    async def refresh(self) -> None:
        """Ask for the newest block and the parameters. Without an answer they stay as they were, the mode unknown."""
        try:
            await self._refresh_block()
        except ChainUnavailable as error:
            log.warning("chain_unavailable", what="newest block", reason=str(error))
        try:
            self.parameters = (await self._ask(self.chain.parameters)).value
            self.is_mode_known = True
        except ChainUnavailable as error:
            self.is_mode_known = False
            log.warning("chain_unavailable", what="parameters", reason=str(error))

    def duty(self, op: HealOp | None) -> Duty:
        """What this node may do about an op now (LEP-6 §18: the deadline epoch counts to its last block)."""
        may_start = (
            self.is_enabled
            and self.is_mode_known
            and self.parameters is not None
            and self.parameters.mode is not EnforcementMode.UNSPECIFIED
        )
        return Duty(self.account, may_start, is_window_open=self.blocks_left(op) > 0)

    def blocks_left(self, op: HealOp | None) -> float:
        """Blocks that may still be made in which a transaction about the op counts; infinite where there is no end."""
        last = self.last_height(op)
        return math.inf if last is None else last - self.height

    def seconds_left(self, op: HealOp | None) -> float:
        """About how long it takes until they are made; 0 when there are none."""
        return max(0.0, self.blocks_left(op) * self.block_seconds)

    def last_height(self, op: HealOp | None) -> int | None:
        """The last block of the op's window; `None` where it has none, or it is not known."""
        if op is None or not op.deadline_epoch or self.parameters is None:
            return None
        return self.parameters.last_height(op.deadline_epoch)

    async def _refresh_block(self) -> None:
        block = await bounded(self.chain.latest_block, self.query_seconds)
        self._reached(block.height)
        age = self.clock.now() - block.time
        if abs(age) <= max(FRESH_SECONDS, FRESH_BLOCKS * self.block_seconds):
            self._is_tip_known = True
        elif not self._is_tip_known:
            log.warning("newest_block_is_not_new", height=block.height, age=round(age), hint="check node and clock")
        first = self._first_block = self._first_block or block
        if block.height > first.height and block.time > first.time:
            self.block_seconds = (block.time - first.time) / (block.height - first.height)

    async def _ask(self, query: Callable[[], Awaitable[At[T]]]) -> At[T]:
        answer = await bounded(query, self.query_seconds)
        self._reached(answer.height)
        return answer

    def _reached(self, height: int) -> None:
        """The chain is at least this far. A leap has to be told twice: one mad answer must not make all others old."""
        if height <= self.height + LEAP_BLOCKS or (self._leap is not None and abs(height - self._leap) <= LEAP_BLOCKS):
            self.height, self._leap = max(self.height, height), None
        else:
            self._leap = height
