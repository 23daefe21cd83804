import pytest
from attrs import evolve

from chainbox import EPOCH, HASH, OTHER_HASH, cast, chain_of, claim, claimed, run, scheduled, send, vote
from lep6.devnet.chain import OpRecord, State, SuperNodeState
from lep6.devnet.chain.failures import DESCRIPTIONS, TxFailed
from lep6.devnet.chain.messages import execute
from lep6.model import EnforcementMode, HealOpStatus, Ticket
from lep6.transaction import Claim, Vote

OP = OpRecord(
    op_id=7,
    ticket=Ticket("42"),
    healer="h",
    verifiers=("v", "w", "x"),
    scheduled_epoch=0,
    deadline_epoch=3,
    created_height=10,
    updated_height=10,
)
REPORTED = evolve(OP, status=HealOpStatus.HEALER_REPORTED, result_hash=HASH)
FAILED = evolve(OP, status=HealOpStatus.FAILED)


def state_of(op: OpRecord) -> State:
    return evolve(chain_of(0).state, height=20).with_op(op)


def refusal(state: State, creator: str, message: Claim | Vote) -> tuple[int, str]:
    with pytest.raises(TxFailed) as caught:
        execute(state, creator, message)
    assert caught.value.codespace == "audit"
    text = str(caught.value)
    end = f": {DESCRIPTIONS['audit', caught.value.code]}"
    assert text.endswith(end)
    return caught.value.code, text.removesuffix(end)


CLAIM = claim(OP)
CLAIM_REFUSALS = [
    (OP, "", evolve(CLAIM, op_id=0), 1, "creator is required"),
    (OP, "h", Claim(0, Ticket(""), ""), 11, "heal_op_id is required"),
    (OP, "h", Claim(7, Ticket(""), ""), 14, "ticket_id is required"),
    (OP, "h", Claim(8, Ticket("42"), ""), 13, "heal_manifest_hash is required"),
    (OP, "h", evolve(CLAIM, op_id=8), 11, "heal op 8 not found"),
    (FAILED, "x", evolve(CLAIM, ticket="4"), 14, 'ticket_id "4" does not match heal op ticket_id "42"'),
    (FAILED, "v", CLAIM, 12, "creator is not assigned healer for this heal op"),
    (FAILED, "h", CLAIM, 13, "heal op status HEAL_OP_STATUS_FAILED does not accept healer completion claim"),
    (
        evolve(REPORTED, verifiers=()),
        "h",
        CLAIM,
        13,
        "heal op status HEAL_OP_STATUS_HEALER_REPORTED does not accept healer completion claim",
    ),
    (evolve(OP, verifiers=()), "h", CLAIM, 13, "heal op has no independent verifier assignments"),
]


@pytest.mark.parametrize(("op", "creator", "message", "code", "detail"), CLAIM_REFUSALS)
def test_claims_are_refused_in_the_contracts_words_and_order(op, creator, message, code, detail):
    assert refusal(state_of(op), creator, message) == (code, detail)


def test_the_registered_descriptions_are_the_contracts():
    assert {code: text for (space, code), text in DESCRIPTIONS.items() if space == "audit"} == {
        1: "invalid signer",
        11: "heal op not found",
        12: "heal op unauthorized actor",
        13: "heal op invalid state transition",
        14: "heal op ticket mismatch",
        15: "heal verification already submitted",
        17: "invalid heal verification",
    }


VOTE = vote(OP)
VOTED = state_of(REPORTED).with_vote(7, "v", verified=False)
VOTE_REFUSALS = [
    (state_of(OP), "", Vote(0, True, "", ""), 1, "creator is required"),
    (state_of(OP), "v", Vote(0, True, "", ""), 11, "heal_op_id is required"),
    (state_of(OP), "v", Vote(8, True, "", ""), 13, "verification_hash is required"),
    (state_of(OP), "v", Vote(8, False, "", ""), 13, "verification_hash is required"),
    (state_of(OP), "v", evolve(VOTE, op_id=8), 11, "heal op 8 not found"),
    (state_of(OP), "h", VOTE, 13, "heal op status HEAL_OP_STATUS_SCHEDULED does not accept verification"),
    (
        evolve(VOTED, ops={7: FAILED}),
        "v",
        VOTE,
        13,
        "heal op status HEAL_OP_STATUS_FAILED does not accept verification",
    ),
    (VOTED, "h", VOTE, 12, "creator is not assigned verifier for this heal op"),
    (VOTED, "v", evolve(VOTE, hash="x"), 15, "verification already submitted by creator"),
    (
        VOTED,
        "w",
        evolve(VOTE, hash="own"),
        17,
        f"positive attestation hash 6f776e mismatches heal-op result hash {HASH.encode().hex()}",
    ),
]


@pytest.mark.parametrize(("state", "creator", "message", "code", "detail"), VOTE_REFUSALS)
def test_votes_are_refused_in_the_contracts_words_and_order(state, creator, message, code, detail):
    assert refusal(state, creator, message) == (code, detail)


@pytest.mark.parametrize("status", list(HealOpStatus))
def test_what_each_status_takes(status):
    state = state_of(evolve(REPORTED, status=status))
    if status in (HealOpStatus.SCHEDULED, HealOpStatus.IN_PROGRESS):
        assert execute(state, "h", CLAIM).ops[7].status is HealOpStatus.HEALER_REPORTED
    else:
        assert refusal(state, "h", CLAIM)[0] == 13
    if status is HealOpStatus.HEALER_REPORTED:
        assert execute(state, "v", VOTE).ops == state.ops
    else:
        assert refusal(state, "v", VOTE)[0] == 13


def test_a_claim_is_recorded():
    chain, op = scheduled()
    send(chain, op.healer, claim(op))
    run(chain, 1)
    assert chain.at().heal_op(1) == evolve(
        op, status=HealOpStatus.HEALER_REPORTED, updated_height=EPOCH + 1, result_hash=HASH
    )
    assert chain.events[-1].kind == "storage_truth_heal_op_healer_reported"
    assert chain.events[-1]["heal_manifest_hash"] == HASH
    assert chain.events[-1]["healer_supernode_account"] == op.healer


@pytest.mark.parametrize(("n", "majority"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
@pytest.mark.parametrize("verified", [True, False])
def test_a_majority_of_the_assigned_decides(n, majority, verified):
    op = evolve(REPORTED, verifiers=tuple(f"v{i}" for i in range(n)))
    state = state_of(op)
    for i in range(majority):
        assert state.ops[7] == op
        state = execute(state, f"v{i}", vote(op, verified))
    assert state.ops[7].status is (HealOpStatus.VERIFIED if verified else HealOpStatus.FAILED)


@pytest.mark.parametrize("n", [2, 4])
def test_a_split_vote_decides_nothing(n):
    op = evolve(REPORTED, verifiers=tuple(f"v{i}" for i in range(n)))
    state = state_of(op)
    for i, verifier in enumerate(op.verifiers):
        state = execute(state, verifier, vote(op, i % 2 == 0))
    assert state.ops[7] == op
    assert len(state.votes[7]) == n


def test_a_split_op_stays_reported_until_it_expires():
    chain, op = claimed()
    assert cast(chain, op, True, False) == op
    assert chain.at().votes(1) == dict(zip(op.verifiers, (True, False), strict=True))
    assert chain.at().voters(1) == op.verifiers
    run(chain, 4 * EPOCH - chain.height)
    ended = chain.at().heal_op(1)
    assert ended == evolve(op, status=HealOpStatus.EXPIRED, updated_height=4 * EPOCH)


def test_verified_is_a_relief_for_the_ticket():
    chain, op = claimed()
    run(chain, EPOCH)
    chain.set_ticket(
        evolve(
            chain.at().ticket_state("42"),
            recent_failure_epoch_count=2,
            last_index_failure_epoch=1,
            last_failure_epoch=1,
            last_updated_epoch=1,
        )
    )
    ended = cast(chain, op, True, True)
    assert (ended.status, ended.result_hash, ended.notes) == (HealOpStatus.VERIFIED, HASH, "")
    assert ended.updated_height == chain.height
    state = chain.at().ticket_state("42")
    assert (state.deterioration_score, state.active_heal_op_id) == (15, 0)
    assert (state.last_heal_epoch, state.probation_until_epoch, state.last_updated_epoch) == (2, 5, 1)
    assert (state.distinct_holder_failure_count, state.recent_failure_epoch_count) == (0, 0)
    assert (state.last_index_failure_epoch, state.last_failure_epoch) == (0, 0)
    assert not chain.state.failed_heals
    assert chain.events[-1].kind == "storage_truth_heal_op_verified"
    assert chain.events[-1]["verifier_supernode_account"] == op.verifiers[1]
    assert chain.events[-1]["verification_hash"] == HASH


def test_failed_overwrites_the_hash_and_keeps_the_notes():
    chain, op = claimed()
    send(chain, op.verifiers[0], vote(op, False, hash="first", details="kept out: it decides nothing"))
    send(chain, op.verifiers[1], vote(op, False, details="reason_other:x"))
    run(chain, 1)
    ended = chain.at().heal_op(1)
    assert (ended.status, ended.result_hash, ended.notes) == (HealOpStatus.FAILED, OTHER_HASH, "reason_other:x")
    state = chain.at().ticket_state("42")
    assert (state.deterioration_score, state.active_heal_op_id, state.probation_until_epoch) == (75, 0, 4)
    assert (state.distinct_holder_failure_count, state.last_heal_epoch) == (2, 0)
    assert [(mark.healer, mark.epoch, mark.ticket) for mark in chain.state.failed_heals] == [(op.healer, 1, "42")]
    assert chain.events[-1].attributes == (
        ("heal_op_id", "1"),
        ("ticket_id", "42"),
        ("verifier_supernode_account", op.verifiers[1]),
        ("verified", "false"),
        ("module", "audit"),
    )


def test_notes_are_joined_and_blanks_are_none():
    assert evolve(OP, notes="a").moved(HealOpStatus.FAILED, 1, note=" ").notes == "a"
    assert evolve(OP, notes="a").moved(HealOpStatus.FAILED, 1, note="b").notes == "a | b"


def test_a_positive_vote_counts_when_there_is_no_result_hash():
    state = state_of(evolve(REPORTED, result_hash="", verifiers=("v",)))
    assert execute(state, "v", evolve(VOTE, hash="own")).ops[7].result_hash == "own"


def test_an_op_without_a_ticket_state_can_end():
    state = state_of(evolve(REPORTED, verifiers=("v",)))
    for verified in (True, False):
        ended = execute(state, "v", vote(OP, verified))
        assert ended.ops[7].is_final
        assert not ended.tickets
        assert not ended.failed_heals


@pytest.mark.parametrize(("score", "after"), [(0, 8), (35, 8), (36, 9), (1003, 250)])
def test_a_quarter_of_the_score_stays_but_eight_at_least(score, after):
    chain, op = claimed()
    chain.set_ticket(evolve(chain.at().ticket_state("42"), deterioration_score=score))
    cast(chain, op, True, True)
    assert chain.at().ticket_state("42").deterioration_score == after


def test_a_failure_never_lowers_the_probation_and_the_score_saturates():
    chain, op = claimed()
    chain.set_ticket(evolve(chain.at().ticket_state("42"), deterioration_score=2**63 - 5, probation_until_epoch=99))
    cast(chain, op, False, False)
    state = chain.at().ticket_state("42")
    assert (state.deterioration_score, state.probation_until_epoch) == (2**63 - 1, 99)


def test_mode_and_registration_do_not_matter_to_claims_and_votes():
    chain, op = scheduled()
    chain.set_mode(EnforcementMode.UNSPECIFIED)
    for account in (op.healer, *op.verifiers):
        chain.set_supernode_state(account, SuperNodeState.STOPPED)
    send(chain, op.healer, claim(op))
    run(chain, 1)
    assert cast(chain, op, True, True).status is HealOpStatus.VERIFIED
