"""The judge of a heal: whatever is not as the scenario says is named, and nothing else."""

from collections import Counter

import pytest

from lep6.devnet.judgement import Evidence, complaints
from lep6.devnet.scenario import Scenario
from lep6.heal.events import Event, What

HASH, SERVED, ODD = "of the file", "of what is served", "of nothing"
REPLICAS = 2


def op(number, status, result_hash=HASH, healer="a"):
    return {
        "id": number,
        "ticket": "1",
        "healer": healer,
        "verifiers": ["x", "y"],
        "status": status,
        "result_hash": result_hash,
    }


def votes(number, *, verified, said=HASH):
    return [{"op": number, "verifier": verifier, "verified": verified, "hash": said} for verifier in ("x", "y")]


def event(what, number=1, text=""):
    return ("a", Event(what, number, text))


STAGED, PUBLISHED = event(What.RECONSTRUCTED), event(What.PUBLISHED)


def healed(scenario, **found):
    return Evidence(
        scenario=scenario,
        replicas=REPLICAS,
        result_hash=HASH,
        **{
            "is_over": True,
            "ops": [op(1, "VERIFIED")],
            "votes": votes(1, verified=True),
            "claims": [1],
            "events": [STAGED, PUBLISHED],
            "copies": Counter({2: 90, 4: 6}),
            "left_in_the_end": 90,
            "is_retrievable": True,
            **found,
        },
    )


def verified(**found):
    return healed(Scenario.VERIFIED, **found)


def restarted(**found):
    return healed(Scenario.HEALER_RESTART, **{"deaths": 1, **found})


def corrupt(**found):
    return healed(
        Scenario.CORRUPT_HEALER,
        **{
            "ops": [op(1, "FAILED", SERVED, "c"), op(2, "VERIFIED")],
            "votes": votes(1, verified=False, said=SERVED) + votes(2, verified=True),
            "claims": [1, 2],
            "events": [STAGED, event(What.RECONSTRUCTED, 2), event(What.PUBLISHED, 2)],
            "corrupt": {"c"},
            "served_by_corrupt": SERVED,
            **found,
        },
    )


def lost(scenario, **found):
    return Evidence(
        scenario=scenario,
        replicas=REPLICAS,
        result_hash=HASH,
        **{"is_over": True, "ops": [op(1, "EXPIRED", "")], "copies": Counter({2: 3, 0: 93}), **found},
    )


def unrecoverable(**found):
    return lost(Scenario.UNRECOVERABLE, **{"events": [event(What.DEFERRED)], **found})


def unattended(**found):
    return lost(Scenario.NO_QUORUM, **{"ops": [op(1, "EXPIRED")], "claims": [1], "events": [STAGED], **found})


GOOD = {
    Scenario.VERIFIED: verified,
    Scenario.CORRUPT_HEALER: corrupt,
    Scenario.UNRECOVERABLE: unrecoverable,
    Scenario.NO_QUORUM: unattended,
    Scenario.HEALER_RESTART: restarted,
}
HEALS = [verified, corrupt, restarted]
LOSSES = [unrecoverable, unattended]


@pytest.mark.parametrize("scenario", Scenario)
def test_a_story_as_its_scenario_says_has_no_complaint(scenario):
    found = GOOD[scenario]()
    assert found.scenario is scenario
    assert complaints(found) == []


def test_a_corrupt_healer_may_be_drawn_more_than_once():
    ops = [op(1, "FAILED", SERVED, "c"), op(2, "FAILED", SERVED, "c"), op(3, "VERIFIED")]
    said = [vote for number in (1, 2) for vote in votes(number, verified=False, said=SERVED)]
    assert complaints(corrupt(ops=ops, votes=said + votes(3, verified=True), claims=[1, 2, 3])) == []


def test_more_copies_than_are_needed_are_no_fault():
    assert complaints(verified(copies=Counter({2: 1, 3: 5, 64: 1}))) == []


ANYWHERE = {
    "it did not come to its end in time": {"is_over": False},
    "2 rows and 0 directories are left": {"rows_left": 2},
    "0 rows and 3 directories are left": {"stagings_left": 3},
    "4 values were published before an op was VERIFIED": {"published_early": 4},
}


@pytest.mark.parametrize("good", GOOD.values(), ids=lambda good: good.__name__)
@pytest.mark.parametrize("complaint", ANYWHERE)
def test_in_every_scenario_this_alone_is_named(good, complaint):
    assert complaints(good(**ANYWHERE[complaint])) == [complaint]


@pytest.mark.parametrize("good", GOOD.values(), ids=lambda good: good.__name__)
def test_in_every_scenario_a_bug_is_named(good):
    events = [*good().events, event(What.FAILED, 0, "healer: KeyError(1)"), event(What.FAILED, 1, "ValueError()")]
    assert complaints(good(events=events)) == [
        "a node has a bug: healer: KeyError(1)",
        "a node has a bug: ValueError()",
    ]


@pytest.mark.parametrize("good", [*HEALS, unattended], ids=lambda good: good.__name__)
def test_two_claims_of_an_op_are_named(good):
    claims = good().claims
    found = complaints(good(claims=[*claims, claims[-1]]))
    assert found[0] == "an op has two accepted claims"
    assert len(found) == 2  # and there are more than were expected


@pytest.mark.parametrize("good", HEALS, ids=lambda good: good.__name__)
def test_two_votes_of_a_verifier_on_an_op_are_named(good):
    said = good().votes
    assert complaints(good(votes=[*said, said[-1]])) == ["a verifier has two accepted votes on an op"]


WRONG_HEALS = {
    "it was published 0 times": {"events": [STAGED]},
    "it was published 2 times": {"events": [STAGED, PUBLISHED, PUBLISHED]},
    "there is nothing in the network": {"copies": Counter()},
    "7 values have fewer than 2 copies": {"copies": Counter({2: 80, 1: 4, 0: 3})},
    "the file cannot be read back": {"is_retrievable": False},
}


@pytest.mark.parametrize("good", HEALS, ids=lambda good: good.__name__)
@pytest.mark.parametrize("complaint", WRONG_HEALS)
def test_of_a_heal_this_alone_is_named(good, complaint):
    assert complaints(good(**WRONG_HEALS[complaint])) == [complaint]


@pytest.mark.parametrize("good", HEALS, ids=lambda good: good.__name__)
@pytest.mark.parametrize("claims", [[], [1, 2, 3]])
def test_of_a_heal_every_op_has_a_claim(good, claims):
    found = good(claims=claims)
    assert complaints(found) == [f"{len(claims)} claims were accepted for {len(found.ops)} ops"]


@pytest.mark.parametrize("good", HEALS, ids=lambda good: good.__name__)
def test_of_a_heal_the_result_is_the_hash_of_the_file(good):
    *before, last = good().ops
    assert complaints(good(ops=[*before, {**last, "result_hash": ODD}])) == ["the result hash is not that of the file"]


@pytest.mark.parametrize("good", HEALS, ids=lambda good: good.__name__)
@pytest.mark.parametrize(
    ("said", "count"),
    [
        (lambda _: [], 0),
        (lambda number: votes(number, verified=True)[:1], 1),
        (lambda number: votes(number, verified=False, said=ODD), 0),
        (lambda number: votes(number, verified=True)[:1] + votes(number, verified=False)[1:], 1),
        (lambda number: votes(number + 1, verified=True), 0),
    ],
    ids=["nobody", "one", "two say no", "one of two", "of another op"],
)
def test_behind_a_heal_stand_most_of_its_verifiers(good, said, count):
    last = good().ops[-1]["id"]
    before = [vote for vote in good().votes if vote["op"] != last]
    found = good(votes=[*before, *said(last)])
    assert complaints(found) == [f"op {last} is VERIFIED by {count} votes of 2 verifiers"]


def test_a_heal_needs_no_more_than_most_of_its_verifiers():
    three = {**op(1, "VERIFIED"), "verifiers": ["x", "y", "z"]}
    no = {"op": 1, "verifier": "z", "verified": False, "hash": ODD}
    assert complaints(verified(ops=[three])) == []
    assert complaints(verified(ops=[three], votes=[*votes(1, verified=True), no])) == []
    one = [*votes(1, verified=True)[:1], no]
    assert complaints(verified(ops=[three], votes=one)) == ["op 1 is VERIFIED by 1 votes of 3 verifiers"]


def ops_of(*statuses):
    return [op(number, status) for number, status in enumerate(statuses, 1)]


@pytest.mark.parametrize("good", [verified, restarted], ids=lambda good: good.__name__)
@pytest.mark.parametrize(
    ("statuses", "complaint"),
    [
        (["EXPIRED"], "the ops ended EXPIRED, not with one VERIFIED"),
        (["HEALER_REPORTED"], "the ops ended HEALER_REPORTED, not with one VERIFIED"),
        (["VERIFIED", "VERIFIED"], "the ops ended VERIFIED, VERIFIED, not with one VERIFIED"),
        (["VERIFIED", "EXPIRED"], "the ops ended VERIFIED, EXPIRED, not with one VERIFIED"),
    ],
)
def test_another_end_of_the_ops_of_a_heal_is_named(good, statuses, complaint):
    claims = list(range(1, len(statuses) + 1))
    assert complaints(good(ops=ops_of(*statuses), claims=claims)) == [complaint]


@pytest.mark.parametrize("good", HEALS, ids=lambda good: good.__name__)
def test_a_heal_without_an_op_is_a_complaint_and_no_error(good):
    assert complaints(good(ops=[], votes=[], claims=[]))


@pytest.mark.parametrize("good", LOSSES, ids=lambda good: good.__name__)
def test_a_loss_without_an_op_is_a_complaint_and_no_error(good):
    assert complaints(good(ops=[], claims=[]))


def test_an_op_that_failed_is_none_of_an_honest_story():
    said = votes(1, verified=False, said=SERVED) + votes(2, verified=True)
    found = verified(ops=[op(1, "FAILED", SERVED), op(2, "VERIFIED")], votes=said, claims=[1, 2])
    assert "1 ops FAILED" in complaints(found)
    assert "op 1 FAILED, and its healer is honest" in complaints(found)


def test_a_corrupt_healer_that_never_fails_is_no_such_story():
    found = corrupt(ops=[op(1, "VERIFIED")], votes=votes(1, verified=True), claims=[1])
    assert complaints(found) == ["0 ops FAILED"]


def test_a_corrupt_healer_whose_op_expired_before_another_heal_is_no_such_story():
    found = corrupt(ops=[op(1, "EXPIRED", HASH, "c"), op(2, "VERIFIED")], votes=votes(2, verified=True))
    assert complaints(found) == ["0 ops FAILED"]


@pytest.mark.parametrize(
    "said",
    [
        [],
        votes(1, verified=False, said=SERVED)[:1],
        votes(1, verified=False, said=ODD),
        [*votes(1, verified=False, said=SERVED)[:1], *votes(1, verified=False, said=ODD)[1:]],
        [*votes(1, verified=False, said=SERVED)[:1], *votes(1, verified=True)[1:]],
    ],
    ids=["nobody", "one", "another hash", "two hashes", "one of two"],
)
def test_an_op_of_a_corrupt_healer_fails_by_all_votes_with_the_hash_of_what_it_served(said):
    found = corrupt(votes=said + votes(2, verified=True))
    assert complaints(found) == ["op 1 FAILED, and not by the hash of what was served"]


def test_the_votes_on_another_op_of_a_corrupt_healer_do_not_count():
    ops = [op(1, "FAILED", SERVED, "c"), op(2, "FAILED", SERVED, "c"), op(3, "VERIFIED")]
    said = votes(2, verified=False, said=SERVED) + votes(3, verified=True)
    found = corrupt(ops=ops, votes=said, claims=[1, 2, 3])
    assert complaints(found) == ["op 1 FAILED, and not by the hash of what was served"]


def test_an_honest_healer_whose_op_failed_is_named_in_the_story_of_a_corrupt_one():
    ops = [op(1, "FAILED", SERVED, "b"), op(2, "VERIFIED")]
    assert complaints(corrupt(ops=ops)) == ["op 1 FAILED, and its healer is honest"]


@pytest.mark.parametrize("deaths", [0, 2])
def test_a_restart_is_one_death(deaths):
    assert complaints(restarted(deaths=deaths)) == [f"the healer died {deaths} times"]


@pytest.mark.parametrize("times", [0, 2])
def test_after_a_restart_what_was_staged_is_used(times):
    found = restarted(events=[STAGED] * times + [PUBLISHED])
    assert complaints(found) == ["what was staged before the death was not used"]


WRONG_LOSSES = {
    "something was published: 5 values are in the network": {"left_in_the_end": 5},
    "the file can be read back": {"is_retrievable": True},
    "2 votes were accepted": {"votes": votes(1, verified=True)},
}


@pytest.mark.parametrize("good", LOSSES, ids=lambda good: good.__name__)
@pytest.mark.parametrize("complaint", WRONG_LOSSES)
def test_of_a_loss_this_alone_is_named(good, complaint):
    assert complaints(good(**WRONG_LOSSES[complaint])) == [complaint]


@pytest.mark.parametrize("good", LOSSES, ids=lambda good: good.__name__)
def test_of_a_loss_a_publish_is_named_though_nothing_came_of_it(good):
    found = good(events=[*good().events, PUBLISHED])
    assert complaints(found) == ["something was published: 0 values are in the network"]


@pytest.mark.parametrize("good", LOSSES, ids=lambda good: good.__name__)
@pytest.mark.parametrize("statuses", [["FAILED"], ["VERIFIED"], ["SCHEDULED"], ["EXPIRED", "EXPIRED"]])
def test_another_end_of_the_ops_of_a_loss_is_named(good, statuses):
    result_hash = good().ops[0]["result_hash"]
    ops = [{**entry, "result_hash": result_hash} for entry in ops_of(*statuses)]
    assert complaints(good(ops=ops)) == [f"the ops ended {', '.join(statuses)}, not with one EXPIRED"]


def test_an_unrecoverable_file_is_not_claimed():
    assert complaints(unrecoverable(claims=[1])) == ["1 claims were accepted, not 0"]
    assert complaints(unrecoverable(ops=[op(1, "EXPIRED", ODD)])) == [f"the result hash is {ODD}"]


def test_without_a_quorum_the_file_is_claimed_once():
    assert complaints(unattended(claims=[])) == ["0 claims were accepted, not 1"]
    assert complaints(unattended(ops=[op(1, "EXPIRED", "")])) == ["the result hash is empty"]
    assert complaints(unattended(ops=[op(1, "EXPIRED", ODD)])) == [f"the result hash is {ODD}"]
