"""The scheduling of heal ops at the end of an epoch (chain contract §4.3)."""

from collections.abc import Collection, Sequence
from typing import final

from attrs import evolve, frozen

from lep6.devnet.chain.ops import OpRecord
from lep6.devnet.chain.params import DEFAULT_DEADLINE_EPOCHS, DEFAULT_VERIFIER_COUNT
from lep6.devnet.chain.state import State
from lep6.devnet.chain.supernodes import SuperNodeState
from lep6.devnet.chain.suspicion import decayed
from lep6.devnet.chain.tickets import TicketState
from lep6.model import EnforcementMode, Ticket

_FNV_BASIS = 14695981039346656037
_FNV_PRIME = 1099511628211
_MASK = 2**64 - 1


def fnv1a(data: bytes) -> int:
    """The 64-bit FNV-1a hash."""
    value = _FNV_BASIS
    for byte in data:
        value = (value ^ byte) * _FNV_PRIME & _MASK
    return value


def draw_hash(ticket: Ticket, epoch: int) -> int:
    """The hash that decides who heals a ticket at the end of an epoch."""
    return fnv1a(ticket.encode() + b"\x00" + str(epoch).encode())


@final
@frozen
class Participants:
    """Who an op is for."""

    healer: str
    verifiers: tuple[str, ...]


def draw(eligible: Sequence[str], ticket: Ticket, epoch: int, verifier_count: int) -> Participants:
    """Choose the participants of an op among at least one account. A single one is a healer without verifiers."""
    n = len(eligible)
    index = draw_hash(ticket, epoch) % n
    count = min(verifier_count or DEFAULT_VERIFIER_COUNT, n - 1)
    return Participants(eligible[index], tuple(eligible[(index + i) % n] for i in range(1, count + 1)))


def base_list(state: State) -> tuple[str, ...]:
    """The accounts that an epoch's ops are given to, before any is barred."""
    anchor = state.anchors.get(state.epoch.epoch_id)
    if anchor is not None and anchor.active:
        return anchor.active
    active = {node.account for node in state.supernodes.values() if node.state is SuperNodeState.ACTIVE}
    return tuple(sorted(active, key=str.encode))


def barred(state: State) -> frozenset[str]:
    """The accounts that neither heal nor verify: postponed for storage truth, or too suspicious."""
    threshold = state.params.suspicion_probation_threshold
    if threshold <= 0:
        return state.postponed
    epoch = state.epoch.epoch_id
    return state.postponed | {
        account
        for account, suspicion in state.suspicion.items()
        if decayed(suspicion.score, state.params.suspicion_decay, epoch - suspicion.last_updated_epoch) >= threshold
    }


def candidates(state: State) -> tuple[State, list[TicketState]]:
    """The tickets to heal, most urgent first; in the state, pointers to ops that are over are cleared."""
    epoch, open_tickets = state.epoch.epoch_id, {op.ticket for op in state.ops.values() if not op.is_final}
    chosen: list[TicketState] = []
    for ticket in sorted(state.tickets.values(), key=lambda ticket: ticket.ticket.encode()):
        if (
            not ticket.ticket
            or ticket.deterioration_score < state.params.heal_threshold
            or ticket.probation_until_epoch > epoch
        ):
            continue
        free = ticket
        if ticket.active_heal_op_id:
            op = state.ops.get(ticket.active_heal_op_id)
            if op is not None and not op.is_final:
                continue
            free = ticket.released(ticket.active_heal_op_id)
            state = state.with_ticket(free)
        if free.ticket not in open_tickets and free.has_evidence:
            chosen.append(free)
    return state, sorted(chosen, key=lambda ticket: ticket.urgency)


def schedule(state: State) -> State:
    """The state after the scheduling at the end of its epoch."""
    if state.params.mode is EnforcementMode.UNSPECIFIED or state.params.max_ops_per_epoch == 0:
        return state
    base, out = base_list(state), barred(state)
    if not base:
        return state
    state, tickets = candidates(state)
    first_id = state.next_op_id
    for ticket in tickets:
        if state.next_op_id - first_id >= state.params.max_ops_per_epoch:
            break
        state = _schedule(state, ticket, base, out)
    return state


def _schedule(state: State, ticket: TicketState, base: Sequence[str], out: Collection[str]) -> State:
    """The state with an op for a ticket, or with the event that tells why there is none."""
    params, epoch = state.params, state.epoch.epoch_id
    eligible = [account for account in base if account not in out and account != ticket.last_target_supernode_account]
    if not eligible:
        return state.with_event("insufficient_healers", ticket_id=ticket.ticket, epoch_id=epoch)
    chosen = draw(eligible, ticket.ticket, epoch, params.verifier_count)
    if not chosen.verifiers:
        return state.with_event("insufficient_verifiers", ticket_id=ticket.ticket, epoch_id=epoch)
    op = OpRecord(
        op_id=state.next_op_id,
        ticket=ticket.ticket,
        healer=chosen.healer,
        verifiers=chosen.verifiers,
        scheduled_epoch=epoch,
        deadline_epoch=epoch + (params.deadline_epochs or DEFAULT_DEADLINE_EPOCHS),
        created_height=state.height,
        updated_height=state.height,
    )
    state = state.with_op(op).with_ticket(evolve(ticket, active_heal_op_id=op.op_id))
    return state.with_event(
        "scheduled",
        epoch_id=epoch,
        heal_op_id=op.op_id,
        ticket_id=op.ticket,
        healer_supernode_account=op.healer,
        deadline_epoch_id=op.deadline_epoch,
    )
