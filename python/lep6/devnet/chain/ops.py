"""Heal ops as the chain stores them (chain contract §1.3, §4.4-§4.7)."""

from typing import final

from attrs import evolve, frozen

from lep6.model import HealOp, HealOpStatus, Ticket

FINAL_STATUSES = frozenset({HealOpStatus.VERIFIED, HealOpStatus.FAILED, HealOpStatus.EXPIRED})

CLAIMABLE_STATUSES = frozenset({HealOpStatus.SCHEDULED, HealOpStatus.IN_PROGRESS})


@final
@frozen(kw_only=True)
class OpRecord:
    """`HealOp`, all of it."""

    op_id: int
    ticket: Ticket
    healer: str
    verifiers: tuple[str, ...]
    """In the order in which they were drawn."""
    scheduled_epoch: int
    """The epoch whose end made the op."""
    deadline_epoch: int
    """The last epoch in which the op is open; 0 for none."""
    created_height: int
    updated_height: int
    status: HealOpStatus = HealOpStatus.SCHEDULED
    result_hash: str = ""
    """The claim's manifest hash, then the deciding vote's hash."""
    notes: str = ""
    """What votes said, joined with ` | `."""

    @property
    def is_final(self) -> bool:
        """Whether nothing can happen to the op any more."""
        return self.status in FINAL_STATUSES

    @property
    def majority(self) -> int:
        """Votes of one kind that decide."""
        return len(self.verifiers) // 2 + 1

    @property
    def op(self) -> HealOp:
        """What lep6 reads of it."""
        return HealOp(
            op_id=self.op_id,
            ticket=self.ticket,
            healer=self.healer,
            verifiers=self.verifiers,
            status=self.status,
            result_hash=self.result_hash,
            scheduled_epoch=self.scheduled_epoch,
            deadline_epoch=self.deadline_epoch,
        )

    def moved(self, status: HealOpStatus, height: int, *, result_hash: str | None = None, note: str = "") -> "OpRecord":
        """The op in another status, with another hash if one is given, and a note more unless it is blank."""
        return evolve(
            self,
            status=status,
            updated_height=height,
            result_hash=self.result_hash if result_hash is None else result_hash,
            notes=" | ".join(text for text in (self.notes, note) if text.strip()),
        )
