"""The simulation itself: that it is one story for each seed, that its faults are what they say, its witness sees."""

import gc
import json
import logging
import math
import os
import re
import shutil
import sys
import tempfile
import threading
from collections import Counter
from functools import partial
from pathlib import Path
from random import Random

import pytest
import structlog
import trio
import trio.testing
from attrs import asdict, define, evolve, field
from structlog.testing import capture_logs

import lep6.devnet.simulation.run as story_run
from chainbox import HASH, OTHER_HASH, address, cast, claim, claimed, run, scheduled, send, vote
from lep6 import _core
from lep6.blocking import Inline
from lep6.cascade import regenerate, staging
from lep6.cascade.publish import Published, Publisher
from lep6.database import Database, Schema
from lep6.devnet.node import STAGING
from lep6.devnet.simulation import determinism, seeds
from lep6.devnet.simulation.chain_faults import FaultyConnection
from lep6.devnet.simulation.chance import EPOCH_BLOCKS, WINDOW_SECONDS, Fault, Story, Weather
from lep6.devnet.simulation.disk_faults import WRITERS, FullDisk, Lost, lose_files, restore, save_at_power_cut
from lep6.devnet.simulation.life import Life
from lep6.devnet.simulation.peer_faults import FailingStream, SlowStream, Streets, WatchedNetwork
from lep6.devnet.simulation.run import Outcome, simulate
from lep6.devnet.simulation.witness import GRACE_SECONDS, Witness
from lep6.errors import ChainUnavailable, StoreUnavailable
from lep6.heal import decisions, submission, verifier
from lep6.heal.decisions import Close, Fate, Publish
from lep6.heal.disk import op_ids
from lep6.heal.events import Event, What
from lep6.heal.finalizer import Finalizer
from lep6.heal.healer import Healer
from lep6.heal.ledger import Ledger
from lep6.heal.rows import ClaimRow, ClaimState, Intent
from lep6.heal.settings import UnreachablePolicy
from lep6.heal.submission import Submissions
from lep6.heal.verifier import Verifier
from lep6.model import HealOpStatus, Key, Ticket
from lep6.transaction import Absent, Claim, Indeterminate, Pooled, Refusal, Refused, Transaction, Vote

SEEDS = range(500)
STORIES = [Story.of(seed) for seed in SEEDS]
NO_RATES = dict.fromkeys(Fault, 0.0)


@pytest.fixture(autouse=True, scope="module")
def quiet():
    """The runs are loud: what they say is read by nobody."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    yield
    structlog.configure(**before)


def story(**changes):
    """A story of four honest nodes in which nothing goes wrong."""
    quiet = {
        "policy": UnreachablePolicy.NEGATIVE,
        "liars": frozenset(),
        "foreigners": frozenset(),
        "naysayers": frozenset(),
        "is_calm": True,
    }
    return evolve(Story.of(0), **{"nodes": 4, "silent_from": math.inf, "rates": NO_RATES, **quiet, **changes})


def unheard():
    """What matters is of no matter here."""


def always(*faults):
    return story(rates={**NO_RATES, **dict.fromkeys(faults, 1.0)})


# What a seed decides


def test_a_story_is_one_for_each_seed():
    assert [Story.of(seed) for seed in SEEDS] == STORIES
    assert len({str(story) for story in STORIES}) == len(SEEDS)


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_can_happen_in_some_stories_and_cannot_in_others(fault):
    assert {bool(story.rates[fault]) for story in STORIES} == {True, False}


def test_what_a_node_does_seldom_fails_often():
    """A node sends a few transactions where it asks a hundred questions."""
    for fault in (Fault.DROPPED, Fault.HELD, Fault.FAILED, Fault.REFUSED):
        assert {story.rates[fault] for story in STORIES} == {0.0, 0.1, 0.3, 0.6}


def test_the_stories_have_everything_that_can_be_the_case():
    assert {story.policy for story in STORIES} == set(UnreachablePolicy)
    assert {story.strict_signatures for story in STORIES} == {True, False}
    assert {story.is_calm for story in STORIES} == {True, False}
    assert {story.nodes for story in STORIES} == {5, 6, 7}
    assert {story.verifiers for story in STORIES} == {1, 2, 3, 4}
    assert {len(story.liars) for story in STORIES} == {0, 1, 2}
    assert {len(story.foreigners) for story in STORIES} == {0, 1}
    assert {len(story.naysayers) for story in STORIES} == {0, 1}
    assert {story.surplus for story in STORIES} == {-1, 0, 1, 3}
    assert {len(story.sizes) for story in STORIES} == {1, 2}
    assert {story.cuts for story in STORIES} == {0, 1, 2, 4}
    assert {story.skew for story in STORIES} == {0.0, 20.0}
    assert {story.is_silent for story in STORIES} == {True, False}


def test_no_story_has_two_kinds_of_dishonest_nodes_or_is_too_small_for_its_heals():
    for told in STORIES:
        assert sum(map(bool, (told.liars, told.foreigners, told.naysayers))) <= 1
        assert told.liars | told.foreigners | told.naysayers <= set(range(told.nodes))
        assert told.verifiers + 1 <= told.nodes
        assert told.replicas < told.nodes


def test_most_stories_are_calm_recoverable_and_honest():
    assert sum(told.is_calm and told.surplus >= 0 for told in STORIES) > len(STORIES) / 2
    assert sum(not (told.liars | told.naysayers) for told in STORIES) > len(STORIES) / 2


@pytest.mark.parametrize(("is_calm", "until"), [(True, WINDOW_SECONDS / 2), (False, WINDOW_SECONDS)])
async def test_faults_strike_until_the_calm_and_are_counted(is_calm, until, autojump_clock):
    weather = Weather(evolve(always(Fault.LOST), is_calm=is_calm), Random(1))
    assert weather.strikes(Fault.LOST)
    assert not weather.strikes(Fault.LATE)
    await trio.sleep(until - 1)
    assert weather.strikes(Fault.LOST)
    await trio.sleep(1)
    assert weather.is_calm
    assert not weather.strikes(Fault.LOST)
    assert weather.counts == {Fault.LOST: 2}


# The witness


def witness_of(chain, **changes):
    seen = Witness(story(**changes), chain, {address(f"node {number}"): number for number in range(4)})
    seen.tickets[Key(b"k" * 32)] = Ticket("42")
    seen.hashes[Ticket("42")] = HASH
    return seen


def number(seen, account):
    return seen.numbers[account]


def transaction(message, name="A", timeout=1000):
    return Transaction(message, name, sequence=0, timeout_height=timeout, raw=b"")


def carried(tx):
    """A transaction of the chain, as a node knows it."""
    return Transaction(tx.message, tx.tx_hash, tx.sequence, tx.timeout_height, tx.raw)


async def test_the_same_told_once_is_well(autojump_clock):
    chain, op = claimed()
    chain.set_op(evolve(op, op_id=2))
    seen = witness_of(chain)
    seen.sends(op.healer, transaction(claim(op)))
    seen.sends(op.verifiers[0], transaction(vote(op)))
    seen.sends(op.verifiers[1], transaction(vote(op)))
    seen.sends(op.healer, transaction(evolve(claim(op), op_id=2)))
    assert seen.violations == []


async def test_another_thing_of_an_op_is_told_never(autojump_clock):
    chain, op = claimed()
    seen = witness_of(chain)
    seen.sends(op.verifiers[0], transaction(vote(op), timeout=0))
    seen.sends(op.verifiers[0], transaction(vote(op, verified=False), "B"))
    (violation,) = seen.violations
    assert "tells the chain another thing of op 1" in violation


async def test_no_second_transaction_is_sent_while_one_may_live(autojump_clock):
    chain, op = scheduled()
    seen = witness_of(chain)
    seen.sends(op.healer, transaction(claim(op), timeout=chain.height + 2))
    run(chain, 1)
    seen.sends(op.healer, transaction(claim(op), "B"))
    (violation,) = seen.violations
    assert "sends a second Claim of op 1 while one may live" in violation


async def test_a_dead_transaction_may_be_replaced_once_its_last_block_was_made(autojump_clock):
    chain, op = scheduled()
    seen = witness_of(chain)
    seen.sends(op.healer, transaction(claim(op), timeout=chain.height + 2))
    run(chain, 2)
    seen.sends(op.healer, transaction(claim(op), "B"))
    assert seen.violations == []


async def test_a_refused_transaction_may_be_replaced(autojump_clock):
    chain, op = scheduled()
    seen = witness_of(chain)
    first = transaction(claim(op))
    seen.sends(op.healer, first)
    seen.is_refused(first)
    seen.sends(op.healer, transaction(claim(op), "B"))
    assert seen.violations == []


@pytest.mark.parametrize("code", [0, 11])
async def test_a_transaction_in_a_block_may_be_replaced_only_when_it_failed_there(code, autojump_clock):
    chain, op = scheduled()
    seen = witness_of(chain)
    tx = send(chain, op.healer, claim(op))
    if code:
        chain.fail_in_block(tx.tx_hash, code, "sdk", "out of gas")
    run(chain, 1)
    seen.sends(op.healer, carried(tx))
    seen.sends(op.healer, transaction(claim(op), "B"))
    assert ["sends a second Claim of op 1" in violation for violation in seen.violations] == [True] * (code == 0)


async def test_of_three_transactions_every_earlier_one_has_to_be_dead(autojump_clock):
    chain, op = scheduled()
    seen = witness_of(chain)
    seen.sends(op.healer, transaction(claim(op), timeout=0))
    seen.sends(op.healer, transaction(claim(op), "B"))
    assert seen.violations == []
    seen.sends(op.healer, transaction(claim(op), "C", timeout=0))
    assert len(seen.violations) == 1


async def test_a_node_without_its_ledger_may_tell_again_and_no_other_may(autojump_clock):
    chain, op = claimed()
    seen = witness_of(chain)
    for verifier_account in op.verifiers:
        seen.sends(verifier_account, transaction(vote(op)))
        seen.hears(verifier_account, Event(What.DECIDED, 1, "yes"))
    seen.forgets(op.verifiers[0])
    seen.sends(op.verifiers[0], transaction(vote(op, verified=False), "B"))
    seen.hears(op.verifiers[0], Event(What.DECIDED, 1, "no, fetch_failed:refused"))
    assert seen.violations == []
    seen.sends(op.verifiers[1], transaction(vote(op), "C"))
    seen.hears(op.verifiers[1], Event(What.DECIDED, 1, "yes"))
    second, again = seen.violations
    assert "sends a second Vote of op 1" in second
    assert "decides op 1 again: yes, before: yes" in again


async def test_of_an_op_that_there_is_not_nothing_is_told(autojump_clock):
    chain, op = claimed()
    seen = witness_of(chain)
    seen.sends(op.healer, transaction(claim(op, op_id=2)))
    seen.sends(op.verifiers[0], transaction(vote(op, op_id=3)))
    assert [violation.partition(": ")[2] for violation in seen.violations] == [
        "tells the chain something of op 2, which there is not",
        "tells the chain something of op 3, which there is not",
    ]


@pytest.mark.parametrize("hashes", [{Ticket("42"): OTHER_HASH}, {}, {Ticket("43"): HASH}])
async def test_what_is_claimed_is_the_hash_of_the_ops_file(hashes, autojump_clock):
    chain, op = scheduled()
    seen = witness_of(chain)
    seen.hashes = hashes
    seen.sends(op.healer, transaction(claim(op)))
    (violation,) = seen.violations
    assert "claims another hash on op 1 than that of the file" in violation


@pytest.mark.parametrize("verified", [True, False])
@pytest.mark.parametrize(
    ("decided", "is_yes"), [("yes", True), ("no, hash_mismatch", False), ("no, fetch_failed:yes", False)]
)
async def test_a_vote_is_what_was_decided(decided, is_yes, verified, autojump_clock):
    chain, op = claimed()
    seen = witness_of(chain)
    seen.hears(op.verifiers[0], Event(What.DECIDED, 1, decided))
    seen.violations.clear()  # whether the verdict was right is another question
    seen.sends(op.verifiers[0], transaction(vote(op, verified)))
    words = f"votes {'yes' if verified else 'no'} on op 1, and had decided {'yes' if is_yes else 'no'}"
    assert [words in violation for violation in seen.violations] == [True] * (verified is not is_yes)


async def test_the_verdict_of_another_verifier_or_another_op_binds_nobody(autojump_clock):
    chain, op = claimed()
    chain.set_op(evolve(op, op_id=2))
    seen = witness_of(chain)
    seen.hears(op.verifiers[0], Event(What.DECIDED, 1, "yes"))
    seen.sends(op.verifiers[0], transaction(vote(op, verified=False, op_id=2)))
    seen.sends(op.verifiers[1], transaction(vote(op, verified=False), "B"))
    assert seen.violations == []


@pytest.mark.parametrize(
    ("verified", "text", "is_liar", "is_well"),
    [
        (True, HASH, False, True),
        (True, OTHER_HASH, False, False),
        (True, HASH, True, False),
        (False, OTHER_HASH, True, True),
        (False, HASH, False, True),
    ],
)
async def test_a_yes_is_to_what_was_claimed_by_a_healer_that_serves_it(
    verified, text, is_liar, is_well, autojump_clock
):
    chain, op = claimed()
    liars = frozenset({number(witness_of(chain), op.healer)}) if is_liar else frozenset()
    seen = witness_of(chain, liars=liars)
    seen.sends(op.verifiers[0], transaction(vote(op, verified, hash=text)))
    assert ["votes yes on op 1, wrongly" in violation for violation in seen.violations] == [True] * (not is_well)


async def test_before_a_claim_there_is_nothing_to_say_yes_to(autojump_clock):
    chain, op = scheduled()
    seen = witness_of(chain)
    seen.sends(op.verifiers[0], transaction(vote(op)))
    (violation,) = seen.violations
    assert "votes yes on op 1, wrongly" in violation


async def test_a_naysayer_votes_as_it_likes_but_not_twice(autojump_clock):
    chain, op = claimed()
    account = op.verifiers[0]
    seen = witness_of(chain, naysayers=frozenset({number(witness_of(chain), account)}))
    seen.hears(account, Event(What.DECIDED, 1, "yes"))
    seen.sends(account, transaction(vote(op, verified=False)))
    assert seen.violations == []
    seen.sends(account, transaction(vote(op, verified=False), "B"))
    (violation,) = seen.violations
    assert "sends a second Vote of op 1 while one may live" in violation


async def test_only_the_healer_of_a_verified_op_publishes(autojump_clock):
    chain, op = claimed()
    seen = witness_of(chain)
    keys = list(seen.tickets)
    seen.stores(op.healer, keys)
    assert len(seen.violations) == 1
    assert "publishes of ticket ['42'] without a VERIFIED op" in seen.violations[0]
    assert cast(chain, op, True, True).status is HealOpStatus.VERIFIED
    seen.stores(op.healer, keys)
    assert len(seen.violations) == 1
    seen.stores(op.verifiers[0], keys)
    assert len(seen.violations) == 2


async def test_a_verified_op_of_one_file_lets_nobody_publish_another(autojump_clock):
    chain, op = claimed()
    cast(chain, op, True, True)
    seen = witness_of(chain)
    seen.tickets[Key(b"o" * 32)] = Ticket("43")
    seen.stores(op.healer, list(seen.tickets))
    (violation,) = seen.violations
    assert "publishes of ticket ['43']" in violation


async def test_a_bug_that_a_node_tells_of_is_a_violation(autojump_clock):
    chain, op = scheduled()
    seen = witness_of(chain)
    seen.hears(op.healer, Event(What.FAILED, 1, "KeyError(1)"))
    (violation,) = seen.violations
    assert "has a bug with op 1: KeyError(1)" in violation


@pytest.mark.parametrize("what", [what for what in What if what not in (What.FAILED, What.DECIDED)])
async def test_what_happens_to_an_op_otherwise_is_no_violation(what, autojump_clock):
    chain, op = scheduled()
    seen = witness_of(chain)
    seen.hears(op.healer, Event(what, 1, "claim", 3))
    assert seen.violations == []
    assert len(seen.trace) == 1


@pytest.mark.parametrize(
    ("text", "is_liar", "is_well"),
    [
        ("yes", False, True),
        ("yes", True, False),
        ("no, hash_mismatch", True, True),
        ("no, hash_mismatch", False, False),
        ("no, fetch_failed:refused", False, True),
        ("no, fetch_failed:refused", True, True),
    ],
)
async def test_a_verdict_is_about_what_the_healer_serves(text, is_liar, is_well, autojump_clock):
    chain, op = claimed()
    who = int(next(name for name in range(4) if address(f"node {name}") == op.healer))
    seen = witness_of(chain, liars=frozenset({who}) if is_liar else frozenset())
    seen.hears(op.verifiers[0], Event(What.DECIDED, 1, text))
    assert (seen.violations == []) is is_well


async def test_a_verdict_is_had_once(autojump_clock):
    chain, op = claimed()
    seen = witness_of(chain)
    seen.hears(op.verifiers[0], Event(What.DECIDED, 1, "yes"))
    seen.hears(op.verifiers[1], Event(What.DECIDED, 1, "yes"))
    assert seen.violations == []
    seen.hears(op.verifiers[0], Event(What.DECIDED, 1, "yes"))
    (violation,) = seen.violations
    assert "decides op 1 again: yes, before: yes" in violation


@pytest.mark.parametrize("kind", ["fetch_failed:refused", "hash_compute_failed"])
async def test_to_have_no_file_is_excused_before_the_calm_and_not_in_it(kind, autojump_clock):
    chain, op = claimed()
    seen = witness_of(chain)
    seen.hears(op.verifiers[0], Event(What.DECIDED, 1, f"no, {kind}"))
    await trio.sleep(seen.story.calm_from + GRACE_SECONDS)
    assert seen.violations == []
    await trio.sleep(1)
    seen.hears(op.verifiers[1], Event(What.DECIDED, 1, f"no, {kind}"))
    (violation,) = seen.violations
    assert "has no file of op 1 in the calm" in violation
    assert seen.used_up == {(account, 1) for account in op.verifiers}


@pytest.mark.parametrize(
    ("policy", "kind", "blocks", "is_well"),
    [
        (UnreachablePolicy.NEGATIVE, "stalled", 0, False),
        (UnreachablePolicy.NEGATIVE, "refused, unreachable, refused", 0, False),
        (UnreachablePolicy.NEGATIVE, "refused", 0, True),
        (UnreachablePolicy.NEGATIVE, "stalled", 2 * EPOCH_BLOCKS, True),
        (UnreachablePolicy.PATIENT, "refused", 0, False),
        (UnreachablePolicy.PATIENT, "stalled", 2 * EPOCH_BLOCKS, False),
    ],
)
async def test_a_verifier_gives_up_for_what_may_pass_in_the_last_epoch_only_and_a_patient_one_never(
    policy, kind, blocks, is_well, autojump_clock
):
    chain, op = claimed(deadline_epochs=12)
    assert chain.state.params.parameters.last_height(op.deadline_epoch) - chain.height > 2 * EPOCH_BLOCKS
    run(chain, blocks)
    seen = witness_of(chain, policy=policy)
    seen.hears(op.verifiers[0], Event(What.DECIDED, 1, f"no, fetch_failed:{kind}"))
    assert (seen.violations == []) is is_well


async def test_a_good_staging_that_is_needed_stays(autojump_clock):
    chain, op = claimed()
    seen = witness_of(chain)
    seen.sees_stagings(op.healer, {1})
    seen.sees_stagings(op.healer, {1})
    assert seen.violations == []
    seen.sees_stagings(op.healer, set())
    (violation,) = seen.violations
    assert "has lost the good staging of op 1" in violation
    seen.sees_stagings(op.healer, set())
    assert len(seen.violations) == 1  # once


@pytest.mark.parametrize("verdicts", [(True, True), (False, False)])
async def test_a_staging_goes_when_its_op_failed_or_was_published(verdicts, autojump_clock):
    chain, op = claimed()
    seen = witness_of(chain)
    seen.sees_stagings(op.healer, {1})
    is_verified = cast(chain, op, *verdicts).status is HealOpStatus.VERIFIED
    if is_verified:
        seen.hears(op.healer, Event(What.PUBLISHED, 1))
    seen.sees_stagings(op.healer, set())
    assert seen.violations == []


async def test_a_staging_of_a_verified_op_stays_until_it_is_published(autojump_clock):
    chain, op = claimed()
    seen = witness_of(chain)
    seen.sees_stagings(op.healer, {1})
    cast(chain, op, True, True)
    seen.sees_stagings(op.healer, set())
    assert len(seen.violations) == 1


async def test_a_staging_of_an_op_of_others_may_go(autojump_clock):
    chain, op = claimed()
    seen = witness_of(chain)
    seen.sees_stagings(op.verifiers[0], {1, 7})
    seen.sees_stagings(op.verifiers[0], set())
    assert seen.violations == []


async def test_a_staging_that_was_taken_may_be_missing_until_it_was_made_again(autojump_clock):
    chain, op = claimed()
    seen = witness_of(chain)
    seen.sees_stagings(op.healer, {1})
    seen.loses_stagings(op.healer, {1})
    seen.sees_stagings(op.healer, {1})  # damaged
    seen.sees_stagings(op.healer, set())
    assert seen.violations == []
    seen.hears(op.healer, Event(What.RECONSTRUCTED, 1, count=4))
    seen.sees_stagings(op.healer, {1})
    seen.sees_stagings(op.healer, set())
    assert len(seen.violations) == 1


async def test_the_end_notes_all_that_is_in_blocks_and_finds_nothing_on_an_honest_chain(autojump_clock):
    chain, op = claimed()
    cast(chain, op, True, False)
    seen = witness_of(chain)
    seen.sees_the_end()
    assert seen.violations == []
    said = [f"vote 1 {word}" for word in ("yes", "no")]
    assert [re.sub(r".*included node \d ", "", line) for line in seen.trace] == ["claim 1", *said]


async def test_what_is_accepted_twice_is_seen_at_the_end(autojump_clock):
    chain, _ = claimed()
    chain.included.append(chain.included[-1])
    seen = witness_of(chain)
    seen.sees_the_end()
    (violation,) = seen.violations
    assert "Claim of op 1 was accepted twice" in violation


async def test_every_event_of_the_chain_is_noted_once(autojump_clock):
    chain, _ = claimed()
    seen = witness_of(chain)
    seen.sees_block()
    noted = len(seen.trace)
    assert noted == len(chain.events) > 0
    seen.sees_block()
    assert len(seen.trace) == noted
    run(chain, 30)
    seen.sees_block()
    assert len(seen.trace) == len(chain.events) > noted


async def test_the_digest_is_of_the_whole_trace_and_a_violation_is_in_it(autojump_clock):
    chain, op = scheduled()
    seen, other = witness_of(chain), witness_of(chain)
    assert seen.digest == other.digest
    seen.blame(seen.name(op.healer), "sleeps")
    assert seen.digest != other.digest
    assert seen.trace[-1].endswith("VIOLATION sleeps")


# Faults of the chain


@define
class Calls:
    """What is behind a connection."""

    answer: object = "answer"
    count: int = 0

    async def __call__(self):
        await trio.lowlevel.checkpoint()
        self.count += 1
        return self.answer


def connection(chain, account, *faults):
    told = always(*faults)
    return FaultyConnection(account, chain, Weather(told, Random(2)), witness_of(chain), unheard)


async def test_without_a_fault_a_call_goes_through_once(autojump_clock):
    chain, op = scheduled()
    calls = Calls()
    line = connection(chain, op.healer)
    assert await line("heal_op", 1, calls) == "answer"
    assert (calls.count, line.lag(), line.weather.counts) == (1, 0, {})


@pytest.mark.parametrize(("fault", "count"), [(Fault.LOST, 0), (Fault.LOST_ANSWER, 1)])
async def test_a_lost_question_is_not_asked_and_a_lost_answer_is(fault, count, autojump_clock):
    chain, op = scheduled()
    calls, line = Calls(), connection(chain, op.healer, fault)
    with pytest.raises(ChainUnavailable):
        await line("heal_op", 1, calls)
    assert await line("prepare", claim(op), calls) == Indeterminate()
    assert await line("broadcast", transaction(claim(op)), calls) == Indeterminate()
    assert calls.count == 3 * count


async def test_a_doubled_question_is_asked_twice(autojump_clock):
    chain, op = scheduled()
    calls = Calls()
    assert await connection(chain, op.healer, Fault.DOUBLED)("heal_op", 1, calls) == "answer"
    assert calls.count == 2


async def test_a_late_answer_comes_when_time_has_passed(autojump_clock):
    chain, op = scheduled()
    assert await connection(chain, op.healer, Fault.LATE)("heal_op", 1, Calls()) == "answer"
    assert 0 < trio.current_time() <= 25


async def test_a_node_of_the_chain_lags_by_up_to_twenty_blocks(autojump_clock):
    chain, op = scheduled()
    line = connection(chain, op.healer, Fault.LAGGING)
    assert {line.lag() for _ in range(400)} == set(range(1, 21))


async def test_a_key_that_cannot_be_used_is_a_refusal(autojump_clock):
    chain, op = scheduled()
    calls, line = Calls(), connection(chain, op.healer, Fault.NO_KEY)
    assert await line("prepare", claim(op), calls) == Refused(Refusal.KEY)
    assert calls.count == 0


async def test_a_refused_transaction_does_not_reach_the_chain_and_may_be_sent_again(autojump_clock):
    chain, op = scheduled()
    calls, line = Calls(Pooled()), connection(chain, op.healer, Fault.REFUSED)
    assert isinstance(await line("broadcast", transaction(claim(op)), calls), Refused)
    line.weather.story.rates[Fault.REFUSED] = 0.0
    assert await line("broadcast", transaction(claim(op), "B"), calls) == Pooled()
    assert (calls.count, line.witness.violations) == (1, [])
    line.weather.story.rates.update(NO_RATES)


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (None, HealOpStatus.HEALER_REPORTED),
        (Fault.FAILED, HealOpStatus.SCHEDULED),
        (Fault.DROPPED, HealOpStatus.SCHEDULED),
        (Fault.HELD, HealOpStatus.SCHEDULED),
    ],
)
async def test_a_transaction_fails_or_is_dropped_or_held(fault, status, autojump_clock):
    chain, op = scheduled()
    line = connection(chain, op.healer, *([fault] if fault else []))
    tx = send(chain, op.healer, claim(op))
    assert await line("broadcast", carried(tx), Calls(Pooled())) == Pooled()
    run(chain, 1)
    assert chain.at().heal_op(1).status is status
    run(chain, 12)
    is_late = fault in (None, Fault.HELD)
    assert (chain.at().heal_op(1).status is HealOpStatus.HEALER_REPORTED) is is_late
    assert len(chain.included) == (fault is not Fault.DROPPED)


async def test_nothing_of_a_dead_node_reaches_the_chain_or_the_network(autojump_clock):
    chain, op = scheduled()
    calls, line = Calls(), connection(chain, op.healer)
    line.is_dead = True
    with pytest.raises(ChainUnavailable):
        await line("heal_op", 1, calls)
    assert await line("broadcast", transaction(claim(op)), calls) == Indeterminate()
    network = WatchedNetwork(op.healer, calls, line.witness)
    network.is_dead = True
    assert [placement.copies for placement in await network.store([(Key(b"k" * 32), b"v")])] == [0]
    retrieval = await network.retrieve([Key(b"k" * 32)], need=1, sink=calls)
    assert retrieval.missing == {Key(b"k" * 32)}
    assert (calls.count, line.witness.violations) == (0, [])


# Faults of peers


async def test_a_healer_cannot_be_reached_or_does_not_listen(autojump_clock):
    streets = Streets(Weather(always(Fault.UNREACHABLE), Random(1)))
    callers = streets.open_door("healer")
    for host in ("healer", "nobody"):
        with pytest.raises(ConnectionRefusedError):
            await streets.connect(host, 4444)
    callers.close()
    with pytest.raises(ConnectionRefusedError):
        await Streets(Weather(story(), Random(1)), streets.doors).connect("healer", 4444)


async def test_a_failing_stream_breaks_after_so_many_bytes(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    stream = FailingStream(ours, 5)
    await theirs.send_all(b"12345")
    assert await stream.receive_some() == b"12345"
    await theirs.send_all(b"6")
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()


async def test_a_slow_stream_loses_nothing(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    stream = SlowStream(ours, 7.0, Random(1))
    for number in range(20):
        await theirs.send_all(bytes([number]))
        assert await stream.receive_some() == bytes([number])
    assert trio.current_time() % 7.0 == 0.0
    assert 0 < trio.current_time() < 20 * 7.0


# Faults of the disk


def _make_room():
    return "done"


def append():
    return "done"


def decode():
    return "done"


WRITER_WORK = [_make_room, append, partial(_make_room)]


@pytest.mark.parametrize("work", WRITER_WORK)
async def test_a_full_disk_refuses_what_writes(work, autojump_clock):
    disk = FullDisk(Weather(always(Fault.NO_SPACE), Random(1)), unheard)
    with pytest.raises(OSError, match="No space left"):
        await disk.run(work)
    assert disk.weather.counts == {Fault.NO_SPACE: 1}


@pytest.mark.parametrize("work", [decode, partial(decode), lambda: "done"])
async def test_a_full_disk_lets_pass_what_only_reads_or_removes(work, autojump_clock):
    disk = FullDisk(Weather(always(Fault.NO_SPACE, Fault.STORE_BUSY), Random(1)), unheard)
    assert await disk.run(work) == "done"
    assert disk.weather.counts == {}


@pytest.mark.parametrize("work", WRITER_WORK)
async def test_what_was_written_is_told_and_what_was_not_is_not(work, autojump_clock):
    told = []
    await FullDisk(Weather(story(), Random(1)), lambda: told.append(1)).run(work)
    assert told == [1]
    full = FullDisk(Weather(always(Fault.NO_SPACE), Random(1)), lambda: told.append(2))
    with pytest.raises(OSError, match="No space left"):
        await full.run(work)
    await full.run(decode)
    assert told == [1]


async def test_only_what_tells_something_of_an_op_matters(tmp_path, autojump_clock):
    told = []
    disk = FullDisk(Weather(story(), Random(1)), lambda: told.append(1))
    row = ClaimRow(1, Ticket("1"), HASH, "1", ClaimState.ACCEPTED, 0.0)
    async with Ledger.open(tmp_path / "ledger.db", "account", disk) as ledger:
        await ledger.note_height(7)
        await ledger.entries()
        assert told == []
        await ledger.journal(Intent(1, Ticket("1"), Claim(1, Ticket("1"), HASH)))
        assert told == [1]
        await ledger.record_claim(row)
        await ledger.set_claim_state(1, ClaimState.PUBLISHING)
        await ledger.entries(1)
        await ledger.note_height(8)
        await ledger.remove_claim(1)
        assert told == [1] * 4


async def test_a_disk_that_is_not_full_refuses_nothing(autojump_clock):
    disk = FullDisk(Weather(story(), Random(1)), unheard)
    assert [await disk.run(work) for work in WRITER_WORK] == ["done"] * len(WRITER_WORK)


SCHEMA = Schema(application_id=7, migrations=("CREATE TABLE kept (n INTEGER)",), durable=True)


def put(connection):
    connection.execute("INSERT INTO kept VALUES (1)")


def count(connection):
    return connection.execute("SELECT count(*) FROM kept").get


async def test_a_ledger_in_use_can_be_read_and_not_always_written(tmp_path, autojump_clock):
    disk = FullDisk(Weather(always(Fault.STORE_BUSY), Random(1)), unheard)
    async with Database.open(tmp_path / "ledger.db", SCHEMA, disk) as database:
        written = 0
        for _ in range(50):
            try:
                await database.write(put)
            except StoreUnavailable:
                continue
            written += 1
        assert await database.read(count) == written
        assert disk.weather.counts == {Fault.STORE_BUSY: 50 - written}
        assert 0 < written < 50


def contents(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in directory.rglob("*")
        if not path.name.startswith("network.db")
    }


SOUND = [
    *("7/manifest.json", "7/symbols.pack", "7/reconstructed.bin"),
    *("8/x", "8/y", "8/reconstructed.bin"),
    ".damaged-7-0a/manifest.json",
]
UNSYNCED = [".work/9/symbols.spool", ".work/9/missing", ".tmp-9-1f/symbols.pack"]


@pytest.fixture
def node(tmp_path):
    """A node's disk with all that may lie there, but for its ledger."""
    directory = tmp_path / "node"
    for name in (*SOUND, *UNSYNCED):
        path = directory / "staging" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Random(name).randbytes(5000))
    (directory / "network.db").write_bytes(b"of the network")
    return directory


async def test_a_power_cut_brings_back_the_moment_of_the_cut_but_for_what_was_not_synced(node, autojump_clock):
    aside = node.with_name("node.cut")
    async with Database.open(node / "ledger.db", SCHEMA, Inline()) as database:
        await database.write(put)
        moment = contents(node / "staging")
        save_at_power_cut(node, database, aside)
        # What its tasks do until they are cancelled.
        await database.write(put)
        shutil.rmtree(node / "staging" / "7")
        (node / "staging" / "8" / "x").write_bytes(b"later")
        (node / "staging" / "10").mkdir()
        (node / "later").touch()
        (node / "network.db").write_bytes(b"others go on")
    restore(node, aside, Random(1))
    back = contents(node / "staging")
    assert back.keys() == moment.keys()
    assert {name for name in moment if back[name] != moment[name]} <= set(UNSYNCED)
    assert all(moment[name].startswith(back[name]) for name in UNSYNCED)
    assert any(len(back[name]) < len(moment[name]) for name in UNSYNCED)
    assert not (node / "later").exists()
    assert not aside.exists()
    assert (node / "network.db").read_bytes() == b"others go on"
    async with Database.open(node / "ledger.db", SCHEMA, Inline()) as database:
        assert await database.read(count) == 1


def test_every_length_of_an_unsynced_tail_can_be_lost(node):
    lengths = set()
    for seed in range(60):
        aside = node.with_name(f"cut-{seed}")
        shutil.copytree(node, aside, ignore=shutil.ignore_patterns("network.db"))
        (aside / "staging" / UNSYNCED[0]).write_bytes(bytes(3))
        restore(node, aside, Random(seed))
        lengths.add((node / "staging" / UNSYNCED[0]).stat().st_size)
    assert lengths == {0, 1, 2, 3}


@pytest.mark.parametrize("is_durable", [True, False])
async def test_a_ledger_that_is_not_durable_loses_its_log_in_a_power_cut(node, is_durable, autojump_clock):
    aside = node.with_name("node.cut")
    schema = evolve(SCHEMA, durable=is_durable)
    async with Database.open(node / "ledger.db", schema, Inline()):
        pass  # the table is in the file, not in the log
    async with Database.open(node / "ledger.db", schema, Inline()) as database:
        assert database.is_durable is is_durable
        await database.write(put)
        save_at_power_cut(node, database, aside)
    restore(node, aside, Random(1))
    async with Database.open(node / "ledger.db", schema, Inline()) as database:
        assert await database.read(count) == is_durable


def test_a_node_comes_back_without_its_ledger_and_without_stagings(node):
    for suffix in ("", "-wal", "-shm"):
        (node / f"ledger.db{suffix}").touch()
    weather = Weather(always(Fault.LEDGER_GONE, Fault.STAGING_GONE), Random(1))
    assert in_trio(partial(lose_files, node, weather)) == Lost(ledger=True, stagings=frozenset({7, 8}))
    assert not list(node.glob("ledger.db*"))
    left = [path.name for path in (node / "staging").iterdir()]
    assert sorted(left) == [".damaged-7-0a", ".tmp-9-1f", ".work"]


def test_a_staging_is_damaged_by_one_bit(node):
    rates = {**NO_RATES, Fault.STAGING_DAMAGED: 2.0}
    before = contents(node)
    lost = in_trio(partial(lose_files, node, Weather(story(rates=rates), Random(1))))
    after = contents(node)
    assert lost == Lost(ledger=False, stagings=frozenset({7, 8}))
    changed = [name for name in before if before[name] != after[name]]
    assert sorted(name.split("/")[1] for name in changed) == ["7", "8"]
    for name in changed:
        old, new = int.from_bytes(before[name]), int.from_bytes(after[name])
        assert (old ^ new).bit_count() == 1
        assert len(before[name]) == len(after[name])


def test_half_of_the_damage_and_more_strikes_what_is_served(node):
    before, struck = contents(node), Counter()
    for seed in range(100):
        in_trio(partial(lose_files, node, Weather(always(Fault.STAGING_DAMAGED), Random(seed))))
        for name, content in contents(node).items():
            if content != before[name]:
                struck[name] += 1
                (node / name).write_bytes(before[name])
    assert struck.keys() == {f"staging/{name}" for name in SOUND if not name.startswith(".")}
    assert sum(struck.values()) == 200
    assert 100 < struck["staging/7/reconstructed.bin"] + struck["staging/8/reconstructed.bin"] < 170


def test_without_a_fault_nothing_is_lost(node):
    (node / "ledger.db").touch()
    before = contents(node)
    assert in_trio(partial(lose_files, node, Weather(story(), Random(1)))) == Lost(ledger=False, stagings=frozenset())
    assert contents(node) == before


def in_trio(work):
    async def main():
        await trio.lowlevel.checkpoint()
        return work()

    return trio.run(main, clock=trio.testing.MockClock())


# Whole runs


def test_a_seed_is_one_run_and_another_seed_another_one():
    first, again, other = simulate(3), simulate(3), simulate(15)
    assert first == again
    assert first.violations == other.violations == ()
    assert len(first.digest) == 64
    assert first.digest != other.digest
    assert first.trace


CUT_SEED = 4
"""Its nodes are cut off now and then."""


def open_files():
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def test_after_a_run_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", False)
    before, threads = open_files(), threading.active_count()
    outcome = simulate(CUT_SEED)
    assert outcome.crashes > 0
    gc.collect()
    assert list(tmp_path.iterdir()) == []
    assert (open_files(), threading.active_count()) == (before, threads)
    assert not trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING


def test_a_run_that_breaks_off_has_failed_shows_its_trace_and_leaves_nothing_either(tmp_path, monkeypatch):
    async def break_off(*_):
        await trio.sleep(60)
        raise ZeroDivisionError

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", False)
    monkeypatch.setattr(story_run, "spoil_peers", break_off)
    before = open_files()
    outcome = simulate(15)
    (violation,) = outcome.violations
    assert violation.startswith("the run broke off: ")
    assert "ZeroDivisionError" in violation
    assert "in break_off" in violation
    assert (outcome.seed, outcome.ops) == (15, 2)
    assert any(line.startswith("    6.000 ") for line in outcome.trace)
    assert float(outcome.trace[-1].split()[0]) <= 60
    gc.collect()
    assert list(tmp_path.iterdir()) == []
    assert open_files() == before
    assert not trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING


def test_a_cut_that_fails_is_no_quiet_run(monkeypatch):
    def broken(life):
        raise RuntimeError("no power to cut")

    monkeypatch.setattr(Life, "_cut", broken)
    violations = simulate(CUT_SEED).violations
    assert violations
    assert all("the simulation: cannot cut a node: RuntimeError('no power to cut')" in one for one in violations)


@pytest.fixture
def life(tmp_path, monkeypatch):
    """A life with many cuts left, in which every cut is noted; there is something on its disk."""
    chain, op = scheduled()
    cuts = []

    def cut(life):
        cuts.append(life)

    monkeypatch.setattr(Life, "_cut", cut)
    (tmp_path / STAGING / staging.WORK_DIRECTORY / "1").mkdir(parents=True)
    weather = Weather(story(), Random(1))
    life = Life(op.healer, "healer", tmp_path, None, None, Streets(weather), weather, witness_of(chain), Random(1), 100)
    life._died = trio.Event()
    return life, cuts


def go_on(life, times=400):
    """Things that matter happen, and steps in between."""
    for _ in range(times):
        life.hasten()
        for _ in range(5):
            life.step()


async def test_a_life_is_cut_off_soon_after_what_matters(life, autojump_clock):
    alive, cuts = life
    for _ in range(5000):
        alive.step()
    assert cuts == []  # it was not to be cut off
    go_on(alive)
    assert cuts
    assert all(life is alive for life in cuts)


async def test_who_is_dead_or_has_no_cuts_left_or_lives_in_the_calm_is_not_cut_off(life, autojump_clock):
    alive, cuts = life
    alive.hasten()
    alive._steps_left = 3
    alive._died.set()  # its tasks are being cancelled, and go on writing
    go_on(alive)
    assert cuts == []
    alive._died = trio.Event()
    alive.cuts_left, alive._steps_left = 0, 3
    go_on(alive)
    assert cuts == []
    alive.cuts_left, alive._steps_left = 100, 3
    await trio.sleep(alive.weather.story.calm_from)
    go_on(alive)
    assert cuts == []


async def test_a_cut_that_would_find_nothing_is_mostly_put_off(life, autojump_clock):
    alive, cuts = life
    times = 200

    def at_cuts():
        before = len(cuts)
        for _ in range(times):
            alive._steps_left = 1
            alive.step()
        return len(cuts) - before

    assert at_cuts() == times
    (alive.directory / STAGING / staging.WORK_DIRECTORY / "1").rmdir()
    assert 0 < at_cuts() < times / 2
    alive._writes = 1
    assert at_cuts() == times
    alive._writes = 0
    (alive.directory / STAGING / "1").mkdir()
    (alive.directory / STAGING / "1" / staging.MANIFEST).touch()
    assert at_cuts() == times


@define
class Cut:
    """What a node had when it was cut off."""

    rows: int
    stagings: set[int]
    has_work: bool
    is_second: bool
    """Whether it was cut off in this life already."""

    @property
    def has_something(self):
        return bool(self.rows or self.stagings or self.has_work)


@define
class Cuts:
    """What the cuts of some runs met."""

    met: list[Cut] = field(factory=list)
    logged: list[str] = field(factory=list)
    """What Trio said of instruments."""
    crashes: int = 0


TABLES = ("heal_claims_submitted", "heal_verifications_submitted", "heal_intents")
CUT_SEEDS = [
    told.seed for told in STORIES if told.cuts and len(told.sizes) == 1 and told.nodes == 5 and told.verifiers < 3
][:25]


@pytest.fixture(scope="module")
def cuts():
    """The cuts in 25 runs."""
    cuts, cut = Cuts(), Life._cut
    says = logging.Handler()
    says.emit = lambda record: cuts.logged.append(record.getMessage())

    def noted(life):
        if life.node is not None:
            execute = life.node.service.ledger._database._connection.execute
            rows = sum(execute(f"SELECT count(*) FROM {table}").get for table in TABLES)  # noqa: S608
            names = {path.name for path in (life.directory / STAGING).iterdir()}
            work = any((life.directory / STAGING / staging.WORK_DIRECTORY).glob("*"))
            cuts.met.append(Cut(rows, op_ids(names), work, life._died.is_set()))
        cut(life)

    trios = logging.getLogger("trio.abc.Instrument")
    trios.addHandler(says)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Life, "_cut", noted)
            cuts.crashes = sum(simulate(seed).crashes for seed in CUT_SEEDS)
    finally:
        trios.removeHandler(says)
    return cuts


def test_a_third_of_the_cuts_at_least_meets_a_node_that_has_something_on_its_disk(cuts):
    assert len(cuts.met) == cuts.crashes >= len(CUT_SEEDS) == 25
    assert sum(cut.has_something for cut in cuts.met) >= len(cuts.met) / 3
    # Each of the things that can be there is met, and so is a node that has nothing.
    assert sum(cut.rows > 0 for cut in cuts.met) > 5
    assert sum(bool(cut.stagings) for cut in cuts.met) > 5
    assert any(cut.has_work for cut in cuts.met)
    assert not all(cut.has_something for cut in cuts.met)


def test_a_node_is_cut_off_once_in_a_life(cuts):
    assert not any(cut.is_second for cut in cuts.met)


def test_trio_drops_no_instrument(cuts):
    """Else no node of the run would be cut off any more, and nobody would hear of it."""
    assert cuts.logged == []


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_tasks_is_the_seeds(seed):
    async def main():
        order = []

        async def note(number):
            for _ in range(3):
                await trio.lowlevel.checkpoint()
                order.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(note, number)
        return order

    orders = [determinism.run(main, seed=seed, instruments=[]) for _ in range(5)]
    assert orders == orders[:1] * 5
    assert determinism.run(main, seed=seed + 100, instruments=[]) != orders[0]


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_every_writer_by_name_is_a_piece_of_work_of_the_product(name):
    """A name that nothing has would be a fault that never happens."""
    homes = [staging, staging.Draft, regenerate.IdFiles, _core, _core.Spool]
    assert any(callable(getattr(home, name, None)) for home in homes)


# Runs by workers


@pytest.fixture
def two_workers(tmp_path, monkeypatch):
    """Workers that say and do what they are told to, whatever they are asked."""

    def are(script):
        worker = tmp_path / "worker"
        worker.write_text(f"#!/bin/sh\n{script}\n")
        worker.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(worker))
        monkeypatch.setattr(os, "cpu_count", lambda: 2)

    return are


async def had(first, count):
    with trio.fail_after(10):
        async with seeds.outcomes(first, count) as arriving:
            return sorted([outcome async for outcome in arriving], key=lambda outcome: outcome.seed)


def done(seed):
    return Outcome(seed, ("bad", "[x]"), "0f", 9, 8, 7, 6, 5, ("a line", "another"))


async def test_what_workers_say_is_had_whole(two_workers):
    line = json.dumps({**asdict(done(0)), "seed": 77})
    two_workers(f"""test "$2" = lep6.devnet.simulation || exit 1
[ "$3" = 5 ] && printf '%s\\n%s\\n' '{line.replace("77", "5")}' '{line.replace("77", "7")}'
[ "$3" = 6 ] && printf '%s' '{line[:9]}' && sleep 0.1 && printf '%s\\n' '{line.replace("77", "6")[9:]}'""")
    assert await had(5, 3) == [done(5), done(6), done(7)]


@pytest.mark.parametrize(("end", "code"), [("exit 3", 3), ("exit 0", 0), ("kill -9 $$", -9)])
async def test_a_worker_that_ends_before_its_work_is_done_is_a_run_that_broke_off(end, code, two_workers):
    two_workers(f"""[ "$3" = 5 ] && echo '{json.dumps(asdict(done(5)))}'\n{end}""")
    first, *broken = await had(5, 4)
    assert first == done(5)
    assert [outcome.seed for outcome in broken] == [6, 7]
    assert {outcome.violations for outcome in broken} == {(f"the run broke off: its process ended with {code}",)}


# Runs of a product with a bug


def publish_at_once(monkeypatch):
    """The decisions do not wait for VERIFIED."""
    after = decisions._after_claim

    def step(op, sight, facts):
        return Publish(facts.row) if facts.row is not None else after(op, sight, facts)

    monkeypatch.setattr(decisions, "_after_claim", step)


def forget_to_remove(monkeypatch):
    """The finalizer leaves the staging, and the row in the end."""

    async def close(finalizer, op_id, row, why):
        if row is not None:
            await finalizer.ledger.set_claim_state(op_id, ClaimState.CLOSING)

    monkeypatch.setattr(Finalizer, "close", close)


def bury_alive(monkeypatch):
    """What is in no block yet is taken for dead."""
    honest = submission.fate

    def hasty(sent, found, height):
        return Fate.UNSENT if isinstance(found, Absent) else honest(sent, found, height)

    monkeypatch.setattr(submission, "fate", hasty)


def say_no_at_once(monkeypatch):
    """A verifier that got no file does not try again."""

    async def see(self, op, size_bound):
        seen = await self._attempt(op, size_bound)
        return verifier.NoFile(seen.reason, (seen.word,)) if isinstance(seen, verifier._Failure) else seen

    monkeypatch.setattr(Verifier, "_see", see)


def say_yes_unseen(monkeypatch):
    """A verifier that looks at nothing."""

    def agree(op, seen):
        return Vote(op.op_id, verified=True, hash=op.result_hash, details="")

    monkeypatch.setattr(verifier, "vote_on", agree)


def publish_nothing(monkeypatch):
    """A publish that says it is done."""

    async def pretend(publisher, staged):
        await trio.lowlevel.checkpoint()
        return Published(9)

    monkeypatch.setattr(Publisher, "publish", pretend)


def end_on_one_word(monkeypatch):
    """The first answer that an op has come to an end is believed, though it be of a node that is behind."""

    def ending(sight):
        return Close("so it was said")

    monkeypatch.setattr(decisions, "_ending", ending)


def fail_to_record(monkeypatch):
    """A bug on the way."""

    async def break_off(self, says):
        await trio.lowlevel.checkpoint()
        raise KeyError(says.op_id)

    monkeypatch.setattr(Healer, "_record", break_off)


def vote_other_than_decided(monkeypatch):
    """A verifier that looks, decides, and votes yes."""
    honest = Submissions.send

    async def lie(self, op, says):
        agree = Vote(op.op_id, verified=True, hash=op.result_hash, details="")
        return await honest(self, op, agree if isinstance(says, Vote) else says)

    monkeypatch.setattr(Submissions, "send", lie)


def claim_another_file(monkeypatch):
    """A healer that rebuilds one file and claims another."""
    honest = Submissions.send

    async def lie(self, op, says):
        return await honest(self, op, evolve(says, manifest_hash=OTHER_HASH) if isinstance(says, Claim) else says)

    monkeypatch.setattr(Submissions, "send", lie)


BUGS = {
    publish_at_once: ((5, 7), r"publishes of ticket \['1'\] without a VERIFIED op", 1.1),
    forget_to_remove: ((7, 2), r"still has something of op 1", 4.0),
    bury_alive: ((40, 55, 9), r"sends a second (Claim|Vote) of op \d while one may live", 1.1),
    say_no_at_once: ((18, 19), r"without a file, though it is to be patient", 1.1),
    say_yes_unseen: ((23, 68), r"votes yes on op \d, whose healer serves another file", 1.1),
    end_on_one_word: ((20, 29), r"has lost the good staging of op \d", 1.1),
    publish_nothing: ((7, 2), r"ticket 1 cannot be read back", 1.1),
    vote_other_than_decided: ((23, 68), r"votes yes on op \d, and had decided no", 1.1),
    claim_another_file: ((7, 2), r"claims another hash on op \d than that of the file", 1.1),
    fail_to_record: ((4, 5), r"has a bug with op 1: KeyError\(1\)", 1.1),
}
"""Seeds that may see it, what is seen, and after how many windows a run may end."""


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_bug_of_the_product_is_seen_by_one_of_a_few_seeds(bug, monkeypatch):
    seeds, words, windows = BUGS[bug]
    bug(monkeypatch)
    monkeypatch.setattr(story_run, "LONGEST_RUN", windows * WINDOW_SECONDS)
    assert any(re.search(words, violation) for seed in seeds for violation in violations_of(seed))


def violations_of(seed):
    """Without the words of those who are in the middle of it when the run is cut short."""
    with capture_logs():
        return simulate(seed).violations
