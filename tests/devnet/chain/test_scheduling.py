import pytest
from attrs import evolve

from chainbox import EPOCH, address, chain_of, run, run_to, scheduled, ticket
from lep6.devnet.chain import Epoch, SuperNodeState
from lep6.devnet.chain.scheduling import Participants, candidates, draw, draw_hash
from lep6.devnet.chain.suspicion import decayed
from lep6.model import EnforcementMode, HealOpStatus, Ticket

VECTORS = [
    ("1", 0, 0x460BB71818A6F4CC, [0, 2, 1, 6, 0]),
    ("1", 7, 0x460BB61818A6F319, [1, 1, 0, 5, 29]),
    ("42", 7, 0x31A534D8894B278A, [0, 1, 1, 6, 11]),
    ("42", 8, 0x31A527D8894B1173, [1, 0, 3, 3, 16]),
    ("ticket-high", 0, 0xF13FA91B31642384, [0, 0, 1, 6, 24]),
    ("100000", 12345, 0x50A99E6CC6E86B8F, [1, 1, 0, 5, 6]),
]


@pytest.mark.parametrize(("name", "epoch", "value", "remainders"), VECTORS)
def test_the_draw_is_that_of_the_contract(name, epoch, value, remainders):
    assert draw_hash(Ticket(name), epoch) == value
    assert [value % n for n in (2, 3, 5, 10, 31)] == remainders


def test_the_contracts_example():
    assert draw(["A", "B", "C"], Ticket("42"), 7, 2) == Participants("B", ("C", "A"))


@pytest.mark.parametrize(("n", "count", "verifiers"), [(1, 2, 0), (2, 2, 1), (3, 0, 2), (3, 5, 2), (10, 32, 9)])
def test_verifiers_are_distinct_and_never_the_healer(n, count, verifiers):
    accounts = [f"node {i}" for i in range(n)]
    chosen = draw(accounts, Ticket("42"), 7, count)
    assert len(set(chosen.verifiers)) == len(chosen.verifiers) == verifiers
    assert chosen.healer not in chosen.verifiers


def test_epochs_have_the_contracts_heights():
    params = evolve(chain_of().state.params, epoch_length=400)
    assert [Epoch.at(params, height).epoch_id for height in (0, 1, 400, 401, 800, 801)] == [0, 0, 0, 1, 1, 2]
    assert Epoch.of(params, 1) == Epoch(1, 401, 800)
    assert Epoch.at(evolve(params, epoch_zero_height=1000), 5) == Epoch(0, 1000, 1399)


def test_an_op_is_made_in_the_last_block_of_an_epoch():
    chain = chain_of(tickets=[ticket()])
    run_to(chain, EPOCH - 1)
    assert not chain.state.ops
    run(chain, 1)
    op = chain.at().heal_op(1)
    anchor = chain.at().current_epoch_anchor()
    chosen = draw(anchor.active, op.ticket, 0, 2)
    assert (op.healer, op.verifiers) == (chosen.healer, chosen.verifiers)
    assert (op.status, op.scheduled_epoch, op.deadline_epoch) == (HealOpStatus.SCHEDULED, 0, 3)
    assert (op.created_height, op.updated_height, op.result_hash, op.notes) == (EPOCH, EPOCH, "", "")
    assert chain.at().ticket_state("42").active_heal_op_id == 1
    assert chain.events[-1].kind == "storage_truth_heal_op_scheduled"
    assert chain.events[-1].attributes == (
        ("epoch_id", "0"),
        ("heal_op_id", "1"),
        ("ticket_id", "42"),
        ("healer_supernode_account", op.healer),
        ("deadline_epoch_id", "3"),
        ("module", "audit"),
    )


@pytest.mark.parametrize("mode", EnforcementMode)
def test_every_mode_but_unspecified_schedules(mode):
    chain, expected = chain_of(tickets=[ticket()], mode=mode), mode is not EnforcementMode.UNSPECIFIED
    run_to(chain, EPOCH)
    assert bool(chain.state.ops) is expected


@pytest.mark.parametrize(
    "changes",
    [
        {"deterioration_score": 49},
        {"probation_until_epoch": 1},
        {"distinct_holder_failure_count": 1},
        {"ticket": ""},
    ],
)
def test_a_ticket_that_is_not_in_danger_has_no_op(changes):
    chain = chain_of(tickets=[ticket(**changes)])
    run_to(chain, EPOCH)
    assert not chain.state.ops


@pytest.mark.parametrize(
    "evidence",
    [{"distinct_holder_failure_count": 2}, {"last_index_failure_epoch": 1}, {"recent_failure_epoch_count": 2}],
)
def test_each_kind_of_evidence_is_enough(evidence):
    chain = chain_of(tickets=[ticket(**{"distinct_holder_failure_count": 0, **evidence})])
    run_to(chain, EPOCH)
    assert len(chain.state.ops) == 1


def test_the_most_urgent_come_first_and_the_quota_holds():
    worst_first = [
        ticket("9", deterioration_score=70),
        ticket("8", last_index_failure_epoch=1, distinct_holder_failure_count=0),
        ticket("7", distinct_holder_failure_count=3),
        ticket("6", last_failure_epoch=1),
        ticket("10", last_failure_epoch=2),
        ticket("5", last_failure_epoch=2),
    ]
    chain = chain_of(tickets=reversed(worst_first), max_ops_per_epoch=4)
    assert [state.ticket for state in candidates(chain.state)[1]] == [state.ticket for state in worst_first]
    run_to(chain, EPOCH)
    assert [op.ticket for op in chain.state.ops.values()] == ["9", "8", "7", "6"]
    run(chain, EPOCH)
    assert [op.ticket for op in chain.state.ops.values()][4:] == ["10", "5"]


def test_no_quota_no_ops():
    chain = chain_of(tickets=[ticket()], max_ops_per_epoch=0)
    run_to(chain, EPOCH)
    assert not chain.state.ops
    assert not chain.events


def test_a_ticket_has_one_open_op_only():
    chain, _ = scheduled()
    chain.set_ticket(evolve(chain.at().ticket_state("42"), active_heal_op_id=0))
    run(chain, EPOCH)
    assert list(chain.state.ops) == [1]


def test_a_pointer_to_an_op_that_is_gone_is_cleared():
    chain = chain_of(tickets=[ticket(active_heal_op_id=77, distinct_holder_failure_count=0)])
    run_to(chain, EPOCH)
    assert chain.at().ticket_state("42").active_heal_op_id == 0
    assert not chain.state.ops


def test_a_pointer_to_an_op_that_is_over_is_no_obstacle():
    chain, op = scheduled()
    chain.set_op(evolve(op, status=HealOpStatus.FAILED))
    run(chain, EPOCH)
    assert chain.at().heal_op(2).ticket == "42"
    assert chain.at().ticket_state("42").active_heal_op_id == 2


def test_ops_that_are_put_there_move_the_counter_up_only():
    chain, op = scheduled()
    chain.set_op(evolve(op, op_id=9, ticket=Ticket("9")))
    chain.set_op(op)
    chain.set_ticket(ticket("3"))
    run(chain, EPOCH)
    assert list(chain.state.ops) == [1, 9, 10]


def test_accounts_come_from_the_epochs_anchor():
    chain = chain_of(5, tickets=[ticket()], verifier_count=32)
    chain.set_supernode_state(address("node 0"), SuperNodeState.STORAGE_FULL)
    chain.set_supernode_state(address("node 1"), SuperNodeState.POSTPONED)
    run(chain, 1)
    chain.set_supernode_state(address("node 2"), SuperNodeState.STOPPED, "too late for this epoch")
    chain.add_supernode(address("newcomer"))
    run_to(chain, EPOCH)
    op, anchor = chain.at().heal_op(1), chain.at().current_epoch_anchor()
    assert set(anchor.active) == {op.healer, *op.verifiers} == {address(f"node {n}") for n in (0, 2, 3, 4)}
    assert set(anchor.targets) == {address(f"node {n}") for n in range(5)}
    assert list(anchor.active) == sorted(anchor.active)
    records = chain.at().supernode_by_account(address("node 2")).states
    assert [(record.state.name, record.height, record.reason) for record in records] == [
        ("ACTIVE", 0, ""),
        ("STOPPED", 1, "too late for this epoch"),
    ]


def test_without_an_anchor_the_active_ones_are_taken():
    chain = chain_of(4, tickets=[ticket()], verifier_count=32, chain={"genesis_height": 5})
    chain.set_supernode_state(address("node 0"), SuperNodeState.STORAGE_FULL)
    run_to(chain, EPOCH)
    op = chain.at().heal_op(1)
    assert {op.healer, *op.verifiers} == {address(f"node {n}") for n in (1, 2, 3)}


def test_nobody_at_all_is_no_event():
    chain = chain_of(0, tickets=[ticket()])
    run_to(chain, EPOCH)
    assert not chain.events


def test_suspects_the_postponed_and_the_last_target_are_barred():
    last = address("node 3")
    chain = chain_of(6, tickets=[ticket(last_target_supernode_account=last)], verifier_count=32)
    chain.set_suspicion(address("node 0"), 50)
    chain.set_suspicion(address("node 1"), 49)
    chain.set_postponed(address("node 2"), True)
    run_to(chain, EPOCH)
    op = chain.at().heal_op(1)
    assert {op.healer, *op.verifiers} == {address(f"node {n}") for n in (1, 4, 5)}


def test_suspicion_decays_and_the_threshold_can_be_off():
    assert [decayed(50, 920, epochs) for epochs in (-1, 0, 1, 2, 1000)] == [50, 50, 46, 42, 0]
    assert decayed(-50, 900, 1) == decayed(-51, 900, 1) == -45
    assert decayed(50, 1000, 9) == decayed(50, 0, 9) == 50
    chain = chain_of(2, tickets=[ticket()])
    chain.set_suspicion(address("node 0"), 54)
    run_to(chain, EPOCH)
    assert not chain.state.ops
    run(chain, EPOCH)
    assert len(chain.state.ops) == 1
    chain = chain_of(2, tickets=[ticket()], suspicion_probation_threshold=0)
    chain.set_suspicion(address("node 0"), 10**6)
    run_to(chain, EPOCH)
    assert len(chain.state.ops) == 1


@pytest.mark.parametrize(("barred", "what"), [(4, "healers"), (3, "verifiers")])
def test_too_few_nodes_are_an_event_and_use_no_quota(barred, what):
    chain = chain_of(4, tickets=[ticket()])
    for n in range(barred):
        chain.set_suspicion(address(f"node {n}"), 90)
    run_to(chain, EPOCH)
    assert not chain.state.ops
    assert [(event.kind, event["ticket_id"], event["epoch_id"]) for event in chain.events] == [
        (f"storage_truth_heal_op_insufficient_{what}", "42", "0")
    ]


def test_a_skipped_ticket_leaves_the_quota_to_the_next():
    first = ticket("1", deterioration_score=99, last_target_supernode_account=address("node 0"))
    chain = chain_of(2, tickets=[first, ticket("2")], max_ops_per_epoch=1)
    run_to(chain, EPOCH)
    assert [op.ticket for op in chain.state.ops.values()] == ["2"]
