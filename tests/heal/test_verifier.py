"""The verifier: from whom it fetches, what it compares, what it votes, and when it does not."""

from itertools import pairwise

import pytest
import trio
from attrs import evolve
from grpclib.const import Status

from artefact_stream import ends
from healing import (
    BLOCK,
    DATA,
    OTHER_HASH,
    ScriptedSource,
    answer_lost,
    failing,
    honest,
    in_a_world,
    unsure,
    wrong_byte,
)
from lep6 import _core
from lep6.cascade.text import to_base64
from lep6.devnet.stand_ins import CorruptArtefacts
from lep6.errors import FetchFailure
from lep6.heal.events import What
from lep6.heal.settings import UnreachablePolicy
from lep6.heal.verdict import Reason, placeholder
from lep6.model import HealOpStatus
from lep6.transaction import Vote
from world import noise

ANOTHER_FILE = noise(150_000, seed=1)
CORRUPT_HASH = to_base64(_core.blake3(DATA[:-1] + bytes([DATA[-1] ^ 1])))
FIRST, *MIDDLE, LAST = ends.replies(DATA, 50_000)


def hash_of(data):
    return to_base64(_core.blake3(data))


async def another_file(_):
    yield ANOTHER_FILE


async def no_memory(_):
    yield DATA[:1000]
    raise MemoryError


async def its_only_vote(world):
    await world.until(world.votes)
    (vote,) = world.votes()
    return vote


# What is compared.


@in_a_world()
async def test_an_equal_file_is_voted_for(world):
    world.put_claimed()
    verifier = await world.start_verifier(honest)
    assert await its_only_vote(world) == Vote(1, verified=True, hash=world.hash, details="")
    await world.blocks(2)
    entries = await verifier.entries()
    assert entries.verifications[1].verified
    assert entries.verifications[1].hash == world.hash
    assert not entries.intents


@in_a_world()
async def test_reads_op_result_hash_for_comparison(world):
    """What the healer claims and serves is what is attested, also when the action's data hash is another."""
    world.put_claimed(result_hash=hash_of(ANOTHER_FILE))
    await world.start_verifier(another_file)
    assert await its_only_vote(world) == Vote(1, verified=True, hash=hash_of(ANOTHER_FILE), details="")
    assert any(event["event"] == "claim_is_not_the_data_hash" for event in world.logs)


@in_a_world()
async def test_a_file_with_the_actions_data_hash_is_voted_down_if_the_claim_is_another(world):
    world.put_claimed(result_hash=OTHER_HASH)
    await world.start_verifier(honest)
    assert await its_only_vote(world) == Vote(1, verified=False, hash=world.hash, details="hash_mismatch")


@in_a_world()
async def test_hash_mismatch_votes_no_with_the_computed_hash(world):
    world.put_claimed()
    verifier = await world.start_verifier(wrong_byte)
    assert await its_only_vote(world) == Vote(1, verified=False, hash=CORRUPT_HASH, details="hash_mismatch")
    assert len(verifier.source.opened) == 1


@pytest.mark.parametrize("claimed", ["not base64 at all", "aGFzaA==", hash_of(DATA)[:-8], "=", "a" * 4000])
@in_a_world()
async def test_a_result_hash_that_is_not_32_bytes_is_voted_down_with_the_computed_hash(world, claimed):
    world.put_claimed(result_hash=claimed)
    await world.start_verifier(honest)
    assert await its_only_vote(world) == Vote(1, verified=False, hash=world.hash, details="hash_mismatch")


@pytest.mark.parametrize("spell", [lambda text: text.rstrip("="), lambda text: f" {text}\n", "_-".join])
@in_a_world()
async def test_the_chains_own_text_is_returned_unchanged(world, spell):
    spelt = spell(world.hash) if spell != "_-".join else world.hash.replace("+", "-").replace("/", "_")
    world.put_claimed(result_hash=spelt)
    await world.start_verifier(honest)
    assert await its_only_vote(world) == Vote(1, verified=True, hash=spelt, details="")


@in_a_world()
async def test_an_action_that_the_chain_does_not_know_does_not_keep_from_voting(world):
    world.put_claimed(ticket="no such action")
    await world.start_verifier(honest)
    assert (await its_only_vote(world)).verified


# From whom.


@in_a_world(nodes=6)
async def test_fetches_from_the_assigned_healer_only(world):
    """Other nodes would serve the file; nobody asks them, also while the healer does not answer."""
    world.put_claimed(healer=3, verifiers=(1,))
    others = [world.stand_in(number, ends.sending(*ends.replies(DATA, 50_000))) for number in (0, 2, 4, 5)]
    healer = world.stand_in(3, ends.refusing(Status.UNAVAILABLE), ends.sending(*ends.replies(DATA, 50_000)))
    verifier = await world.start(1)
    assert (await its_only_vote(world)).verified
    assert set(world.dialled) == {(verifier.account, world.accounts[3])}
    assert {request.verifier_account for request in healer.heard} == {verifier.account}
    assert not any(other.heard for other in others)


@in_a_world(nodes=22)
async def test_twenty_verifications_at_once_of_different_healers_are_not_mixed_up(world):
    files = {number: noise(60_000 + number, seed=number) for number in range(2, 22)}
    for number, file in files.items():
        claimed = hash_of(file) if number % 3 else OTHER_HASH
        world.put_claimed(op_id=number, healer=number, verifiers=(1,), result_hash=claimed)

        async def slowly(asked, file=file):
            for reply in ends.replies(file, 10_000):
                await asked.send_message(reply)
                await trio.sleep(1)

        world.stand_in(number, slowly)
    await world.start(1, verifications=20)
    await world.until(lambda: len(world.votes()) == 20)
    for vote in world.votes():
        assert vote.hash == hash_of(files[vote.op_id])
        assert vote.verified == bool(vote.op_id % 3)
    assert sorted(world.dialled) == sorted((world.accounts[1], world.accounts[number]) for number in files)


# What is no evidence.


@in_a_world()
async def test_a_fetch_that_always_fails_votes_no_with_the_placeholder(world):
    """The hash is never empty; what stays on the chain for ever has no address, no path and no control character."""
    world.put_claimed()
    verifier = await world.start_verifier(failing(FetchFailure.REFUSED, after=500))
    vote = await its_only_vote(world)
    assert not vote.verified
    assert vote.hash == placeholder(Reason.FETCH_FAILED) != ""
    assert vote.details == "fetch_failed:refused, refused, refused"
    begun = [at for at, _ in verifier.source.opened]
    assert len(begun) == 3
    assert begun[1] - begun[0] >= 2
    assert begun[2] - begun[1] >= 4


@in_a_world()
async def test_many_attempts_make_no_long_text_on_the_chain(world):
    world.put_claimed()
    await world.start_verifier(failing(FetchFailure.MALFORMED), fetch_attempts=40, longest_backoff=2)
    vote = await its_only_vote(world)
    assert vote.details.isascii()
    assert vote.details.isprintable()
    assert len(vote.details.partition(":")[2]) <= 128


@pytest.mark.parametrize("kind", [FetchFailure.NOT_READY, FetchFailure.UNREACHABLE, FetchFailure.TRUNCATED])
@in_a_world()
async def test_what_may_pass_counts_only_when_no_more_than_an_epoch_is_left(world, kind):
    world.put_claimed()
    verifier = await world.start_verifier(failing(kind))
    vote = await its_only_vote(world)
    assert vote.hash == placeholder(Reason.FETCH_FAILED)
    last = [at for at, _ in verifier.source.opened][-3:]
    in_the_last_epoch = 61 * BLOCK - 23 * BLOCK
    assert all(at >= in_the_last_epoch - 2 * BLOCK for at in last)
    assert len(verifier.source.opened) > 6


@in_a_world()
async def test_a_node_that_cannot_hash_says_so_and_accuses_nobody_of_another_hash(world):
    world.put_claimed(deadline_epoch=1)
    await world.start_verifier(no_memory)
    vote = await its_only_vote(world)
    assert vote.hash == placeholder(Reason.HASH_COMPUTE_FAILED)
    assert vote.details == "hash_compute_failed:MemoryError, MemoryError, MemoryError"


PATIENT = UnreachablePolicy.PATIENT


@in_a_world()
async def test_a_patient_verifier_goes_on_to_the_end_of_the_window_and_abstains(world):
    world.put_claimed()
    verifier = await world.start_verifier(failing(FetchFailure.REFUSED), verifier_unreachable_policy=PATIENT)
    await world.until(lambda: world.status() is HealOpStatus.EXPIRED)
    await world.blocks(1)
    assert not world.sent(verifier)
    assert len(verifier.seen(What.ABSTAINED)) == 1
    begun = [at for at, _ in verifier.source.opened]
    pauses = [after - before for before, after in pairwise(begun)]
    assert pauses[:6] == sorted(pauses[:6])
    assert (80 - 23) * BLOCK - 30 < begun[-1] <= (80 - 22) * BLOCK
    await world.until(verifier.is_clean)


@in_a_world()
async def test_a_patient_verifier_holds_no_place_while_it_waits(world):
    world.put_claimed(op_id=1)
    world.put_claimed(op_id=2, healer=3)

    async def by_op(op):
        async for chunk in (failing(FetchFailure.REFUSED) if op.op_id == 1 else honest)(op):
            await trio.sleep(5)
            yield chunk

    verifier = await world.start_verifier(by_op, verifier_unreachable_policy=PATIENT, verifications=1)
    await world.until(lambda: [vote.op_id for vote in world.votes()] == [2], blocks=10)
    assert verifier.source.most_at_once == 1
    assert 1 in verifier.node.service.in_flight


@in_a_world()
async def test_a_patient_verifier_votes_yes_when_the_file_comes_at_last(world):
    world.put_claimed()
    refused = [failing(FetchFailure.REFUSED)] * 6
    await world.start_verifier(*refused, honest, verifier_unreachable_policy=PATIENT)
    assert (await its_only_vote(world)).verified


@in_a_world()
async def test_failed_precondition_for_two_minutes_and_then_the_file_is_a_yes_and_no_attempt(world):
    world.put_claimed()

    async def play(asked):
        ready = trio.current_time() >= 120
        await (ends.sending(*ends.replies(DATA, 50_000)) if ready else ends.refusing(Status.FAILED_PRECONDITION))(asked)

    healer = world.stand_in(0, play)
    await world.start(1)
    assert (await its_only_vote(world)).verified
    assert trio.current_time() >= 120
    assert len(healer.heard) > 3
    failures = [event for event in world.logs if event["event"] == "fetch_failed"]
    assert {event["used"] for event in failures} == {0}
    assert len(failures) == len(healer.heard) - 1


NO_FILES = {
    "cut off, with OK": ends.sending(FIRST, *MIDDLE),
    "cut off, connection lost": ends.sending(FIRST, *MIDDLE, then=ends.vanish),
    "no last marker": ends.sending(FIRST, *MIDDLE, ends.Reply(LAST.chunk, 0, False)),
    "last marker too early": ends.sending(ends.Reply(FIRST.chunk, FIRST.total_size, True)),
    "size 0": ends.sending(ends.Reply(FIRST.chunk, 0, False), *MIDDLE, LAST),
    "size too large": ends.sending(ends.Reply(FIRST.chunk, 1 << 62, False), *MIDDLE, LAST),
    "an extra byte": ends.sending(FIRST, *MIDDLE, ends.Reply(LAST.chunk + b"x", 0, True)),
    "a chunk after the last": ends.sending(FIRST, *MIDDLE, LAST, ends.Reply(b"x", 0, False)),
    "nothing": ends.sending(),
    "stall": ends.sending(FIRST, then=ends.hang),
    "stall before the status": ends.sending(FIRST, *MIDDLE, LAST, then=ends.hang),
    "data loss at the end": ends.sending(FIRST, *MIDDLE, then=ends.refusing(Status.DATA_LOSS)),
    "not found": ends.refusing(Status.NOT_FOUND),
    "permission denied": ends.refusing(Status.PERMISSION_DENIED),
}


@pytest.mark.parametrize("play", NO_FILES.values(), ids=NO_FILES)
@in_a_world()
async def test_what_is_no_whole_file_and_then_a_file_is_never_a_no(world, play):
    world.put_claimed()
    world.stand_in(0, play, play, ends.sending(FIRST, *MIDDLE, LAST))
    await world.start(1)
    assert (await its_only_vote(world)).verified


PASSING = ["cut off, with OK", "cut off, connection lost", "nothing", "stall", "stall before the status", "not found"]


@pytest.mark.parametrize("name", PASSING)
@in_a_world()
async def test_what_may_pass_uses_up_no_attempt(world, name):
    world.put_claimed()
    world.stand_in(0, *[NO_FILES[name]] * 5, ends.sending(FIRST, *MIDDLE, LAST))
    await world.start(1)
    assert (await its_only_vote(world)).verified


@pytest.mark.parametrize("at", [0, 65_528, len(DATA) - 1])
@in_a_world()
async def test_a_wrong_byte_is_always_a_no_with_the_computed_hash(world, at):
    file = bytearray(DATA)
    file[at] ^= 0x80
    world.put_claimed()
    healer = world.stand_in(0, ends.sending(*ends.replies(bytes(file), 50_000)))
    await world.start(1)
    assert await its_only_vote(world) == Vote(1, verified=False, hash=hash_of(file), details="hash_mismatch")
    assert len(healer.heard) == 1


@in_a_world()
async def test_a_healer_with_a_corrupt_artefact_server_is_voted_down(world):
    healer = world.node(0)
    healer.serves = lambda node: CorruptArtefacts(node.artefacts)
    await healer.start()
    verifiers = [await world.start(number) for number in (1, 2)]
    world.put_op()
    await world.until(lambda: world.status() is HealOpStatus.FAILED)
    served = bytes([DATA[0] ^ 1]) + DATA[1:]
    assert world.votes() == [Vote(1, verified=False, hash=hash_of(served), details="hash_mismatch")] * 2
    for life in (healer, *verifiers):
        await world.until(life.is_clean)
    assert not healer.seen(What.PUBLISHED)


# The verdict.


@pytest.mark.parametrize("is_yes", [False, True])
@pytest.mark.parametrize("trouble", [unsure, answer_lost])
@in_a_world()
async def test_a_journalled_verdict_is_repeated_unchanged_after_an_indeterminate_send_and_a_restart(
    world, trouble, is_yes
):
    world.put_claimed()
    verifier = world.node(1)
    verifier.source = ScriptedSource([honest, wrong_byte] if is_yes else [wrong_byte, honest])
    verifier.passage.hooks["broadcast"] = trouble
    await verifier.start()
    await world.until(lambda: verifier.seen(What.SENT), blocks=8)
    await verifier.kill()
    said = (await verifier.entries()).intents[1].says
    del verifier.passage.hooks["broadcast"]
    await verifier.start()
    vote = await its_only_vote(world)
    assert vote == said
    assert vote.verified == is_yes
    await world.blocks(20)
    assert len(verifier.source.opened) == 1
    assert (await verifier.entries()).verifications[1].hash == vote.hash
    assert len(world.sent(verifier)) == (2 if trouble is unsure else 1)


@in_a_world()
async def test_verification_already_submitted_in_a_simulation_is_success(world):
    """The ledger was lost; the chain has our vote."""
    world.put_claimed()
    verifier = await world.start_verifier(honest)
    world.chain._become(world.chain.state.with_vote(1, verifier.account, verified=True))
    await world.until(lambda: verifier.seen(What.ACCEPTED))
    entries = await verifier.entries()
    assert entries.verifications[1].hash == world.hash
    assert not entries.intents
    assert not world.sent(verifier)


@in_a_world()
async def test_verification_already_submitted_in_a_block_is_success(world):
    world.put_claimed()

    async def fails_in_block(transaction, call):
        world.chain.fail_in_block(transaction.tx_hash, 15, "audit", "verification already submitted")
        return await call()

    verifier = world.node(1)
    verifier.source = ScriptedSource([honest])
    verifier.passage.hooks["broadcast"] = fails_in_block
    await verifier.start()
    await world.until(lambda: verifier.seen(What.ACCEPTED))
    await world.blocks(20)
    assert list((await verifier.entries()).verifications) == [1]
    assert len(world.sent(verifier)) == 1


@in_a_world()
async def test_a_refused_vote_leaves_no_row_and_is_sent_again_as_it_was(world):
    world.put_claimed()
    verifier = world.node(1)
    balance = world.make_poor(verifier)
    verifier.source = ScriptedSource([wrong_byte, honest])
    await verifier.start()
    await world.blocks(10)
    entries = await verifier.entries()
    assert not entries.verifications
    assert entries.intents[1].sent is None
    world.make_poor(verifier, balance)
    assert await its_only_vote(world) == entries.intents[1].says
    assert len(verifier.source.opened) == 1


@in_a_world()
async def test_a_place_in_the_mempool_makes_no_row(world):
    world.put_claimed()

    async def held(transaction, call):
        world.chain.hold(transaction.tx_hash, 5)
        return await call()

    verifier = world.node(1)
    verifier.source = ScriptedSource([honest])
    verifier.passage.hooks["broadcast"] = held
    await verifier.start()
    await world.until(world.chain.mempool)
    await world.blocks(4)
    assert not (await verifier.entries()).verifications
    await world.until(world.votes)
    await world.until(lambda: verifier.seen(What.ACCEPTED), blocks=3)
    assert list((await verifier.entries()).verifications) == [1]


@pytest.mark.parametrize("is_accepted", [False, True])
@pytest.mark.parametrize("status", [HealOpStatus.VERIFIED, HealOpStatus.FAILED, HealOpStatus.EXPIRED, None])
@in_a_world()
async def test_a_vote_on_an_op_that_is_over_is_forgotten_after_two_heights(world, status, is_accepted):
    """Accepted, or not even sent since the fee could not be paid."""
    world.put_claimed()
    verifier = world.node(1)
    if not is_accepted:
        world.make_poor(verifier)
    verifier.source = ScriptedSource([honest])
    await verifier.start()
    await world.until(lambda: verifier.seen(What.ACCEPTED if is_accepted else What.DECIDED))
    if status is None:
        world.prune()
    else:
        world.move(status)
    world.freeze(verifier)
    await world.blocks(15)
    assert not await verifier.is_clean()
    world.thaw(verifier)
    await world.until(verifier.is_clean)
    assert len(world.votes()) == is_accepted


@in_a_world()
async def test_no_more_than_four_verifications_run_at_once(world):
    for number in range(1, 11):
        world.put_claimed(op_id=number)

    async def slowly(op):
        await trio.sleep(20)
        yield DATA

    verifier = await world.start_verifier(slowly)
    await world.until(lambda: len(world.votes()) == 10)
    assert verifier.source.most_at_once == 4


@in_a_world()
async def test_a_bug_with_one_op_is_loud_and_leaves_the_others_at_work(world):
    world.bugs_are_expected = True
    world.put_claimed(op_id=1)
    world.put_claimed(op_id=2)

    async def by_op(op):
        if op.op_id == 1:
            raise ZeroDivisionError
        yield DATA

    verifier = await world.start_verifier(by_op)
    vote = await its_only_vote(world)
    assert vote.op_id == 2
    assert {event.op_id for event in verifier.seen(What.FAILED)} == {1}
    assert any(event["event"] == "walk_failed" and event["log_level"] == "error" for event in world.logs)
    await world.blocks(12)
    assert len(verifier.seen(What.FAILED)) > 1


@in_a_world()
async def test_an_op_of_other_verifiers_is_let_alone(world):
    world.put_claimed(verifiers=(2, 3))
    verifier = await world.start_verifier(honest)
    await world.blocks(12)
    assert not verifier.source.opened
    assert not world.sent(verifier)


@pytest.mark.parametrize("status", [status for status in HealOpStatus if status is not HealOpStatus.HEALER_REPORTED])
@in_a_world()
async def test_only_reported_ops_are_verified(world, status):
    world.chain.set_op(evolve(world.put_claimed(), status=status))
    verifier = await world.start_verifier(honest)
    await world.blocks(12)
    assert not verifier.source.opened
    assert await verifier.is_clean()
