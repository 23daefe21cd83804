"""Watches over a running service: is the chain there and the right one, does it know us, does the loop turn.

What it finds becomes the readiness checks. A definite no ends the service only before the chain has said that it knows
this node: later a chain that is away, or another, only makes it not ready.
"""

import os
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, final

import trio
from attrs import define, field

from lep6.daemon.checks import Checks
from lep6.errors import ChainUnavailable, NotWanted, StoreDamaged, StoreUnavailable, WrongChain
from lep6.heal.rows import ClaimState, Role
from lep6.heal.service import HealService
from lep6.heal.sight import FRESH_SECONDS
from lep6.model import Block
from lep6.observe import get_logger
from lep6.ports import Blocking, Chain, Clock, Registrations

log = get_logger("daemon.guard")

LOOP_SECONDS: Final = 30.0
"""Beyond three ticks, after which the loop is thought not to turn."""
LEAST_FREE: Final = 1 << 30
"""Bytes that the disk of the stagings should have free."""
FIRST_PAUSE: Final = 0.5
"""Half of that between the first two looks; it is doubled up to a tick."""
REGISTRATION_SECONDS: Final = 600.0
"""Between questions whether the chain still knows this node."""


@final
@define(eq=False, kw_only=True)
class Guard:
    """Looks at a service once a tick."""

    heal: HealService
    chain: Chain
    registrations: Registrations
    checks: Checks
    clock: Clock
    blocking: Blocking
    data_dir: Path
    rows: Mapping[str, int] = field(factory=dict)
    """How many rows the ledger has in each state, as of the last look."""
    staging_bytes: int = 0
    block: Block | None = None
    """The newest block, as of the last answer."""
    _is_known: bool = False
    """Whether the right chain has said that it knows this node."""
    _registration_at: float = -REGISTRATION_SECONDS

    async def run(self) -> None:
        """Look, for ever.

        Raises:
            NotWanted: the chain has said for certain, and never anything else, that we cannot heal.
        """
        pause = FIRST_PAUSE
        while True:
            await self._look("chain", self._look_at_chain)
            await self._look("ledger", self._look_at_ledger)
            await self._look("disk", self._look_at_disk)
            self.look_at_loop()
            well = self.checks.well()
            self._is_known = self._is_known or (well["chain"] and well["registration"])
            # In the beginning readiness should not wait for a tick of half a minute.
            pause = self.heal.settings.tick if self.checks.is_ready else min(2 * pause, self.heal.settings.tick)
            await trio.sleep(pause)

    async def _look(self, check: str, look: Callable[[], Awaitable[None]]) -> None:
        try:
            await look()
        except NotWanted:
            raise
        except Exception as error:  # a host's own chain may raise anything; the others are looked at all the same
            log.exception("look_failed", check=check)
            self.checks.set(check, False, f"a bug: {error!r}")

    def look_at_loop(self) -> bool:
        """Whether the loop turns: a tick was begun not long ago."""
        age = trio.current_time() - self.heal.last_tick
        is_turning = age <= 3 * self.heal.settings.tick + LOOP_SECONDS
        self.checks.set("loop", is_turning, f"last tick {age:.0f} s ago" if age < float("inf") else "no tick yet")
        return is_turning

    async def _look_at_chain(self) -> None:
        try:
            with trio.fail_after(self.heal.settings.query):
                block = self.block = await self.chain.latest_block()
            age = self.clock.now() - block.time
            is_fresh = abs(age) <= max(FRESH_SECONDS, 10 * self.heal.sight.block_seconds)
            self.checks.set("chain", is_fresh, f"height {block.height}, made {age:.0f} s ago")
            await self._look_at_registration(is_definite=is_fresh)
        except WrongChain as error:
            self._refuse("chain", str(error))
        except (ChainUnavailable, trio.TooSlowError) as error:
            self.checks.set("chain", False, str(error) or "it did not answer in time")

    async def _look_at_registration(self, *, is_definite: bool) -> None:
        if trio.current_time() - self._registration_at < REGISTRATION_SECONDS:
            return
        account = self.heal.ledger.account
        with trio.fail_after(self.heal.settings.query):
            supernode = await self.registrations.supernode(account)
        if supernode is not None:
            self._registration_at = trio.current_time()
            self.checks.set("registration", True, f"{account} at {supernode.address or 'no address'}")
        elif is_definite:
            self._refuse("registration", f"the chain knows no supernode of {account}: register it, or mend the key")
        else:
            self.checks.set("registration", False, f"a node that is behind knows no supernode of {account}")

    def _refuse(self, check: str, reason: str) -> None:
        self.checks.set(check, False, reason)
        if not self._is_known:
            raise NotWanted(reason)

    async def _look_at_ledger(self) -> None:
        try:
            entries = await self.heal.ledger.entries()
            await self.heal.ledger.note_height(self.heal.sight.height)  # to write it is a part of being well
        except (StoreUnavailable, StoreDamaged) as error:
            self.checks.set("ledger", False, str(error))
            return
        roles = Counter(intent.role for intent in entries.intents.values())
        states = Counter(row.state for row in entries.claims.values())
        self.rows = {
            **{state.value: states[state] for state in ClaimState},
            "intent_claim": roles[Role.HEALER],
            "intent_vote": roles[Role.VERIFIER],
            "voted": len(entries.verifications),
        }
        self.checks.set("ledger", True, f"{sum(self.rows.values())} rows")

    async def _look_at_disk(self) -> None:
        try:
            self.staging_bytes, free = await self.blocking.run(lambda: _room(self.heal.disk.root, self.data_dir))
        except OSError as error:
            self.checks.set("disk", False, str(error))
        else:
            self.checks.set("disk", free >= LEAST_FREE, f"{free >> 20} MiB free for stagings, or for our own data")


def _room(root: Path, data_dir: Path) -> tuple[int, int]:
    """Bytes below the stagings' directory, and bytes free beside it or the data. What goes meanwhile does not count."""
    total = 0
    for directory, _, files in os.walk(root):
        for file in files:
            try:
                total += (Path(directory) / file).lstat().st_size
            except FileNotFoundError:
                continue
    return total, min(map(_free, (root, data_dir)))


def _free(place: Path) -> int:
    """Bytes free where a directory is, or will be."""
    return shutil.disk_usage(next(path for path in (place, *place.parents) if path.exists())).free
