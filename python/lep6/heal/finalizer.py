"""The finalizer: what the chain has VERIFIED goes into the network; what has ended, goes (LEP-6 §21, §22).

Order of an end: the claim becomes closing, in one transaction; then the staging goes; then the row. A closing claim
that is found at start only removes.
"""

from typing import final

import trio
from attrs import define

from lep6.cascade.publish import Deferred, Published, Publisher
from lep6.cascade.staging import Staged
from lep6.errors import InvalidArtefact
from lep6.heal.disk import Disk
from lep6.heal.events import Event, Watch, What
from lep6.heal.ledger import Ledger
from lep6.heal.rows import ClaimRow, ClaimState
from lep6.heal.untorn import untorn
from lep6.observe import get_logger

log = get_logger("heal.finalizer")


@final
@define(eq=False)
class Finalizer:
    """Ends heal ops of one node."""

    ledger: Ledger
    disk: Disk
    publisher: Publisher
    slots: trio.CapacityLimiter
    attempt_seconds: float
    watch: Watch

    async def publish(self, row: ClaimRow, staged: Staged) -> Published | Deferred | None:
        """Make an attempt to publish, if one is due; `None` when its time was up. What was stored stays stored.

        Raises:
            InvalidArtefact: the staging is damaged.
        """
        if staged.manifest.ticket != row.ticket or staged.manifest.manifest_hash != row.manifest_hash:
            raise InvalidArtefact(f"{staged.directory} is not what was claimed for heal op {row.op_id}")
        outcome: Published | Deferred | None = None
        async with self.slots:
            with trio.move_on_after(self.attempt_seconds):
                outcome = await self.publisher.publish(staged)
        match outcome:
            case Published(values):
                self.watch(Event(What.PUBLISHED, row.op_id, count=values))
                log.info("published", op_id=row.op_id, ticket=row.ticket, values=values)
            case Deferred(reason):
                self.watch(Event(What.STUCK if outcome.is_stuck else What.DEFERRED, row.op_id, reason))
            case None:
                self.watch(Event(What.DEFERRED, row.op_id, f"not published within {self.attempt_seconds:g} s"))
        return outcome

    async def close(self, op_id: int, row: ClaimRow | None, why: str) -> None:
        """Remove everything of an op that is over. Cancelled: it is finished, or goes on at the next start."""
        with untorn():
            if row is not None:
                await self.ledger.set_claim_state(op_id, ClaimState.CLOSING)
            await self.disk.clear(op_id)
            await self.ledger.remove_claim(op_id)
        self.watch(Event(What.CLOSED, op_id, why))
        log.info("closed", op_id=op_id, reason=why)
