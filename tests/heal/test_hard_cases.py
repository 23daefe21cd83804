"""Hard cases: transactions that go astray, a chain that does not answer or is behind, a window's end, a full disk."""

import errno
import random

import pytest
import trio
import trio.testing
from attrs import evolve

from healing import (
    EPOCH,
    OTHER_HASH,
    ScriptedSource,
    answer_lost,
    away,
    first,
    hang,
    honest,
    in_a_world,
    unsure,
    wrong_byte,
)
from lep6.devnet.chain import Tx
from lep6.heal.events import What
from lep6.heal.rows import ClaimState
from lep6.model import HealOpStatus
from lep6.transaction import Claim, Vote

REPORTED, SCHEDULED, VERIFIED = HealOpStatus.HEALER_REPORTED, HealOpStatus.SCHEDULED, HealOpStatus.VERIFIED
FAR = 900
LAST = 2 * EPOCH
"""The last block of epoch 1."""


# Transactions that go astray.


async def evicted(world, transaction, call):
    answer = await call()
    world.chain.drop(transaction.tx_hash)
    return answer


async def evicted_a_block_later(world, transaction, call):
    world.chain.hold(transaction.tx_hash, 3)
    answer = await call()

    async def later():
        await world.blocks(2)
        assert world.chain.drop(transaction.tx_hash)

    world.nursery.start_soon(later)
    return answer


async def out_of_gas_in_its_block(world, transaction, call):
    world.chain.fail_in_block(transaction.tx_hash, 11, "sdk", "out of gas in location: WriteFlat")
    return await call()


async def included_late(world, transaction, call):
    world.chain.hold(transaction.tx_hash, 8)
    return await call()


async def included_late_and_the_answer_lost(world, transaction, call):
    world.chain.hold(transaction.tx_hash, 8)
    return await answer_lost(transaction, call)


async def mempool_full(world, transaction, call):
    capacity, world.chain._pool.capacity = world.chain._pool.capacity, 0
    try:
        return await call()
    finally:
        world.chain._pool.capacity = capacity


async def not_sent(_, transaction, call):
    return await unsure(transaction, call)


async def sent_and_the_answer_lost(_, transaction, call):
    return await answer_lost(transaction, call)


async def sent_and_no_answer(_, transaction, call):
    await call()
    return await hang(transaction, call)


async def sent_twice(_, transaction, call):
    await call()
    return await call()


async def overtaken_by_another_of_the_account(world, transaction, call):
    """The host sends a report with the same key in between."""
    account = Tx.decode(transaction.raw).creator
    another = 50 + len(world.chain.state.ops)
    world.put_claimed(op_id=another, healer=3, verifiers=(account, 4), deadline_epoch=FAR)
    report = Vote(another, verified=False, hash=OTHER_HASH, details="")
    sequence = world.chain._checked.accounts[account].sequence
    tx = Tx(creator=account, message=report, sequence=sequence, gas_limit=200_000, fee=5_000)
    assert world.chain.submit(tx).code == 0
    return await call()


ASTRAY = [
    evicted,
    evicted_a_block_later,
    out_of_gas_in_its_block,
    included_late,
    included_late_and_the_answer_lost,
    mempool_full,
    not_sent,
    sent_and_the_answer_lost,
    sent_and_no_answer,
    sent_twice,
    overtaken_by_another_of_the_account,
]


def going_astray(world, trouble, times):
    async def hook(transaction, call):
        return await trouble(world, transaction, call)

    return first(times, hook)


@pytest.mark.parametrize("with_restart", [False, True])
@pytest.mark.parametrize("trouble", ASTRAY)
@in_a_world()
async def test_a_claim_that_goes_astray_is_accepted_once_from_the_same_staging(world, trouble, with_restart):
    """That never two transactions of it are alive, the world sees to."""
    healer = world.node(query=5)
    healer.passage.hooks["broadcast"] = going_astray(world, trouble, 2)
    await healer.start()
    world.put_op(deadline_epoch=FAR)
    await world.until(lambda: healer.passage.count("broadcast"))
    manifest = healer.manifest()
    if with_restart:
        await healer.restart()
    await world.until(lambda: world.status() is REPORTED)
    await world.blocks(20)
    assert [claim for claim in world.claims() if claim.op_id == 1] == [Claim(1, "7", world.hash)]
    assert healer.manifest() == manifest
    assert len(healer.seen(What.RECONSTRUCTED)) == 1
    entries = await healer.entries()
    assert entries.claims[1].state is ClaimState.ACCEPTED
    assert 1 not in entries.intents


@pytest.mark.parametrize("with_restart", [False, True])
@pytest.mark.parametrize("trouble", ASTRAY)
@in_a_world()
async def test_a_vote_that_goes_astray_is_accepted_once_and_unchanged(world, trouble, with_restart):
    world.put_claimed(deadline_epoch=FAR)
    verifier = world.node(1, query=5)
    verifier.source = ScriptedSource([honest, wrong_byte])
    verifier.passage.hooks["broadcast"] = going_astray(world, trouble, 2)
    await verifier.start()
    await world.until(lambda: verifier.passage.count("broadcast"))
    if with_restart:
        await verifier.restart()
    await world.until(lambda: [vote for vote in world.votes() if vote.op_id == 1])
    await world.blocks(20)
    (vote,) = [vote for vote in world.votes() if vote.op_id == 1]
    assert vote.verified
    entries = await verifier.entries()
    assert entries.verifications[1].verified
    assert 1 not in entries.intents


@in_a_world()
async def test_a_claim_whose_transaction_failed_as_the_status_is_another_is_not_sent_for_ever(world):
    """Somebody with the same account has claimed: with our hash it is ours."""

    async def overtaken(transaction, call):
        answer = await call()
        world.move(REPORTED, result_hash=world.hash)
        return answer

    healer = world.node()
    healer.passage.hooks["broadcast"] = overtaken
    await healer.start()
    world.put_op()
    await world.until(lambda: healer.seen(What.ACCEPTED))
    await world.blocks(15)
    assert len(world.sent(healer)) == 1
    assert list((await healer.entries()).claims) == [1]


# A chain that does not answer.


METHODS = ["latest_block", "parameters", "heal_op", "heal_ops", "action", "prepare", "broadcast", "lookup"]


def lagging(blocks):
    return pytest.param(blocks, id=f"{blocks} blocks behind")


@pytest.mark.parametrize("fault", [away, hang, unsure, lagging(1), lagging(20)])
@pytest.mark.parametrize("method", METHODS)
@in_a_world()
async def test_no_transient_error_deletes_anything(world, method, fault):
    """Neither what is claimed, nor what is being claimed, nor what was fetched, nor what is being published."""
    if fault is unsure and method not in ("prepare", "broadcast"):
        return
    healer = world.node(longest_backoff=20)
    await healer.start()
    world.put_op(op_id=1, deadline_epoch=FAR)
    await world.until(lambda: healer.seen(What.ACCEPTED, 1))
    healer.passage.hooks["broadcast"] = unsure
    world.put_op(op_id=2, deadline_epoch=FAR)
    await world.until(lambda: healer.passage.count("broadcast") > 1)
    manifests = healer.manifest(1), healer.manifest(2)
    del healer.passage.hooks["broadcast"]
    behind = 0

    async def lag(_, call):
        nonlocal behind
        behind = fault
        try:
            return await call()
        finally:
            behind = 0

    healer.client.lag = lambda: behind
    healer.passage.hooks[method] = lag if isinstance(fault, int) else fault
    for with_restart in (False, True):
        if with_restart:
            await healer.restart()
        await world.blocks(12)
        assert healer.is_staged(1)
        assert healer.manifest(1) == manifests[0]
        assert healer.is_staged(2)
        assert healer.manifest(2) == manifests[1]
        entries = await healer.entries()
        assert entries.claims[1].state is ClaimState.ACCEPTED
        assert 2 in entries.claims or 2 in entries.intents
        assert not healer.passage.count("store")
    healer.passage.hooks.clear()
    await world.until(lambda: healer.seen(What.ACCEPTED, 2))
    world.move(VERIFIED, 1)
    world.move(HealOpStatus.FAILED, 2)
    await world.until(healer.is_clean)
    assert [event.op_id for event in healer.seen(What.PUBLISHED)] == [1]
    assert len(healer.seen(What.RECONSTRUCTED)) == 2


@pytest.mark.parametrize("method", ["heal_op", "heal_ops", "action", "prepare", "broadcast", "lookup"])
@in_a_world()
async def test_no_transient_error_makes_a_verifier_vote_no(world, method):
    verifier = world.node(1)
    verifier.source = ScriptedSource([honest])
    verifier.passage.hooks[method] = first(3, unsure if method in ("prepare", "broadcast") else away)
    world.put_claimed()
    await verifier.start()
    await world.until(world.votes)
    assert [vote.verified for vote in world.votes()] == [True]
    assert len(verifier.source.opened) == 1


@pytest.mark.parametrize("blocks", [1, 5, 20])
@in_a_world()
async def test_a_node_of_the_chain_that_lags_deletes_nothing_and_claims_nothing_twice(world, blocks):
    """It is behind from the moment of the claim on, over a restart, and the others are not."""
    healer = world.node(longest_backoff=20)
    await healer.start()
    world.put_op(deadline_epoch=FAR)
    await world.until(lambda: healer.passage.count("broadcast"))
    manifest = healer.manifest()
    healer.client.lag = lambda: blocks
    await world.blocks(5)
    await healer.restart()
    healer.client.lag = lambda: blocks
    await world.blocks(20)
    assert healer.manifest() == manifest
    assert len(world.claims()) == 1
    assert len(world.sent(healer)) == 1
    world.thaw(healer)
    await world.until(lambda: healer.seen(What.ACCEPTED))
    world.move(VERIFIED)
    healer.client.lag = lambda: blocks
    await world.until(healer.is_clean)
    assert len(healer.seen(What.PUBLISHED)) == 1


@pytest.mark.parametrize("seed", range(6))
@in_a_world()
async def test_with_answers_of_nodes_at_any_height_a_heal_goes_to_its_end(world, seed):
    await world.disaster()
    chance = random.Random(seed)
    lives = [world.node(number) for number in range(3)]
    for life in lives:
        await life.start()
        life.client.lag = lambda: chance.choice([0, 0, 0, 1, chance.randrange(20)])
    world.put_op(deadline_epoch=FAR)
    await world.until(lambda: world.status() is VERIFIED, blocks=200)
    for life in lives:
        await world.until(life.is_clean, blocks=200)
    assert len(world.claims()) == 1
    assert [vote.verified for vote in world.votes()] == [True, True]
    assert await world.reads_back_without_survivors()


@in_a_world()
async def test_an_op_that_is_closed_is_not_rebuilt_on_the_word_of_a_node_that_is_behind(world):
    """It lists the op as HEALER_REPORTED still, and nothing is here to be served."""
    healer = await world.start_claimed()
    await world.blocks(2)
    reported = world.chain.height - 1
    world.move(VERIFIED)
    await world.until(lambda: healer.seen(What.CLOSED))
    healer.client.lag = lambda: world.chain.height - reported
    await world.blocks(12)
    world.thaw(healer)
    await world.blocks(12)
    assert len(healer.seen(What.RECONSTRUCTED)) == 1
    assert len(healer.seen(What.PUBLISHED)) == 1


@in_a_world()
async def test_a_chain_that_stands_still_deletes_nothing(world):
    """All nodes that answer say that an op has expired; none of them has a new block."""
    healer = await world.start_claimed()
    world.move(HealOpStatus.EXPIRED)
    world.freeze(healer)
    await world.blocks(4)
    await healer.restart()
    world.freeze(healer)
    await world.blocks(40)
    assert healer.is_staged()
    assert list((await healer.entries()).claims) == [1]


@in_a_world()
async def test_one_old_node_of_the_chain_that_catches_up_deletes_nothing_after_a_restart_without_ledger(world):
    """It makes heights, one after another, at which the op does not exist: but its newest block is old."""
    healer = await world.start_claimed()
    await healer.kill()
    for path in healer.directory.glob("ledger.db*"):
        path.unlink()
    await world.blocks(36)
    world.chain.set_op(evolve(world.op(), deadline_epoch=FAR))
    await healer.start()
    healer.client.lag = lambda: 34
    await world.blocks(5)
    assert healer.is_staged()


# The end of the window.


@pytest.mark.parametrize("start", [EPOCH + 15, LAST - 2, LAST - 1])
def test_a_claim_in_the_last_epoch_of_the_window_succeeds(tmp_path, start):
    @in_a_world(start_height=start)
    async def story(world):
        world.put_op(deadline_epoch=1)
        await world.start()
        await world.until(world.claims, blocks=LAST - start + 1)
        assert world.status() in (REPORTED, HealOpStatus.EXPIRED)
        assert world.chain.included[0][1].height <= LAST

    _run(story, tmp_path)


@pytest.mark.parametrize("start", [EPOCH + 15, LAST - 2, LAST - 1])
def test_a_vote_in_the_last_epoch_of_the_window_succeeds(tmp_path, start):
    @in_a_world(start_height=start)
    async def story(world):
        world.put_claimed(deadline_epoch=1)
        await world.start_verifier(honest)
        await world.until(world.votes, blocks=LAST - start + 1)
        assert world.votes()[0].verified
        assert world.chain.included[0][1].height <= LAST

    _run(story, tmp_path)


@pytest.mark.parametrize("start", [LAST, LAST + 1])
def test_one_block_after_the_window_nothing_is_sent(tmp_path, start):
    """The op is still there: the chain of this test has not got to its expiry."""

    @in_a_world(start_height=start)
    async def story(world):
        world.put_op(op_id=1, deadline_epoch=1)
        world.put_claimed(op_id=2, healer=3, verifiers=(0, 4), deadline_epoch=1)
        node = world.node()
        node.source = ScriptedSource([honest])
        await node.start()
        await world.blocks(LAST + EPOCH - start - 1)
        assert world.status() is SCHEDULED
        assert not world.sent(node)
        assert not node.source.opened
        assert not node.is_staged()

    _run(story, tmp_path)


@in_a_world(start_height=LAST - 6)
async def test_a_claim_and_a_verdict_that_were_not_sent_in_their_window_are_never_sent(world):
    node = world.node()
    node.source = ScriptedSource([honest])
    world.make_poor(node)
    world.put_op(op_id=1, deadline_epoch=1)
    world.put_claimed(op_id=2, healer=3, verifiers=(0, 4), deadline_epoch=1)
    await node.start()
    await world.until(lambda: node.seen(What.DECIDED) and node.is_staged())
    await world.to_height(LAST)
    world.make_poor(node, 10**9)
    await world.until(node.is_clean)
    assert not world.claims()
    assert not world.votes()
    assert world.status(1) is world.status(2) is HealOpStatus.EXPIRED


@in_a_world(start_height=LAST - 1)
async def test_no_transaction_can_be_included_after_the_window(world):
    """Its time-out height is the last block of the window, however late it is held back."""

    async def held(transaction, call):
        world.chain.hold(transaction.tx_hash, 1)
        return await call()

    node = world.node()
    node.passage.hooks["broadcast"] = held
    world.put_op(deadline_epoch=1)
    await node.start()
    await world.until(lambda: world.sent(node), blocks=1)
    assert world.sent(node)[0].timeout_height == LAST
    await world.blocks(3)
    assert not world.chain.mempool()
    assert not world.claims()
    await world.until(node.is_clean)


@in_a_world()
async def test_an_op_without_a_deadline_has_no_end_of_its_window(world):
    world.put_op(deadline_epoch=0)
    await world.start()
    await world.until(world.claims)


# A disk that fails.


@in_a_world()
async def test_a_disk_that_is_full_at_any_moment_costs_time_and_nothing_else(world):
    """One disk operation of the walk in seven fails, each time another."""
    await world.disaster()
    healer = world.node(longest_backoff=10)
    operations = 0

    async def full(_, call):
        nonlocal operations
        if trio.lowlevel.current_task().name.endswith("HealService._walk"):
            operations += 1
            if operations % 7 == 3 and operations < 200:
                raise OSError(errno.ENOSPC, "No space left on device")
        return await call()

    await healer.start()
    healer.passage.hooks["blocking"] = full
    world.put_op(deadline_epoch=FAR)
    await world.until(lambda: world.status() is REPORTED, blocks=300)
    await world.blocks(5)
    world.move(VERIFIED)
    await world.until(lambda: healer.seen(What.PUBLISHED), blocks=300)
    await healer.restart()
    await world.until(healer.is_clean, blocks=300)
    assert len(world.claims()) == 1
    assert await world.reads_back_without_survivors()


def _run(story, tmp_path):
    clock = trio.testing.MockClock(autojump_threshold=0)

    async def main():
        await story(tmp_path=tmp_path, autojump_clock=clock)

    trio.run(main, clock=clock)
