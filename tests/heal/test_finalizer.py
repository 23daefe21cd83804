"""The finalizer: what it publishes, what it removes, and on whose word."""

import shutil
from pathlib import Path

import pytest
import trio

from healing import BLOCK, OTHER_HASH, in_a_world, where
from lep6.cascade.staging import RECONSTRUCTED
from lep6.heal.events import What
from lep6.heal.ledger import Ledger
from lep6.heal.rows import ClaimState
from lep6.model import HealOpStatus, Ticket
from lep6.ports import Placement
from world import BLOCKING, noise

ENDS = [HealOpStatus.FAILED, HealOpStatus.EXPIRED]


async def nobody_takes_it(items, _):
    await trio.lowlevel.checkpoint()
    return [Placement(key, 0, 2) for key, _ in items]


@in_a_world()
async def test_verified_publishes_then_closes_and_nothing_is_left(world):
    await world.disaster()
    healer = await world.start_claimed()
    seen = []

    async def look(_, call):
        seen.append(((await healer.entries()).claims[1].state, healer.is_staged()))
        return await call()

    healer.passage.hooks["store"] = look
    world.move(HealOpStatus.VERIFIED)
    await world.until(healer.is_clean)
    assert seen == [(ClaimState.PUBLISHING, True)]
    assert [event.count for event in healer.seen(What.PUBLISHED)] == [len(world.keys)]
    assert [event.text for event in healer.seen(What.CLOSED)] == ["published"]
    assert await world.is_published()
    assert await world.reads_back_without_survivors()
    await world.blocks(20)
    assert len(healer.seen(What.PUBLISHED)) == 1


@pytest.mark.parametrize("status", ENDS)
@in_a_world()
async def test_failed_or_expired_deletes_and_does_not_publish(world, status):
    """On the word of two heights: FAILED puts the deciding vote's hash in the place of the claim's."""
    await world.disaster()
    before = await world.held()
    healer = await world.start_claimed()
    world.move(status, result_hash=OTHER_HASH if status is HealOpStatus.FAILED else None)
    world.freeze(healer)
    await world.blocks(20)
    assert healer.is_staged()
    assert (await healer.entries()).claims[1].state is ClaimState.ACCEPTED
    world.thaw(healer)
    await world.until(healer.is_clean, blocks=15)
    assert not healer.passage.count("store")
    assert await world.held() == before
    assert [event.text for event in healer.seen(What.CLOSED)] == [status.name]


@in_a_world()
async def test_a_heal_op_that_is_not_found_cleans_claim_and_staging(world):
    """When it was not found twice, at two heights."""
    healer = await world.start_claimed()
    world.prune()
    world.freeze(healer)
    await world.blocks(20)
    assert healer.is_staged()
    assert list((await healer.entries()).claims) == [1]
    world.thaw(healer)
    await world.until(healer.is_clean, blocks=15)
    assert not healer.passage.count("store")
    assert [event.text for event in healer.seen(What.CLOSED)] == ["unknown to the chain"]


@in_a_world(keep_epochs=1)
async def test_a_failed_op_that_the_chain_pruned_while_the_node_was_away_is_cleaned(world):
    healer = await world.start_claimed()
    await healer.kill()
    world.move(HealOpStatus.FAILED, result_hash=OTHER_HASH)
    await world.until(lambda: 1 not in world.chain.state.ops, blocks=100)
    await healer.start()
    await world.until(healer.is_clean)
    assert not healer.passage.count("store")


@in_a_world()
async def test_an_op_not_found_once_by_a_node_that_has_just_joined_deletes_nothing(world):
    healer = await world.start_claimed()
    op = world.op()
    for _ in range(3):
        world.prune()
        asked = healer.passage.count("heal_op")
        await world.until(lambda asked=asked: healer.passage.count("heal_op") > asked)
        world.chain.set_op(op)
        await world.blocks(6)
        assert healer.is_staged()
    assert list((await healer.entries()).claims) == [1]


@pytest.mark.parametrize("with_restart", [False, True])
@pytest.mark.parametrize("status", [None, *ENDS])
@in_a_world()
async def test_verified_is_remembered_and_a_later_other_word_does_not_cancel_the_publish(world, status, with_restart):
    await world.disaster()
    healer = await world.start_claimed()
    healer.passage.hooks["store"] = nobody_takes_it
    world.move(HealOpStatus.VERIFIED)
    await world.until(lambda: healer.seen(What.DEFERRED))
    if status is None:
        world.prune()
    else:
        world.move(status)
    if with_restart:
        await healer.restart()
    await world.blocks(15)
    assert healer.is_staged()
    del healer.passage.hooks["store"]
    await world.until(healer.is_clean, blocks=200)
    assert len(healer.seen(What.PUBLISHED)) == 1
    assert await world.is_published()


@in_a_world()
async def test_verified_with_another_hash_is_not_published(world):
    healer = world.node()
    world.make_poor(healer)
    await healer.start()
    world.put_op()
    await world.until(healer.is_staged)
    world.move(HealOpStatus.VERIFIED, result_hash=OTHER_HASH)
    await world.until(healer.is_clean)
    assert not healer.passage.count("store")


@in_a_world()
async def test_a_publish_that_fails_becomes_stuck_and_does_not_starve_another(world):
    second = world.box.directory / "second.bin"
    _write(second, noise(150_000, seed=2))
    registered = await world.box.register(second, Ticket("8"), id_files=4)
    healer = world.node(publishes=1)
    healer.passage.hooks["store"] = where(lambda items: items[0][0] in world.keys, nobody_takes_it)
    await healer.start()
    world.put_op(op_id=1, deadline_epoch=900)
    world.put_op(op_id=2, deadline_epoch=900, ticket="8")
    await world.until(lambda: len(healer.seen(What.ACCEPTED)) == 2)
    world.move(HealOpStatus.VERIFIED, 1)
    await world.until(lambda: healer.seen(What.STUCK), blocks=400)
    assert healer.is_staged(1)
    assert any(event["event"] == "publish_stuck" for event in world.logs)
    await world.network.delete(registered.layout.symbols)
    world.move(HealOpStatus.VERIFIED, 2)
    await world.until(lambda: healer.seen(What.PUBLISHED, 2), blocks=12)
    assert not healer.seen(What.PUBLISHED, 1)
    assert healer.is_staged(1)


@in_a_world()
async def test_a_publish_that_hangs_gives_its_place_back(world):
    second = world.box.directory / "second.bin"
    _write(second, noise(150_000, seed=2))
    await world.box.register(second, Ticket("8"), id_files=4)

    async def never(_, __):
        await trio.sleep_forever()

    healer = world.node(publishes=1, attempt=60)
    healer.passage.hooks["store"] = where(lambda items: items[0][0] in world.keys, never)
    await healer.start()
    world.put_op(op_id=1)
    world.put_op(op_id=2, ticket="8")
    await world.until(lambda: len(healer.seen(What.ACCEPTED)) == 2)
    world.move(HealOpStatus.VERIFIED, 1)
    world.move(HealOpStatus.VERIFIED, 2)
    await world.until(lambda: healer.seen(What.PUBLISHED, 2), blocks=30)
    assert healer.seen(What.DEFERRED, 1)


@in_a_world()
async def test_no_more_than_two_publishes_run_at_once(world):
    at_once, most = 0, 0

    async def slowly(_, call):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await trio.sleep(5)
        at_once -= 1
        return await call()

    healer = world.node()
    healer.passage.hooks["store"] = slowly
    await healer.start()
    for number in range(1, 6):
        world.put_op(op_id=number)
    await world.until(lambda: len(healer.seen(What.ACCEPTED)) == 5)
    for number in range(1, 6):
        world.move(HealOpStatus.VERIFIED, number)
    await world.until(healer.is_clean)
    assert most == 2
    assert len(healer.seen(What.PUBLISHED)) == 5


@pytest.mark.parametrize("file", [RECONSTRUCTED, "symbols.pack", "id_files.pack", "manifest.json", None])
@in_a_world()
async def test_a_staging_that_is_damaged_or_gone_when_the_op_is_verified_is_rebuilt_and_published(world, file):
    await world.disaster()
    healer = await world.start_claimed()
    await healer.kill()
    for path in healer.staging(1).iterdir():
        if file is None:
            path.unlink()
        elif path.name == file:
            path.write_bytes(bytes(path.stat().st_size))
    world.move(HealOpStatus.VERIFIED)
    await healer.start()
    await world.until(healer.is_clean)
    assert len(healer.seen(What.PUBLISHED)) == 1
    assert await world.reads_back_without_survivors()


@in_a_world()
async def test_a_publish_whose_staging_is_gone_and_cannot_be_rebuilt_becomes_stuck(world):
    healer = await world.start_claimed()
    await healer.kill()
    shutil.rmtree(healer.directory / "staging")
    await world.disaster(symbols=3)
    world.move(HealOpStatus.VERIFIED)
    await healer.start()
    await world.until(lambda: healer.seen(What.STUCK), blocks=900)
    assert (await healer.entries()).claims[1].state is ClaimState.PUBLISHING


@pytest.mark.parametrize("status", [HealOpStatus.VERIFIED, HealOpStatus.HEALER_REPORTED, None])
@in_a_world()
async def test_a_closing_row_only_removes(world, status):
    """Whatever the chain says, and without asking it."""
    healer = await world.start_claimed()
    await healer.kill()
    async with Ledger.open(healer.directory / "ledger.db", healer.account, BLOCKING) as ledger:
        await ledger.set_claim_state(1, ClaimState.CLOSING)
    if status is None:
        world.prune()
    else:
        world.move(status)
    healer.passage.calls.clear()
    await healer.start()
    await trio.sleep(BLOCK / 2)
    assert not (await healer.entries()).claims
    assert not healer.on_disk()
    await world.blocks(20)
    assert not healer.passage.count("store")
    if status is not HealOpStatus.HEALER_REPORTED:
        assert await healer.is_clean()


@in_a_world()
async def test_final_states_are_ignored_by_a_node_that_has_nothing_of_them(world):
    healer = await world.start()
    for number, status in enumerate((HealOpStatus.VERIFIED, *ENDS), 1):
        world.put_op(status, op_id=number, result_hash=world.hash)
        world.put_op(status, op_id=number + 10, healer=3, verifiers=(0, 1), result_hash=world.hash)
    await world.blocks(30)
    assert await healer.is_clean()
    assert not healer.events
    assert not healer.passage.count("store")
    assert not healer.passage.count("prepare")


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
