import pytest
from attrs import evolve

from chainbox import EPOCH, HASH, cast, chain_of, claim, claimed, run, run_to, scheduled, send, ticket, vote
from lep6.devnet.chain import QueryError
from lep6.model import EnforcementMode, HealOpStatus

LAST = 4 * EPOCH
"""The last block of epoch 3, in which ops of epoch 0's end are still open."""


def test_claims_and_votes_count_in_the_last_block_of_the_deadline_epoch():
    chain, op = scheduled()
    run_to(chain, LAST - 1)
    send(chain, op.healer, claim(op))
    for verifier in op.verifiers:
        send(chain, verifier, vote(op))
    run(chain, 1)
    assert chain.at().heal_op(1).status is HealOpStatus.VERIFIED


def test_a_claim_in_the_last_block_counts_and_the_op_expires_in_it():
    chain, op = scheduled()
    run_to(chain, LAST - 1)
    send(chain, op.healer, claim(op))
    run(chain, 1)
    ended = chain.at().heal_op(1)
    assert ended == evolve(op, status=HealOpStatus.EXPIRED, updated_height=LAST, result_hash=HASH)
    assert [event.kind.removeprefix("storage_truth_heal_op_") for event in chain.events] == [
        "scheduled",
        "healer_reported",
        "expired",
    ]
    assert chain.events[-1].attributes[:3] == (("epoch_id", "3"), ("heal_op_id", "1"), ("ticket_id", "42"))


def test_nothing_counts_after_the_last_block():
    chain, op = scheduled()
    run_to(chain, LAST)
    sent = send(chain, op.healer, claim(op))
    run(chain, 1)
    result = chain.at().tx(sent.tx_hash)
    assert (result.codespace, result.code) == ("audit", 13)
    assert "HEAL_OP_STATUS_EXPIRED does not accept healer completion claim" in result.log


@pytest.mark.parametrize("mode", EnforcementMode)
def test_ops_expire_in_every_mode(mode):
    chain, _ = scheduled()
    chain.set_mode(mode)
    run_to(chain, LAST - 1)
    assert chain.at().heal_op(1).status is HealOpStatus.SCHEDULED
    run(chain, 1)
    assert chain.at().heal_op(1).status is HealOpStatus.EXPIRED


def test_expiry_is_held_against_healer_and_ticket():
    chain, op = claimed()
    cast(chain, op, True)
    run_to(chain, LAST)
    state = chain.at().ticket_state("42")
    assert (state.deterioration_score, state.probation_until_epoch, state.active_heal_op_id) == (75, 6, 0)
    assert [(mark.healer, mark.epoch, mark.ticket) for mark in chain.state.failed_heals] == [(op.healer, 3, "42")]


def test_an_expired_ticket_is_tried_again_after_its_probation():
    chain, _ = scheduled()
    run_to(chain, 7 * EPOCH - 1)
    assert list(chain.state.ops) == [1]
    run(chain, 1)
    assert chain.at().heal_op(2).scheduled_epoch == 6


def test_an_op_in_progress_expires_and_one_without_deadline_does_not():
    chain, op = scheduled()
    chain.set_op(evolve(op, status=HealOpStatus.IN_PROGRESS))
    chain.set_op(evolve(op, op_id=5, ticket="5", deadline_epoch=0))
    run_to(chain, LAST)
    assert chain.at().heal_op(1).status is HealOpStatus.EXPIRED
    run(chain, 20 * EPOCH)
    assert chain.at().heal_op(5).status is HealOpStatus.SCHEDULED


@pytest.mark.parametrize(("parameter", "deadline"), [(0, 3), (1, 1), (7, 7)])
def test_the_deadline_follows_the_parameter(parameter, deadline):
    assert scheduled(deadline_epochs=parameter)[1].deadline_epoch == deadline


def test_final_ops_and_their_votes_are_pruned():
    chain, op = claimed(keep_epochs=3)
    cast(chain, op, True, True)
    run_to(chain, 5 * EPOCH - 1)
    assert chain.at().votes(1)
    run(chain, 1)
    with pytest.raises(QueryError, match="heal op not found"):
        chain.at().heal_op(1)
    assert not chain.at().votes(1)


def test_an_op_that_expires_can_be_too_old_already():
    chain, _ = scheduled(keep_epochs=1)
    run_to(chain, LAST - 1)
    assert chain.at().heal_op(1).status is HealOpStatus.SCHEDULED
    run(chain, 1)
    with pytest.raises(QueryError, match="heal op not found"):
        chain.at().heal_op(1)
    assert chain.events[-1].kind == "storage_truth_heal_op_expired"


def test_late_ops_expire_before_others_are_made():
    chain, _ = scheduled()
    run_to(chain, LAST - 1)
    chain.set_ticket(ticket("2"))
    run(chain, 1)
    assert [event.kind.rpartition("_")[2] for event in chain.events] == ["scheduled", "expired", "scheduled"]


def test_open_ops_are_never_pruned():
    chain, op = scheduled(keep_epochs=1)
    chain.set_op(evolve(op, op_id=5, ticket="5", deadline_epoch=0))
    run(chain, 20 * EPOCH)
    assert chain.at().heal_op(5).status is HealOpStatus.SCHEDULED


def test_anchors_and_markers_are_pruned():
    chain, op = claimed(keep_epochs=3)
    cast(chain, op, False, False)
    run_to(chain, 4 * EPOCH - 1)
    assert sorted(chain.state.anchors) == [0, 1, 2, 3]
    run(chain, 1)
    assert sorted(chain.state.anchors) == [1, 2, 3]
    assert len(chain.state.failed_heals) == 1
    run(chain, EPOCH)
    assert sorted(chain.state.anchors) == [2, 3, 4]
    assert not chain.state.failed_heals


def test_tickets_that_are_well_are_pruned():
    well, unwell = ticket("1", deterioration_score=0), ticket("2", deterioration_score=1)
    busy = ticket("3", deterioration_score=0, active_heal_op_id=9)
    fresh = ticket("4", deterioration_score=0, last_updated_epoch=1)
    chain = chain_of(tickets=[well, unwell, busy, fresh], keep_epochs=3)
    run_to(chain, 5 * EPOCH - 1)
    assert len(chain.state.tickets) == 4
    run(chain, 1)
    assert sorted(chain.state.tickets) == ["2", "3", "4"]
