"""What the end of an epoch takes away: late ops, and what is too old to be kept (chain contract §4.7, §4.8)."""

from attrs import evolve

from lep6.devnet.chain.state import State
from lep6.model import HealOpStatus


def expire(state: State) -> State:
    """The state after the expiry at the end of its epoch, which happens in every mode."""
    epoch = state.epoch.epoch_id
    for op in sorted(state.ops.values(), key=lambda op: op.op_id):
        if not op.is_final and 0 < op.deadline_epoch <= epoch:
            state = state.with_op(op.moved(HealOpStatus.EXPIRED, state.height)).not_healed(op, epoch)
            state = state.with_event("expired", epoch_id=epoch, heal_op_id=op.op_id, ticket_id=op.ticket)
    return state


def prune(state: State) -> State:
    """The state after the pruning at the end of its epoch. Open ops stay, however old they are."""
    epoch, keep = state.epoch.epoch_id, state.params.keep_epochs
    ops = {op_id: op for op_id, op in state.ops.items() if not (op.is_final and op.scheduled_epoch + keep < epoch)}
    tickets = {
        name: ticket
        for name, ticket in state.tickets.items()
        if not (
            epoch > keep
            and ticket.last_updated_epoch < epoch - keep
            and ticket.deterioration_score == 0
            and ticket.active_heal_op_id == 0
        )
    }
    return evolve(
        state,
        ops=ops,
        votes={op_id: votes for op_id, votes in state.votes.items() if op_id in ops},
        anchors={id_: anchor for id_, anchor in state.anchors.items() if id_ >= epoch + 1 - keep},
        failed_heals=frozenset(mark for mark in state.failed_heals if mark.epoch >= epoch + 1 - keep),
        tickets=tickets,
    )
