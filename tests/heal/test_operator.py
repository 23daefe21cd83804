"""What an operator may tell a heal service: pause, resume, tick, retry, drop, and how much at a time."""

import pytest
import trio

from healing import BLOCK, failing, honest, in_a_world
from lep6.devnet.store import Behaviour
from lep6.errors import FetchFailure, NotDropped
from lep6.heal.events import What
from lep6.model import HealOpStatus
from lep6.transaction import Pooled


@in_a_world()
async def test_a_paused_node_begins_nothing_and_goes_on_when_it_is_resumed(world):
    healer = await world.start()
    healer.node.service.pause()
    world.put_op(deadline_epoch=20)
    await world.blocks(20)
    assert healer.node.service.is_paused
    assert not healer.seen(What.RECONSTRUCTED)
    assert world.status() is HealOpStatus.SCHEDULED
    healer.node.service.resume()
    await world.until(lambda: healer.seen(What.ACCEPTED))
    assert not healer.node.service.is_paused


@in_a_world()
async def test_what_has_begun_is_finished_while_a_node_is_paused(world):
    healer = await world.start_claimed()
    healer.node.service.pause()
    world.move(HealOpStatus.VERIFIED)
    await world.until(lambda: healer.seen(What.CLOSED))
    assert await world.is_published()


@in_a_world()
async def test_a_node_whose_settings_begin_nothing_is_not_resumed(world):
    healer = await world.start(is_enabled=False)
    healer.node.service.resume()
    world.put_op()
    await world.blocks(20)
    assert not healer.seen(What.RECONSTRUCTED)


@in_a_world()
async def test_a_tick_comes_at_once_when_it_is_asked_for(world):
    healer = await world.start(tick=3600.0)
    await world.blocks(1)
    world.put_op(deadline_epoch=100)
    before = healer.node.service.last_tick
    healer.node.service.tick_now()
    await world.until(lambda: healer.seen(What.ACCEPTED), blocks=20)
    assert healer.node.service.last_tick > before


@in_a_world()
async def test_a_retry_waits_for_no_pause(world):
    healer = await world.start(backoff=3000.0, longest_backoff=3000.0)
    for node in world.network.nodes:
        await node.behave(Behaviour(down=True))
    world.put_op(deadline_epoch=2000)
    await world.until(lambda: healer.seen(What.DEFERRED))
    for node in world.network.nodes:
        await node.behave(Behaviour())
    await world.blocks(30)
    assert not healer.seen(What.RECONSTRUCTED)
    await healer.node.service.retry(1)
    await world.until(lambda: healer.seen(What.RECONSTRUCTED), blocks=10)


@in_a_world()
async def test_a_dropped_op_leaves_nothing_and_is_left_alone_until_it_is_retried(world):
    healer = await world.start_claimed()
    assert healer.is_staged()
    await healer.node.service.drop(1)
    assert await healer.is_clean()
    await world.blocks(20)
    assert await healer.is_clean()
    assert world.claims()[0].op_id == 1, "what was sent stands"
    await healer.node.service.retry(1)
    await world.until(healer.is_staged)


@in_a_world()
async def test_an_op_at_work_is_broken_off_when_it_is_dropped(world):
    healer = await world.start()

    async def never(_, __):
        await trio.sleep_forever()

    healer.passage.hooks["retrieve"] = never
    world.put_op(deadline_epoch=50)
    await world.until(lambda: healer.passage.count("retrieve"))
    assert 1 in healer.node.service.in_flight
    with trio.fail_after(BLOCK):
        await healer.node.service.drop(1)
    assert 1 not in healer.node.service.in_flight
    assert await healer.is_clean()


@in_a_world()
async def test_a_vote_that_was_dropped_is_remembered_no_more(world):
    verifier = await world.start_verifier()
    world.put_claimed(deadline_epoch=50)
    await world.until(world.votes)
    await world.until(lambda: verifier.seen(What.ACCEPTED))
    await verifier.node.service.drop(1)
    assert await verifier.is_clean()
    await world.blocks(10)
    assert len(world.votes()) == 1


@in_a_world()
async def test_how_much_is_done_at_a_time_may_be_changed_while_it_runs(world):
    healer = await world.start(reconstructs=1)
    assert {name: slots.total_tokens for name, slots in healer.node.service.slots.items()} == {
        "reconstruct": 1,
        "verify": 4,
        "publish": 2,
    }
    waiting = 0

    async def never(_, __):
        nonlocal waiting
        waiting += 1
        await trio.sleep_forever()

    healer.passage.hooks["retrieve"] = never
    for op_id in (1, 2, 3):
        world.put_op(op_id=op_id, deadline_epoch=50)
    await world.blocks(10)
    assert waiting == 1
    healer.node.service.slots["reconstruct"].total_tokens = 3
    await world.blocks(10)
    assert waiting == 3


@in_a_world()
async def test_a_retry_lets_the_next_fetch_come_at_once(world):
    verifier = await world.start_verifier(failing(FetchFailure.UNREACHABLE), honest, backoff=3000.0)
    world.put_claimed(deadline_epoch=2000)
    await world.until(lambda: verifier.seen(What.DEFERRED))
    assert "unreachable" in verifier.seen(What.DEFERRED)[0].text
    await world.blocks(30)
    assert not world.votes()
    await verifier.node.service.retry(1)
    await world.until(world.votes, blocks=10)


@in_a_world()
async def test_a_verifier_that_only_waits_for_its_next_attempt_does_not_hold_up_a_stop(world):
    verifier = await world.start_verifier(failing(FetchFailure.UNREACHABLE), backoff=3000.0, drain=100.0)
    world.put_claimed(deadline_epoch=2000)
    await world.until(lambda: verifier.seen(What.DEFERRED))
    service = verifier.node.service
    assert await verifier.stop() < 1
    assert service.ended.is_set()
    assert not verifier.seen(What.ABSTAINED), "it goes on at the next start"


@in_a_world()
async def test_an_op_whose_transaction_may_still_be_included_is_not_dropped_until_that_is_over(world):
    healer = await world.start()

    async def lost(_, __):
        await trio.lowlevel.checkpoint()
        return Pooled()

    healer.passage.hooks["broadcast"] = lost
    world.put_op(deadline_epoch=200)
    await world.until(lambda: healer.seen(What.SENT))
    await world.blocks(1)
    before = (await healer.node.service.ledger.entries()).intents
    with pytest.raises(NotDropped, match="may be included until block"):
        await healer.node.service.drop(1)
    assert (await healer.node.service.ledger.entries()).intents == before
    assert 1 not in healer.node.service.dropped
    healer.node.service.sight.height = before[1].sent.timeout_height + 2
    await healer.node.service.drop(1)
    assert await healer.is_clean()
