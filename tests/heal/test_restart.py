"""Restarts: chain, ledger and disk are joined again, and a node that dies anywhere ends with one of everything."""

import shutil

import pytest
import trio
from attrs import evolve

from healing import (
    DATA,
    OTHER_HASH,
    TICKET,
    Fuse,
    ScriptedSource,
    a_fast_directory,
    a_healing_world,
    honest,
    in_a_world,
    wrong_byte,
)
from lep6 import _core
from lep6.cascade.staging import MANIFEST, RECONSTRUCTED, Manifest
from lep6.cascade.text import to_base64
from lep6.heal.events import What
from lep6.heal.rows import ClaimState
from lep6.model import HealOpStatus
from lep6.ports import At
from lep6.transaction import Claim, Included, Vote
from world import noise

REPORTED, VERIFIED = HealOpStatus.HEALER_REPORTED, HealOpStatus.VERIFIED


def forget_everything(life):
    for path in life.directory.glob("ledger.db*"):
        path.unlink()


def lose_staging(life):
    shutil.rmtree(life.staging(1))


def lose_disk(life):
    shutil.rmtree(life.directory)


@in_a_world()
async def test_a_restart_resubmits_nothing(world):
    healer = await world.start_claimed()
    verifier = await world.start_verifier(honest, number=1)
    await world.until(lambda: verifier.seen(What.ACCEPTED))
    manifest = healer.manifest()
    for _ in range(3):
        await healer.restart()
        await verifier.restart()
        await world.blocks(8)
    assert len(world.sent(healer)) == 1
    assert len(world.sent(verifier)) == 1
    assert len(verifier.source.opened) == 1
    assert len(healer.seen(What.RECONSTRUCTED)) == 1
    assert healer.manifest() == manifest
    assert (await healer.entries()).claims[1].state is ClaimState.ACCEPTED


@in_a_world()
async def test_reconciles_an_existing_chain_claim_after_a_crash_between_inclusion_and_row(world):
    healer = world.node()

    async def dies(_, call):
        answer = await call()
        if isinstance(answer, At) and isinstance(answer.value, Included):
            healer.cut()
            await trio.sleep_forever()
        return answer

    healer.passage.hooks["lookup"] = dies
    await healer.start()
    world.put_op()
    await world.until(lambda: healer.has_ended)
    entries = await healer.entries()
    assert world.status() is REPORTED
    assert not entries.claims
    assert list(entries.intents) == [1]
    manifest = healer.manifest()
    healer.passage.hooks.clear()
    await healer.start()
    await world.until(lambda: healer.seen(What.ACCEPTED), blocks=2)
    assert list((await healer.entries()).claims) == [1]
    assert healer.manifest() == manifest
    assert len(world.sent(healer)) == 1


@in_a_world()
async def test_reconciles_a_claim_that_was_included_while_the_node_was_away(world):
    healer = world.node()

    async def dies(transaction, call):
        world.chain.hold(transaction.tx_hash, 3)
        await call()
        healer.cut()
        await trio.sleep_forever()

    healer.passage.hooks["broadcast"] = dies
    await healer.start()
    world.put_op()
    await world.until(lambda: world.status() is REPORTED)
    await world.blocks(5)
    healer.passage.hooks.clear()
    await healer.start()
    await world.until(lambda: healer.seen(What.ACCEPTED), blocks=2)
    assert len(world.sent(healer)) == 1
    assert len(healer.seen(What.RECONSTRUCTED)) == 1


@pytest.mark.parametrize("lose", [forget_everything, lose_staging, lose_disk])
@in_a_world()
async def test_what_is_lost_while_the_claim_stands_is_adopted_or_made_again_and_served(world, lose):
    await world.disaster()
    healer = await world.start_claimed()
    manifest = healer.manifest()
    await healer.kill()
    lose(healer)
    await healer.start()
    await world.until(healer.is_staged)
    assert (healer.manifest() == manifest) == (lose is forget_everything)
    assert (await world.ask(healer, 1, world.accounts[1])).data == DATA
    await world.blocks(8)
    row = (await healer.entries()).claims[1]
    assert (row.manifest_hash, row.state) == (world.hash, ClaimState.ACCEPTED)
    world.move(VERIFIED)
    await world.until(healer.is_clean)
    assert await world.reads_back_without_survivors()
    assert len(world.sent(healer)) == 1
    assert len(healer.seen(What.RECONSTRUCTED)) == (1 if lose is forget_everything else 2)


@in_a_world()
async def test_a_staging_without_rows_whose_op_is_verified_is_adopted_and_published(world):
    await world.disaster()
    healer = await world.start_claimed()
    await healer.kill()
    forget_everything(healer)
    world.move(VERIFIED)
    await healer.start()
    await world.until(healer.is_clean)
    assert len(healer.seen(What.PUBLISHED)) == 1
    assert len(healer.seen(What.RECONSTRUCTED)) == 1
    assert await world.reads_back_without_survivors()


@in_a_world()
async def test_a_staging_without_rows_whose_op_is_still_scheduled_is_claimed_as_it_is(world):
    healer = world.node()
    balance = world.make_poor(healer)
    await healer.start()
    world.put_op()
    await world.until(healer.is_staged)
    manifest = healer.manifest()
    await healer.kill()
    forget_everything(healer)
    world.make_poor(healer, balance)
    await healer.start()
    await world.until(lambda: world.status() is REPORTED)
    assert healer.manifest() == manifest
    assert len(healer.seen(What.RECONSTRUCTED)) == 1


@in_a_world()
async def test_an_orphan_goes_after_two_heights_and_what_is_not_ours_stays(world):
    """An orphan has a number for a name; the chain knows no such op, or it is another's, or it has ended."""
    healer = await world.start_claimed()
    await healer.kill()
    root = healer.staging(1).parent
    orphans = ("5", "77", "78", "79", "80", ".work/81", ".damaged-82-00112233")
    others = ("ticket-7", "notes", "007", "12x", str(2**63), ".work/ticket-7")
    for name in (*orphans, *others):
        _copy_staging(healer.staging(1), root / name)
    (root / "79" / MANIFEST).unlink()
    (root / "80" / MANIFEST).write_bytes(b"{}")
    world.put_op(HealOpStatus.EXPIRED, op_id=77)
    world.put_claimed(op_id=78, healer=3)
    world.freeze(healer)
    await healer.start()
    await world.blocks(15)
    assert all((root / name).is_dir() for name in orphans)
    world.thaw(healer)
    await world.until(lambda: not any((root / name).exists() for name in orphans), blocks=15)
    await world.blocks(10)
    assert all((root / name).is_dir() for name in others)
    assert healer.is_staged()
    assert not healer.passage.count("store")


@in_a_world()
async def test_debris_of_dead_attempts_is_swept_at_the_start(world):
    healer = await world.start_claimed()
    await healer.kill()
    for name in (".tmp-1-00112233", ".gone-5-00112233"):
        _copy_staging(healer.staging(1), healer.staging(1).parent / name)
    await healer.start()
    await world.blocks(1)
    assert not {name for name in healer.on_disk() if name.startswith((".tmp-", ".gone-"))}
    assert healer.is_staged()


@in_a_world()
async def test_the_base_directory_may_be_moved_between_two_starts(world):
    await world.disaster()
    healer = await world.start_claimed()
    await healer.kill()
    moved = healer.directory.with_name("another place")
    healer.directory.rename(moved)
    healer.directory = moved
    await healer.start()
    assert (await world.ask(healer, 1, world.accounts[1])).data == DATA
    await world.blocks(8)
    assert len(healer.seen(What.RECONSTRUCTED)) == 1
    world.move(VERIFIED)
    await world.until(healer.is_clean)
    assert await world.reads_back_without_survivors()


@in_a_world()
async def test_after_a_restart_a_node_of_the_chain_that_is_further_back_is_known_for_one(world):
    """It does not know the op yet, at every height that it comes to; the ledger knows that the chain was further."""
    healer = await world.start_claimed()
    await world.blocks(12)
    behind = world.chain.height - world.op().created_height + 2
    await healer.restart()
    healer.client.lag = lambda: behind
    for _ in range(3):
        await world.blocks(4)
        await healer.restart()
        healer.client.lag = lambda: behind
    assert healer.is_staged()
    assert list((await healer.entries()).claims) == [1]


@in_a_world(data=noise(2_500_000, seed=3))
async def test_a_healer_that_dies_in_the_middle_of_a_stream_and_comes_back_is_voted_for(world):
    healer = world.node()
    served = 0

    async def dies(work, call):
        nonlocal served
        if getattr(work, "__name__", "") == "next_message":
            served += 1
            if served == 2:
                healer.cut()
        return await call()

    healer.passage.hooks["blocking"] = dies
    await healer.start()
    await world.start(1)
    world.put_op()
    await world.until(lambda: healer.has_ended)
    await world.blocks(5)
    await healer.start()
    await world.until(world.votes)
    assert world.votes()[0].verified
    failures = [event for event in world.logs if event["event"] == "fetch_failed"]
    assert failures[0]["kind"] == "truncated"
    assert {event["used"] for event in failures} == {0}
    assert len(healer.seen(What.RECONSTRUCTED)) == 1


# Dead at each step.


def _copy_staging(source, target):
    """A complete staging of the same file under another name."""
    shutil.copytree(source, target)
    manifest = Manifest.from_json((source / MANIFEST).read_bytes())
    (target / MANIFEST).write_bytes(evolve(manifest, op_id=target.name).to_json())


async def _revive(life):
    """Start a node again each time that it has died."""
    while True:
        await life._ended.wait()
        await trio.sleep(2)
        life.passage.fuse = None
        await life.start()


SMALL = {"data": noise(70_000), "nodes": 3, "replicas": 1}


async def _heal(directory, at, *, is_after, is_death):
    """The story of a claim and its publish, with a death at one of the healer's calls; whether it came to that."""
    async with a_healing_world(directory, **SMALL) as world:
        await world.disaster(symbols=3)
        healer = await world.start()
        fuse = healer.passage.fuse = Fuse(at, is_after, is_death, healer.cut)
        world.nursery.start_soon(_revive, healer)
        world.put_op()
        await world.until(lambda: world.status() is REPORTED)
        await world.blocks(6)
        assert healer.is_staged()
        assert not healer.passage.count("store")
        world.move(VERIFIED)
        await world.until(healer.is_clean, blocks=60)
        assert world.accepted() == [Claim(1, TICKET, world.hash)]
        assert len(world.sent(healer)) <= 2
        assert await world.is_published()
        return fuse.passed >= at


async def _fail(directory, at, *, is_after, is_death):
    """The story of a claim that was voted down: all of it is removed."""
    async with a_healing_world(directory, **SMALL) as world:
        healer = await world.start_claimed()
        world.move(HealOpStatus.FAILED, result_hash=OTHER_HASH)
        fuse = healer.passage.fuse = Fuse(at, is_after, is_death, healer.cut)
        world.nursery.start_soon(_revive, healer)
        await world.until(healer.is_clean, blocks=30)
        assert not healer.passage.count("store")
        return fuse.passed >= at


async def _rebuild(directory, at, *, is_after, is_death):
    """The story of a staging that is damaged when its op is verified: it is set aside, rebuilt and published."""
    async with a_healing_world(directory, **SMALL) as world:
        await world.disaster(symbols=3)
        healer = await world.start_claimed()
        (healer.staging(1) / RECONSTRUCTED).write_bytes(b"not what was there")
        world.move(VERIFIED)
        fuse = healer.passage.fuse = Fuse(at, is_after, is_death, healer.cut)
        world.nursery.start_soon(_revive, healer)
        await world.until(healer.is_clean, blocks=30)
        assert await world.is_published()
        return fuse.passed >= at


async def _verify(directory, at, *, is_after, is_death):
    """The story of a vote; once there is a verdict, the file is another: a verdict made twice would differ."""
    async with a_healing_world(directory, **SMALL) as world:
        world.put_claimed(result_hash=to_base64(_core.blake3(DATA)))
        verifier = world.node(1)
        verifier.source = ScriptedSource([honest])
        await verifier.start()
        fuse = verifier.passage.fuse = Fuse(at, is_after, is_death, verifier.cut)
        world.nursery.start_soon(_revive, verifier)

        async def is_decided():
            entries = await verifier.entries()
            return entries.intents or entries.verifications

        async def is_recorded():
            return (await verifier.entries()).verifications

        await world.until(is_decided)
        verifier.source.script.append(wrong_byte)
        await world.until(is_recorded)
        await world.blocks(6)
        assert world.accepted() == [Vote(1, verified=True, hash=world.op().result_hash, details="")]
        assert not (await verifier.entries()).intents
        world.move(VERIFIED)
        await world.until(verifier.is_clean)
        return fuse.passed >= at


WAYS = {
    "cancelled before a call": {"is_after": False, "is_death": False},
    "gone before a call": {"is_after": False, "is_death": True},
    "cancelled when a call had its effect": {"is_after": True, "is_death": False},
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("story", [_heal, _verify, _fail, _rebuild])
async def test_a_node_that_dies_at_any_call_ends_with_one_accepted_message_and_a_whole_publish(
    tmp_path, autojump_clock, story, way
):
    """A death after a call is one before the next, but for what was in memory: every third of those will do."""
    at, step = 1, 3 if way["is_after"] else 1
    with a_fast_directory(tmp_path) as directory:
        while await story(directory / str(at), at, **way):
            at += step
    assert at > 12
