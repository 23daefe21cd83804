"""What is done about a heal op: rules that hold for every combination of facts, and the table row by row."""

from itertools import product

import pytest
from attrs import evolve

from lep6.heal.decisions import (
    INDEX_BLOCKS,
    Close,
    Confirm,
    Duty,
    Fate,
    Forget,
    HealerFacts,
    Publish,
    Reconstruct,
    RecordClaim,
    RecordVote,
    SendClaim,
    SendVote,
    Serve,
    Sight,
    VerifierFacts,
    Verify,
    Wait,
    fate,
    healer_step,
    verifier_step,
)
from lep6.heal.rows import ClaimRow, ClaimState, SentTransaction, VerificationRow
from lep6.model import HealOp, HealOpStatus, Ticket
from lep6.transaction import Absent, Claim, Included, Refusal, Vote

US, HEALER, OTHER = "lumera1us", "lumera1healer", "lumera1other"
OURS = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="  # of bytes 0 to 31
RESPELT = OURS.rstrip("=") + "\n"
ANOTHER = "/////////////////////////////////////////w8="
NO_HASH = "not base64"
RESULTS = (OURS, RESPELT, ANOTHER, NO_HASH, "")

SCHEDULED, IN_PROGRESS = HealOpStatus.SCHEDULED, HealOpStatus.IN_PROGRESS
REPORTED, VERIFIED = HealOpStatus.HEALER_REPORTED, HealOpStatus.VERIFIED
FAILED, EXPIRED = HealOpStatus.FAILED, HealOpStatus.EXPIRED
TAKES_CLAIM = {SCHEDULED, IN_PROGRESS}
HAS_CLAIM = {REPORTED, VERIFIED}

HEALED = HealOp(5, Ticket("7"), US, (OTHER,), SCHEDULED)
VERIFYING = HealOp(5, Ticket("7"), HEALER, (OTHER, US), REPORTED, OURS)
CLAIM = Claim(5, Ticket("7"), OURS)
ROW = ClaimRow(5, Ticket("7"), OURS, "5", ClaimState.ACCEPTED, 1.0)
YES, NO = Vote(5, True, OURS, ""), Vote(5, False, ANOTHER, "hash_mismatch")
VOTED = VerificationRow(5, US, True, OURS, 1.0)

BOOLS = (False, True)


def sights(ops):
    """Every answer about these ops, and none."""
    return [None, *(Sight(op, current, confirmed) for op, current, confirmed in product(ops, BOOLS, BOOLS))]


def cases(facts, step):
    return [(case, step(case)) for case in facts]


HEALER_OPS = [
    None,
    *(
        evolve(HEALED, status=status, healer=healer, result_hash=result)
        for status, healer, result in product(HealOpStatus, (US, OTHER), RESULTS)
    ),
]
TOLD = [(None, Fate.UNSENT), *((CLAIM, carried) for carried in Fate)]
ROWS = [None, *(evolve(ROW, state=state) for state in ClaimState)]
HEALER_TABLE = cases(
    (
        HealerFacts(Duty(US, may_start, is_open), row, told, staged, has_rest, sight, carried)
        for may_start, is_open, row, (told, carried), staged, has_rest, sight in product(
            BOOLS, BOOLS, ROWS, TOLD, (None, OURS, ANOTHER), BOOLS, sights(HEALER_OPS)
        )
    ),
    healer_step,
)

VERIFIER_OPS = [
    None,
    *(
        evolve(VERIFYING, status=status, verifiers=verifiers)
        for status, verifiers in product(HealOpStatus, ((OTHER, US), (OTHER,), ()))
    ),
]
VERDICTS = [(None, Fate.UNSENT), *product((YES, NO), Fate)]
VERIFIER_TABLE = cases(
    (
        VerifierFacts(Duty(US, may_start, is_open), row, verdict, sight, carried)
        for may_start, is_open, row, (verdict, carried), sight in product(
            BOOLS, BOOLS, (None, VOTED), VERDICTS, sights(VERIFIER_OPS)
        )
    ),
    verifier_step,
)


def stands_for(facts):
    """The hash that this node stands for: what it claimed, else what it tells, else what it has."""
    if facts.row:
        return facts.row.manifest_hash
    return facts.told.manifest_hash if facts.told else facts.staged


def is_ours(facts):
    """Whether the chain says that the op is ours, and has our claim."""
    op = facts.sight and facts.sight.op
    return bool(op) and op.healer == US and op.status in HAS_CLAIM and is_hash_ours(facts)


def is_hash_ours(facts):
    spellings = {OURS: {OURS, RESPELT}, ANOTHER: {ANOTHER}, None: set()}
    return facts.sight.op.result_hash in spellings[stands_for(facts)]


def is_definite(sight):
    return sight is not None and sight.is_current and sight.is_confirmed


def steps(table, *kinds):
    found = [(facts, step) for facts, step in table if isinstance(step, kinds)]
    assert found
    return found


def state(facts):
    return facts.row and facts.row.state


def with_op(facts, **changes):
    return evolve(facts, sight=evolve(facts.sight, op=evolve(facts.sight.op, **changes)))


# What never happens to what this node heals


def test_without_an_answer_nothing_is_begun_sent_or_removed():
    for facts, step in HEALER_TABLE:
        if facts.sight is None:
            assert isinstance(step, Wait | RecordClaim | Publish) or step == Close("closing")


def test_nothing_is_removed_but_on_a_current_and_confirmed_answer():
    for facts, _ in steps(HEALER_TABLE, Close):
        assert state(facts) is ClaimState.CLOSING or is_definite(facts.sight)


def test_nothing_is_removed_while_the_op_can_succeed_with_what_we_have():
    for facts, _ in steps(HEALER_TABLE, Close):
        op = facts.sight and facts.sight.op
        if state(facts) is not ClaimState.CLOSING and op is not None and op.healer == US:
            assert op.status not in TAKES_CLAIM
            assert op.status is not HealOpStatus.UNSPECIFIED
            assert not is_ours(facts)


def test_nothing_is_confirmed_that_would_not_be_removed_then():
    for facts, _ in steps(HEALER_TABLE, Confirm):
        sure = evolve(facts, sight=evolve(facts.sight, is_current=True, is_confirmed=True))
        assert isinstance(healer_step(sure), Close)


def test_confirmation_changes_nothing_but_what_is_removed():
    for facts, step in HEALER_TABLE:
        if facts.sight and not facts.sight.is_confirmed:
            sure = healer_step(evolve(facts, sight=evolve(facts.sight, is_confirmed=True)))
            assert sure == step or (isinstance(step, Confirm) and isinstance(sure, Close))


def test_a_claim_is_sent_only_when_it_may_count_and_no_other_can_be_on_its_way():
    for facts, step in steps(HEALER_TABLE, SendClaim):
        op = facts.sight.op
        assert facts.row is None
        assert facts.carried is Fate.UNSENT
        assert facts.staged is not None
        assert facts.duty.is_window_open
        assert facts.sight.is_current
        assert op.healer == US
        assert op.status in TAKES_CLAIM
        assert step == SendClaim(op, facts.told or Claim(op.op_id, op.ticket, facts.staged))


def test_a_claim_is_recorded_only_when_the_chain_accepted_it():
    for facts, step in steps(HEALER_TABLE, RecordClaim):
        assert facts.row is None
        assert facts.carried is Fate.ACCEPTED or is_ours(facts)
        assert step.says == (facts.told or Claim(5, Ticket("7"), facts.staged))


def test_nothing_enters_the_network_before_the_op_was_seen_verified():
    for facts, step in steps(HEALER_TABLE, Publish):
        assert step.row == facts.row
        if state(facts) is not ClaimState.PUBLISHING:
            assert state(facts) is ClaimState.ACCEPTED
            assert is_ours(facts)
            assert facts.sight.op.status is VERIFIED


def test_what_is_being_published_is_published_whatever_the_chain_says():
    for facts, step in HEALER_TABLE:
        if state(facts) is ClaimState.PUBLISHING:
            assert step == Publish(facts.row)


def test_what_is_closing_is_only_removed():
    for facts, step in HEALER_TABLE:
        assert (step == Close("closing")) == (state(facts) is ClaimState.CLOSING)


def test_no_role_skips():
    for facts, step in HEALER_TABLE:
        op = facts.sight and facts.sight.op
        is_nothing_here = not (facts.row or facts.told or facts.staged or facts.has_rest)
        if is_nothing_here and (op is None or op.healer != US):
            assert step == Wait()


def test_final_states_of_ops_that_left_nothing_here_are_ignored():
    for facts, step in HEALER_TABLE:
        op = facts.sight and facts.sight.op
        if op is not None and op.status in {VERIFIED, FAILED, EXPIRED} and not facts.has_anything:
            assert step == Wait()


def test_a_rebuild_is_for_an_op_of_ours_that_lacks_its_file_and_has_time():
    for facts, step in steps(HEALER_TABLE, Reconstruct):
        op = facts.sight.op
        assert step.op == op
        assert op.healer == US
        assert facts.duty.is_window_open
        assert not facts.is_staged
        assert (op.status in TAKES_CLAIM and facts.row is None and facts.sight.is_current) or op.status is REPORTED


def test_new_work_is_begun_only_when_it_may_and_what_has_begun_goes_on():
    for facts, step in HEALER_TABLE:
        if not facts.duty.may_start:
            willing = healer_step(evolve(facts, duty=evolve(facts.duty, may_start=True)))
            if willing != step:
                assert step == Wait()
                assert isinstance(willing, Reconstruct)
                assert facts.sight.op.status in TAKES_CLAIM
                assert facts.row is facts.told is facts.staged is None


def test_the_hash_of_an_op_means_a_claim_in_two_statuses_only():
    for facts, step in HEALER_TABLE:
        op = facts.sight and facts.sight.op
        if op is not None and op.status not in HAS_CLAIM and op.result_hash == OURS:
            for result in RESULTS:
                other = healer_step(with_op(facts, result_hash=result))
                assert other == step or (isinstance(step, Reconstruct | SendClaim) and type(other) is type(step))


def test_the_spelling_of_a_hash_makes_no_difference():
    for facts, step in HEALER_TABLE:
        if facts.sight and facts.sight.op and facts.sight.op.result_hash == OURS:
            assert type(healer_step(with_op(facts, result_hash=RESPELT))) is type(step)


def test_a_node_that_is_behind_begins_and_sends_nothing_for_an_open_op():
    for facts, step in HEALER_TABLE:
        op = facts.sight and facts.sight.op
        if op is not None and op.status in TAKES_CLAIM and op.healer == US and not facts.sight.is_current:
            assert isinstance(step, Wait | RecordClaim | Publish) or step == Close("closing")


def test_after_the_window_nothing_is_sent_or_rebuilt():
    for facts, step in HEALER_TABLE:
        assert facts.duty.is_window_open or not isinstance(step, SendClaim | Reconstruct)


def test_leftovers_alone_change_nothing_but_that_they_are_removed_at_the_end():
    for facts, step in HEALER_TABLE:
        if facts.has_rest:
            without = healer_step(evolve(facts, has_rest=False))
            assert step == without or (without == Wait() and isinstance(step, Confirm | Close))


def test_a_file_is_served_only_for_the_claim_that_the_chain_has():
    for facts, _ in steps(HEALER_TABLE, Serve):
        assert state(facts) is ClaimState.ACCEPTED
        assert facts.staged is not None
        assert facts.sight.op.status is REPORTED
        assert is_ours(facts)


# Every state has a way forward


def sure(op):
    return Sight(op, is_current=True, is_confirmed=True)


@pytest.mark.parametrize("is_known", BOOLS)
@pytest.mark.parametrize("may_start", BOOLS)
@pytest.mark.parametrize("is_open", BOOLS)
def test_every_local_state_comes_to_its_end_when_the_op_does(is_known, may_start, is_open):
    sight = sure(evolve(HEALED, status=EXPIRED) if is_known else None)
    for row, (told, carried), staged, has_rest in product(ROWS, TOLD, (None, OURS, ANOTHER), BOOLS):
        facts = HealerFacts(Duty(US, may_start, is_open), row, told, staged, has_rest, sight, carried)
        step = healer_step(facts)
        if isinstance(step, RecordClaim):
            facts = evolve(facts, row=ROW, told=None, carried=Fate.UNSENT)
            step = healer_step(facts)
        if row is not None and row.state is ClaimState.PUBLISHING:
            assert step == Publish(row)
        else:
            assert isinstance(step, Close) == facts.has_anything
            assert isinstance(step, Wait) != facts.has_anything


def changed_by(step, op):
    """What a step of the healer changes, when the chain takes what it is sent."""
    match step:
        case Reconstruct():
            return {"staged": OURS}
        case SendClaim(_, says):
            claimed = sure(evolve(op, status=REPORTED, result_hash=says.manifest_hash))
            return {"told": says, "carried": Fate.ACCEPTED, "sight": claimed}
        case RecordClaim(says):
            return {"row": evolve(ROW, manifest_hash=says.manifest_hash), "told": None, "carried": Fate.UNSENT}
        case Serve():
            return {"sight": sure(evolve(op, status=VERIFIED))}
        case Publish(row):
            is_begun = row.state is ClaimState.PUBLISHING
            return {"row": evolve(row, state=ClaimState.CLOSING if is_begun else ClaimState.PUBLISHING)}
        case Close():
            return {"row": None, "told": None, "staged": None, "has_rest": False, "carried": Fate.UNSENT}
    raise AssertionError(step)


@pytest.mark.parametrize("has_rest", BOOLS)
@pytest.mark.parametrize("staged", [None, OURS])
@pytest.mark.parametrize(("told", "carried"), TOLD)
@pytest.mark.parametrize("row", ROWS)
def test_from_every_local_state_a_willing_chain_leads_to_a_published_file(row, told, carried, staged, has_rest):
    status = SCHEDULED if row is None and carried is Fate.UNSENT else REPORTED
    op = evolve(HEALED, status=status, result_hash="" if status is SCHEDULED else OURS)
    facts = HealerFacts(Duty(US, True, True), row, told, staged, has_rest, sure(op), carried)
    taken = []
    while not taken or facts.row or facts.told or facts.staged or facts.has_rest:
        taken.append(healer_step(facts))
        facts = evolve(facts, **changed_by(taken[-1], facts.sight.op))
        assert len(taken) < 10
    assert any(isinstance(step, Publish) for step in taken) == (row is None or row.state is not ClaimState.CLOSING)
    assert taken[-1] == Close("closing")


def test_a_transaction_that_never_was_included_is_followed_by_another():
    facts = healing(SCHEDULED, told=CLAIM, staged=OURS, carried=Fate.UNDECIDED)
    assert healer_step(facts) == Wait()
    assert healer_step(evolve(facts, carried=Fate.UNSENT)) == SendClaim(facts.sight.op, CLAIM)


# The healer's table, row by row


def healing(status, **known):
    """Facts of an op of ours: nothing known of it here, asked twice, in time."""
    result = known.pop("result", OURS if status in HAS_CLAIM else "")
    op = evolve(HEALED, status=status, result_hash=result, healer=known.pop("healer", US))
    defaults = {"duty": Duty(US, True, True), "row": None, "told": None, "staged": None, "has_rest": False}
    return HealerFacts(**{**defaults, "sight": sure(op), "carried": Fate.UNSENT, **known})


UNSURE = [
    pytest.param(False, False, id="behind"),
    pytest.param(False, True, id="behind after all"),
    pytest.param(True, False, id="seen once"),
]
HELD = [
    pytest.param({"row": ROW, "staged": OURS}, id="a claim row"),
    pytest.param({"told": CLAIM, "staged": OURS}, id="an intent"),
    pytest.param({"told": CLAIM, "carried": Fate.UNDECIDED}, id="an intent on its way"),
    pytest.param({"staged": OURS}, id="an orphan"),
    pytest.param({"has_rest": True}, id="a work area"),
]


@pytest.mark.parametrize("status", [SCHEDULED, IN_PROGRESS])
def test_an_op_that_names_us_is_reconstructed_then_claimed(status):
    facts = healing(status)
    op = facts.sight.op
    assert healer_step(facts) == Reconstruct(op)
    assert healer_step(evolve(facts, staged=OURS)) == SendClaim(op, CLAIM)
    assert healer_step(evolve(facts, staged=OURS, told=CLAIM, carried=Fate.UNDECIDED)) == Wait()
    assert healer_step(evolve(facts, staged=OURS, told=CLAIM, carried=Fate.ACCEPTED)) == RecordClaim(CLAIM)


def test_still_scheduled_and_the_transaction_gone_for_good_means_the_same_claim_from_the_same_staging():
    facts = healing(SCHEDULED, told=CLAIM, staged=OURS)
    assert healer_step(facts) == SendClaim(facts.sight.op, CLAIM)
    unwilling = evolve(facts, duty=Duty(US, may_start=False, is_window_open=True))
    assert healer_step(unwilling) == SendClaim(facts.sight.op, CLAIM)


def test_a_staging_lost_after_its_claim_was_decided_is_rebuilt_in_every_mode():
    facts = healing(SCHEDULED, told=CLAIM, duty=Duty(US, may_start=False, is_window_open=True))
    assert healer_step(facts) == Reconstruct(facts.sight.op)


def test_unspecified_starts_nothing():
    facts = healing(SCHEDULED, duty=Duty(US, may_start=False, is_window_open=True))
    assert healer_step(facts) == Wait()
    assert healer_step(evolve(facts, has_rest=True)) == Wait()


@pytest.mark.parametrize("staged", [None, OURS])
def test_after_the_window_an_open_op_is_left_to_expire(staged):
    duty = Duty(US, may_start=True, is_window_open=False)
    assert healer_step(healing(SCHEDULED, staged=staged, duty=duty)) == Wait()
    assert isinstance(healer_step(healing(EXPIRED, staged=staged, has_rest=True, duty=duty)), Close)


def test_a_scheduled_op_whose_claim_the_chain_has_accepted_is_seen_through_a_node_that_is_behind():
    assert healer_step(healing(SCHEDULED, row=ROW, staged=OURS)) == Wait()
    assert healer_step(healing(SCHEDULED, row=ROW)) == Wait()


def test_a_complete_staging_of_an_op_that_has_our_claim_is_adopted():
    assert healer_step(healing(REPORTED, staged=OURS)) == RecordClaim(CLAIM)
    assert healer_step(healing(VERIFIED, staged=OURS)) == RecordClaim(CLAIM)


def test_an_existing_chain_claim_is_reconciled_after_a_crash():
    for carried in Fate:
        assert healer_step(healing(REPORTED, told=CLAIM, staged=OURS, carried=carried)) == RecordClaim(CLAIM)
        assert healer_step(healing(VERIFIED, told=CLAIM, staged=OURS, carried=carried)) == RecordClaim(CLAIM)


def test_healer_reported_ours_and_without_a_directory_is_rebuilt_and_served():
    for known in ({}, {"row": ROW}, {"told": CLAIM}, {"has_rest": True}):
        for may_start in BOOLS:
            facts = healing(REPORTED, duty=Duty(US, may_start, is_window_open=True), **known)
            assert healer_step(facts) == Reconstruct(facts.sight.op)
    assert healer_step(healing(REPORTED, row=ROW, staged=OURS)) == Serve()


def test_healer_reported_without_a_directory_and_out_of_time_waits_for_its_end():
    closed = Duty(US, may_start=True, is_window_open=False)
    assert healer_step(healing(REPORTED, row=ROW, duty=closed)) == Wait()
    assert healer_step(healing(REPORTED, row=ROW, staged=OURS, duty=closed)) == Serve()


@pytest.mark.parametrize("status", [REPORTED, VERIFIED])
@pytest.mark.parametrize("result", [ANOTHER, NO_HASH, ""])
@pytest.mark.parametrize("known", [{"told": CLAIM, "staged": OURS}, {"told": CLAIM}, {"staged": OURS}, {"row": ROW}])
def test_reconcile_with_another_hash_removes_staging_and_records_nothing(status, result, known):
    facts = healing(status, result=result, **known)
    assert healer_step(facts) == Close(status.name)
    assert healer_step(evolve(facts, sight=evolve(facts.sight, is_confirmed=False))) == Confirm()


def test_verified_publishes():
    for staged in (OURS, None):
        assert healer_step(healing(VERIFIED, row=ROW, staged=staged)) == Publish(ROW)
    told = healing(VERIFIED, told=CLAIM, duty=Duty(US, may_start=False, is_window_open=False))
    assert healer_step(told) == RecordClaim(CLAIM)


def test_verified_is_believed_also_when_it_was_seen_once_or_by_a_node_that_is_behind():
    for current, confirmed in product(BOOLS, BOOLS):
        facts = healing(VERIFIED, row=ROW, staged=OURS)
        assert healer_step(evolve(facts, sight=Sight(facts.sight.op, current, confirmed))) == Publish(ROW)


def test_what_was_seen_verified_is_published_although_the_chain_has_pruned_the_op():
    publishing = evolve(ROW, state=ClaimState.PUBLISHING)
    for sight in (None, sure(None), sure(evolve(HEALED, status=FAILED, result_hash=ANOTHER))):
        facts = evolve(healing(VERIFIED, row=publishing, staged=OURS), sight=sight)
        assert healer_step(facts) == Publish(publishing)


def test_verified_and_closed_here_leaves_nothing_to_do_but_to_remove_what_lies_about():
    assert healer_step(healing(VERIFIED)) == Wait()
    assert healer_step(healing(VERIFIED, has_rest=True)) == Close("VERIFIED")


@pytest.mark.parametrize("known", HELD)
@pytest.mark.parametrize("status", [FAILED, EXPIRED])
def test_failed_and_expired_delete_and_do_not_publish(status, known):
    for result in RESULTS:
        assert healer_step(healing(status, result=result, **known)) == Close(status.name)


@pytest.mark.parametrize("known", HELD)
def test_heal_op_not_found_cleans_claim_and_staging(known):
    facts = evolve(healing(REPORTED, **known), sight=sure(None))
    assert healer_step(facts) == Close("unknown to the chain")


@pytest.mark.parametrize("known", HELD)
@pytest.mark.parametrize("status", HealOpStatus)
def test_an_op_of_another_healer_is_none_of_ours(status, known):
    facts = healing(status, healer=OTHER, **known)
    assert healer_step(facts) == Close(status.name)


@pytest.mark.parametrize("known", HELD)
@pytest.mark.parametrize(("is_current", "is_confirmed"), UNSURE)
def test_no_end_is_believed_that_is_not_sure(is_current, is_confirmed, known):
    for op in (None, evolve(HEALED, status=FAILED), evolve(HEALED, status=EXPIRED), evolve(HEALED, healer=OTHER)):
        facts = evolve(healing(REPORTED, **known), sight=Sight(op, is_current, is_confirmed))
        assert healer_step(facts) == Confirm()


@pytest.mark.parametrize("known", HELD)
def test_no_transient_error_deletes_anything(known):
    assert healer_step(evolve(healing(REPORTED, **known), sight=None)) == Wait()


def test_an_accepted_claim_is_recorded_before_anything_else_is_looked_at():
    for sight in (None, sure(None), sure(evolve(HEALED, status=EXPIRED))):
        facts = evolve(healing(REPORTED, told=CLAIM, staged=OURS, carried=Fate.ACCEPTED), sight=sight)
        assert healer_step(facts) == RecordClaim(CLAIM)


def test_a_status_that_nobody_knows_changes_nothing():
    for known in ({}, {"row": ROW, "staged": OURS}, {"told": CLAIM, "staged": OURS}, {"has_rest": True}):
        assert healer_step(healing(HealOpStatus.UNSPECIFIED, **known)) == Wait()


# The verifier


def test_a_verifier_without_an_answer_only_records_what_was_accepted():
    for facts, step in VERIFIER_TABLE:
        if facts.sight is None:
            assert isinstance(step, Wait | RecordVote)


def test_a_vote_is_recorded_when_its_transaction_was_accepted_and_only_once():
    for facts, step in VERIFIER_TABLE:
        is_accepted = facts.row is None and facts.verdict is not None and facts.carried is Fate.ACCEPTED
        assert (step == RecordVote(facts.verdict)) == is_accepted
        assert isinstance(step, RecordVote) == is_accepted


def test_a_vote_is_sent_only_when_it_may_count_and_no_other_can_be_on_its_way():
    for facts, step in steps(VERIFIER_TABLE, SendVote):
        op = facts.sight.op
        assert facts.row is None
        assert facts.carried is Fate.UNSENT
        assert facts.duty.is_window_open
        assert op.status is REPORTED
        assert US in op.verifiers
        assert step.op == op


def test_a_journalled_verdict_is_never_changed_nor_made_again():
    for facts, step in VERIFIER_TABLE:
        if isinstance(step, SendVote | RecordVote):
            assert step.says == facts.verdict
        assert not (isinstance(step, Verify) and facts.verdict)


def test_a_file_is_verified_only_for_a_claimed_op_that_names_us_in_time_and_by_a_node_that_may():
    for facts, step in steps(VERIFIER_TABLE, Verify):
        op = facts.sight.op
        assert facts.row is facts.verdict is None
        assert facts.duty == Duty(US, may_start=True, is_window_open=True)
        assert facts.sight.is_current
        assert op.status is REPORTED
        assert US in op.verifiers
        assert step.op == op


def test_a_vote_is_forgotten_only_when_the_op_is_surely_no_longer_ours_to_vote_on():
    for facts, _ in steps(VERIFIER_TABLE, Forget):
        op = facts.sight.op
        assert is_definite(facts.sight)
        assert facts.row or facts.verdict
        assert op is None or US not in op.verifiers or op.status in {VERIFIED, FAILED, EXPIRED}


def test_what_a_verifier_asks_again_about_is_forgotten_then():
    for facts, _ in steps(VERIFIER_TABLE, Confirm):
        again = evolve(facts, sight=evolve(facts.sight, is_current=True, is_confirmed=True))
        assert verifier_step(again) == Forget()


def test_a_verifiers_mode_matters_for_new_work_only():
    for facts, step in VERIFIER_TABLE:
        if not facts.duty.may_start:
            willing = verifier_step(evolve(facts, duty=evolve(facts.duty, may_start=True)))
            assert willing == step or (step == Wait() and isinstance(willing, Verify))


def test_a_verifier_with_nothing_to_remember_and_no_role_skips():
    for facts, step in VERIFIER_TABLE:
        op = facts.sight and facts.sight.op
        if facts.row is None and facts.verdict is None and (op is None or US not in op.verifiers):
            assert step == Wait()


def test_every_vote_comes_to_its_end_when_the_op_does():
    ends = (None, *(evolve(VERIFYING, status=status) for status in (VERIFIED, FAILED, EXPIRED)))
    for op, row, (verdict, carried), duty in product(
        ends, (None, VOTED), VERDICTS, (Duty(US, False, False), Duty(US, True, True))
    ):
        facts = VerifierFacts(duty, row, verdict, sure(op), carried)
        step = verifier_step(facts)
        if isinstance(step, RecordVote):
            step = verifier_step(evolve(facts, row=VOTED, verdict=None, carried=Fate.UNSENT))
        assert step == (Forget() if row or verdict else Wait())


def verifying(status=REPORTED, **known):
    defaults = {"duty": Duty(US, True, True), "row": None, "verdict": None, "carried": Fate.UNSENT}
    return VerifierFacts(**{**defaults, "sight": sure(evolve(VERIFYING, status=status)), **known})


def test_a_claimed_op_that_names_us_is_verified_voted_on_and_waited_for():
    op = VERIFYING
    assert verifier_step(verifying()) == Verify(op)
    for verdict in (YES, NO):
        assert verifier_step(verifying(verdict=verdict)) == SendVote(op, verdict)
        assert verifier_step(verifying(verdict=verdict, carried=Fate.UNDECIDED)) == Wait()
        assert verifier_step(verifying(verdict=verdict, carried=Fate.ACCEPTED)) == RecordVote(verdict)
    assert verifier_step(verifying(row=VOTED)) == Wait()


def test_a_verdict_goes_on_in_every_mode():
    unwilling = Duty(US, may_start=False, is_window_open=True)
    assert verifier_step(verifying(duty=unwilling)) == Wait()
    assert verifier_step(verifying(duty=unwilling, verdict=NO)) == SendVote(VERIFYING, NO)


def test_after_the_window_nothing_is_verified_or_voted():
    late = Duty(US, may_start=True, is_window_open=False)
    assert verifier_step(verifying(duty=late)) == Wait()
    assert verifier_step(verifying(duty=late, verdict=YES)) == Wait()
    assert verifier_step(verifying(duty=late, verdict=YES, carried=Fate.ACCEPTED)) == RecordVote(YES)


@pytest.mark.parametrize("status", [SCHEDULED, IN_PROGRESS, HealOpStatus.UNSPECIFIED])
def test_an_op_without_a_claim_is_not_voted_on(status):
    for known in ({}, {"verdict": YES}, {"row": VOTED}):
        assert verifier_step(verifying(status, **known)) == Wait()


@pytest.mark.parametrize("status", [VERIFIED, FAILED, EXPIRED])
def test_final_ops_are_ignored_and_what_is_remembered_of_them_is_forgotten(status):
    assert verifier_step(verifying(status)) == Wait()
    assert verifier_step(verifying(status, verdict=NO)) == Forget()
    assert verifier_step(verifying(status, row=VOTED)) == Forget()


@pytest.mark.parametrize(("is_current", "is_confirmed"), UNSURE)
def test_no_vote_is_forgotten_on_an_unsure_answer(is_current, is_confirmed):
    for op in (None, evolve(VERIFYING, status=FAILED), evolve(VERIFYING, verifiers=(OTHER,))):
        for known in ({"verdict": NO}, {"row": VOTED}):
            facts = verifying(sight=Sight(op, is_current, is_confirmed), **known)
            assert verifier_step(facts) == Confirm()


# What became of a transaction

SENT = SentTransaction("AB" * 32, 7, 100)


def test_a_transaction_in_a_block_without_a_refusal_is_accepted():
    assert fate(SENT, Included(90, None), 90) is Fate.ACCEPTED


def test_a_vote_that_is_there_already_is_what_was_wanted():
    assert fate(SENT, Included(90, Refusal.VOTE_EXISTS), 90) is Fate.ACCEPTED


@pytest.mark.parametrize("refusal", set(Refusal) - {Refusal.VOTE_EXISTS})
def test_a_transaction_that_failed_in_its_block_is_dead_at_once(refusal):
    assert fate(SENT, Included(90, refusal), 90) is Fate.UNSENT


def test_a_transaction_that_no_block_has_is_dead_only_when_no_block_can_have_it_any_more():
    for height in (0, 99, 100, 100 + INDEX_BLOCKS - 1):
        assert fate(SENT, Absent(), height) is Fate.UNDECIDED
    for height in (100 + INDEX_BLOCKS, 10_000):
        assert fate(SENT, Absent(), height) is Fate.UNSENT


def test_what_a_block_has_counts_however_far_behind_the_answering_node_is():
    for height in (0, 90, 1 << 40):
        assert fate(SENT, Included(90, None), height) is Fate.ACCEPTED


def test_a_look_up_never_makes_an_accepted_transaction_of_an_absent_one():
    assert all(fate(SENT, Absent(), height) is not Fate.ACCEPTED for height in range(300))


def test_a_staging_of_another_file_than_was_claimed_is_not_served_and_not_claimed():
    op = HealOp(5, Ticket("7"), US, ("lumera1other",), REPORTED, OURS)
    row = ClaimRow(5, Ticket("7"), OURS, "5", ClaimState.ACCEPTED, 1.0)
    facts = HealerFacts(Duty(US, True, True), row, None, ANOTHER, False, Sight(op, True, True), Fate.UNSENT)
    assert healer_step(facts) == Reconstruct(op)
    op = evolve(op, status=HealOpStatus.SCHEDULED, result_hash="")
    facts = evolve(facts, row=None, told=Claim(5, Ticket("7"), OURS), sight=Sight(op, True, True))
    assert healer_step(facts) == Reconstruct(op)
