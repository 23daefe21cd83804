"""Tickets: how bad the chain thinks a file is, and what the ends of heal ops do to that (chain contract §4.3, §4.6)."""

import enum
from typing import final

from attrs import evolve, frozen

from lep6.model import Ticket

_MOST_SCORE = 2**63 - 1
_FAILURE_PENALTY = 15
_HEALED_SCORE = 8
"""The least that a healed ticket keeps."""
_ENOUGH_HOLDERS = 2
_ENOUGH_FAILURES = 2


class ProofResult(enum.IntEnum):
    """`StorageProofResultClass`."""

    UNSPECIFIED = 0
    PASS = 1
    HASH_MISMATCH = 2
    TIMEOUT_OR_NO_RESPONSE = 3
    OBSERVER_QUORUM_FAIL = 4
    NO_ELIGIBLE_TICKET = 5
    INVALID_TRANSCRIPT = 6
    RECHECK_CONFIRMED_FAIL = 7


@final
@frozen(kw_only=True)
class TicketState:
    """`TicketDeteriorationState`, field by field. Epochs of 0 stand for never."""

    ticket: Ticket
    deterioration_score: int = 0
    last_updated_epoch: int = 0
    active_heal_op_id: int = 0
    """The op that heals it now; 0 for none."""
    probation_until_epoch: int = 0
    """No op is made for it at the ends of epochs before this one."""
    last_heal_epoch: int = 0
    last_failure_epoch: int = 0
    recent_failure_epoch_count: int = 0
    contradiction_count: int = 0
    last_target_supernode_account: str = ""
    """The node that was asked last. It does not heal."""
    last_reporter_supernode_account: str = ""
    last_result_class: ProofResult = ProofResult.UNSPECIFIED
    last_result_epoch: int = 0
    distinct_holder_failure_count: int = 0
    last_index_failure_epoch: int = 0
    recent_bucket_failure_epoch: int = 0
    old_bucket_failure_epoch: int = 0

    @property
    def has_evidence(self) -> bool:
        """Whether it failed on more than one node, more than once, or in an index file."""
        return (
            self.distinct_holder_failure_count >= _ENOUGH_HOLDERS
            or self.last_index_failure_epoch > 0
            or self.recent_failure_epoch_count >= _ENOUGH_FAILURES
        )

    @property
    def urgency(self) -> tuple[int, bool, int, int, bytes]:
        """What candidates are ordered by, the most urgent one being the least."""
        return (
            -self.deterioration_score,
            self.last_index_failure_epoch == 0,
            -self.distinct_holder_failure_count,
            self.last_failure_epoch,
            self.ticket.encode(),
        )

    def released(self, op_id: int) -> "TicketState":
        """The state when an op has ended, its score aside."""
        return evolve(self, active_heal_op_id=0) if self.active_heal_op_id == op_id else self

    def healed(self, op_id: int, epoch: int, probation_epochs: int) -> "TicketState":
        """The state after a VERIFIED op."""
        return evolve(
            self.released(op_id),
            deterioration_score=max(_HEALED_SCORE, self.deterioration_score // 4),
            last_heal_epoch=epoch,
            probation_until_epoch=epoch + probation_epochs,
            distinct_holder_failure_count=0,
            recent_failure_epoch_count=0,
            last_index_failure_epoch=0,
            last_failure_epoch=0,
        )

    def not_healed(self, op_id: int, epoch: int, probation_epochs: int) -> "TicketState":
        """The state after a FAILED or EXPIRED op."""
        return evolve(
            self.released(op_id),
            deterioration_score=min(self.deterioration_score + _FAILURE_PENALTY, _MOST_SCORE),
            probation_until_epoch=max(self.probation_until_epoch, epoch + probation_epochs),
        )
