"""The service: what a tick begins, what goes on whatever the chain's mode, and what does not hold up the rest."""

from collections import Counter
from itertools import pairwise

import pytest
import trio
from attrs import evolve

from healing import EPOCH, ScriptedSource, away, hang, honest, in_a_world, raising, where
from lep6.errors import ForeignLedger
from lep6.heal.events import What
from lep6.heal.healer import Healer
from lep6.heal.rows import ClaimState
from lep6.heal.verifier import Verifier
from lep6.model import EnforcementMode, HealOpStatus
from lep6.transaction import Claim, Refusal, Refused, Vote

REPORTED, SCHEDULED = HealOpStatus.HEALER_REPORTED, HealOpStatus.SCHEDULED
FAR = 900
"""An epoch that no test comes to."""


async def refuse(_, __):
    await trio.lowlevel.checkpoint()
    return Refused(Refusal.MEMPOOL)


@in_a_world()
async def test_a_heal_goes_from_scheduled_to_published_and_nothing_is_left(world):
    await world.disaster()
    lives = [await world.start(number) for number in range(3)]
    world.put_op()
    await world.until(lambda: world.status() is HealOpStatus.VERIFIED)
    for life in lives:
        await world.until(life.is_clean)
    assert len(world.claims()) == 1
    assert [vote.verified for vote in world.votes()] == [True, True]
    assert len(lives[0].seen(What.PUBLISHED)) == 1
    assert await world.is_published()
    assert await world.reads_back_without_survivors()


@in_a_world()
async def test_the_chain_draws_healer_and_verifiers_and_all_nodes_do_their_part(world):
    await world.disaster()
    for number in range(5):
        await world.start(number)
    world.box.condemn("7")
    await world.until(lambda: 1 in world.chain.state.ops and world.status() is HealOpStatus.VERIFIED, blocks=2 * EPOCH)
    for life in world.lives.values():
        await world.until(life.is_clean)
    assert await world.reads_back_without_survivors()


@in_a_world()
async def test_no_role_skips(world):
    """One node heals, verifies and finalizes different ops at the same time."""
    node = world.node()
    node.source = ScriptedSource([honest])
    await node.start()
    world.put_op(op_id=1)
    await world.until(lambda: node.seen(What.ACCEPTED, 1))
    world.move(HealOpStatus.VERIFIED, 1)
    world.put_op(op_id=2)
    world.put_claimed(op_id=3, healer=3, verifiers=(4, 0))
    await world.until(lambda: node.seen(What.PUBLISHED, 1), blocks=12)
    await world.until(lambda: node.seen(What.ACCEPTED, 2), blocks=3)
    await world.until(lambda: node.seen(What.ACCEPTED, 3), blocks=3)
    assert [message.op_id for message in world.accepted(Claim, node.account)] == [1, 2]
    assert [message.op_id for message in world.accepted(Vote, node.account)] == [3]


@in_a_world()
async def test_the_first_tick_is_at_once_and_the_others_are_not_all_of_one_length(world):
    node = await world.start()
    await trio.sleep(1)
    assert node.passage.count("latest_block") == 2  # the healer's and the verifier's dispatcher
    begun = []

    async def look(_, call):
        begun.append(trio.current_time())
        return await call()

    node.passage.hooks["parameters"] = look
    await world.blocks(60)
    ticks = sorted({round(at, 3) for at in begun})
    pauses = [round(after - before, 3) for before, after in pairwise(ticks) if after - before > 1]
    assert all(27 <= pause <= 33 for pause in pauses)
    assert len(set(pauses)) > 3


# What is begun, and what is gone on with.


async def unspecified(world, _):
    world.chain.set_mode(EnforcementMode.UNSPECIFIED)


async def unanswered(_, life):
    life.passage.hooks["parameters"] = away


async def switched_off(_, life):
    if life.node is None:
        life.settings = evolve(life.settings, is_enabled=False)
    else:
        await life.kill()
        life.settings = evolve(life.settings, is_enabled=False)
        await life.start()


GATES = [unspecified, unanswered, switched_off]


@pytest.mark.parametrize("gate", GATES)
@in_a_world()
async def test_a_gate_that_is_shut_lets_nothing_begin(world, gate):
    node = world.node()
    node.source = ScriptedSource([honest])
    await gate(world, node)
    await node.start()
    world.put_op(op_id=1, deadline_epoch=FAR)
    world.put_claimed(op_id=2, healer=3, verifiers=(0, 4), deadline_epoch=FAR)
    await world.blocks(30)
    assert await node.is_clean()
    assert not node.source.opened
    assert not node.passage.count("retrieve")
    world.chain.set_mode(EnforcementMode.SHADOW)
    node.passage.hooks.clear()
    node.settings = evolve(node.settings, is_enabled=True)
    await node.restart()
    await world.until(lambda: world.claims() and world.votes(), blocks=10)


@pytest.mark.parametrize("mode", [EnforcementMode.SHADOW, EnforcementMode.SOFT, EnforcementMode.FULL])
@in_a_world()
async def test_every_mode_but_unspecified_heals(world, mode):
    world.chain.set_mode(mode)
    await world.start()
    world.put_op()
    await world.until(world.claims)


@pytest.mark.parametrize("with_restart", [False, True])
@pytest.mark.parametrize("gate", GATES)
@in_a_world()
async def test_a_gate_that_is_shut_drains(world, gate, with_restart):
    """A claimed op is served, a journalled claim and a journalled vote are sent, a verified op is published."""
    await world.disaster()
    node = world.node(longest_backoff=10)
    node.source = ScriptedSource([honest])
    await node.start()
    world.put_op(op_id=1, deadline_epoch=FAR)
    await world.until(lambda: node.seen(What.ACCEPTED, 1))
    node.passage.hooks["broadcast"] = refuse
    world.put_op(op_id=2, deadline_epoch=FAR)
    world.put_claimed(op_id=3, healer=3, verifiers=(0, 4), deadline_epoch=FAR)
    await world.until(lambda: node.seen(What.SENT, 2) and node.seen(What.DECIDED, 3))
    await gate(world, node)
    del node.passage.hooks["broadcast"]
    if with_restart:
        await node.restart()
    assert (await world.ask(node, 1, world.accounts[1])).is_whole
    await world.until(lambda: node.seen(What.ACCEPTED, 2) and node.seen(What.ACCEPTED, 3))
    assert len(node.source.opened) == 1
    world.move(HealOpStatus.VERIFIED, 1)
    world.move(HealOpStatus.FAILED, 2)
    world.move(HealOpStatus.VERIFIED, 3)
    await world.until(node.is_clean)
    assert [event.op_id for event in node.seen(What.PUBLISHED)] == [1]
    assert await world.reads_back_without_survivors()


@pytest.mark.parametrize("gate", [unspecified, unanswered])
@in_a_world()
async def test_a_gate_that_shuts_in_mid_flight_stops_neither_a_reconstruct_nor_a_fetch(world, gate):
    node = world.node()
    node.source = ScriptedSource([honest])
    is_shut = trio.Event()

    async def waits(_, call):
        await is_shut.wait()
        return await call()

    async def waits_then_gives(op):
        await is_shut.wait()
        async for chunk in honest(op):
            yield chunk

    node.source.script = [waits_then_gives]
    node.passage.hooks["retrieve"] = waits
    await node.start()
    world.put_op(op_id=1)
    world.put_claimed(op_id=2, healer=3, verifiers=(0, 4))
    await world.until(lambda: node.passage.count("retrieve") and node.source.opened)
    await gate(world, node)
    await world.blocks(6)
    is_shut.set()
    await world.until(lambda: world.claims() and world.votes())


@in_a_world()
async def test_the_parameters_query_may_fail_for_an_hour_and_the_drain_goes_on(world):
    await world.disaster()
    node = await world.start_claimed()
    world.chain.set_op(evolve(world.op(), deadline_epoch=FAR))
    node.passage.hooks["parameters"] = hang
    await trio.sleep(3600)
    assert node.is_staged()
    assert list((await node.entries()).claims) == [1]
    assert (await world.ask(node, 1, world.accounts[2])).is_whole
    world.move(HealOpStatus.VERIFIED)
    await world.until(node.is_clean, blocks=12)
    assert await world.is_published()


# Listings.


@in_a_world()
async def test_of_250_scheduled_ops_over_three_pages_ours_is_the_last(world):
    for number in range(1, 250):
        world.put_op(op_id=number, healer=3, verifiers=(2, 4))
    world.put_op(op_id=250)
    node = await world.start()
    await world.until(world.claims, blocks=5)
    assert [claim.op_id for claim in world.claims()] == [250]
    assert await node.entries()
    assert not any(node.is_staged(number) for number in range(1, 250))


@in_a_world()
async def test_of_250_reported_ops_over_three_pages_ours_to_verify_is_the_last(world):
    for number in range(1, 250):
        world.put_claimed(op_id=number, healer=3, verifiers=(2, 4))
    world.put_claimed(op_id=250, healer=3, verifiers=(4, 1))
    await world.start_verifier(honest)
    await world.until(world.votes, blocks=5)
    assert [vote.op_id for vote in world.votes()] == [250]


@pytest.mark.parametrize("trouble", [hang, away, raising(ZeroDivisionError())])
@in_a_world()
async def test_a_stuck_listing_of_scheduled_ops_starves_neither_verifier_nor_finalizer(world, trouble):
    world.bugs_are_expected = True  # the last of these troubles is one
    await world.disaster()
    node = await world.start_claimed()
    node.source = ScriptedSource([honest])
    node.passage.hooks["heal_ops"] = where(lambda status: status is SCHEDULED, trouble)
    await node.restart()
    world.move(HealOpStatus.VERIFIED)
    world.put_claimed(op_id=2, healer=3, verifiers=(0, 4))
    world.put_op(op_id=3)
    await world.until(lambda: node.seen(What.PUBLISHED, 1), blocks=10)
    await world.until(lambda: node.seen(What.ACCEPTED, 2), blocks=10)
    await world.blocks(6)
    assert not node.is_staged(3)
    assert any(event["event"] in ("dispatch_failed", "dispatcher_failed") for event in world.logs)
    node.passage.hooks.clear()
    await world.until(lambda: node.seen(What.ACCEPTED, 3), blocks=10)


@in_a_world()
async def test_a_listing_that_fails_on_a_later_page_does_not_stop_what_has_begun(world):
    node = await world.start_claimed()
    for number in range(2, 150):
        world.put_op(op_id=number, healer=3, verifiers=(2, 4))
    asked = 0

    async def second_page_fails(status, call):
        nonlocal asked
        asked += 1
        return await (away(status, call) if asked % 2 == 0 else call())

    node.passage.hooks["heal_ops"] = second_page_fails
    world.move(HealOpStatus.VERIFIED)
    await world.until(lambda: node.seen(What.PUBLISHED, 1), blocks=12)


# One owner, and bugs.


@in_a_world()
async def test_an_op_has_one_owner_at_a_time(world, monkeypatch):
    walking, most = Counter(), Counter()

    def counted(walk):
        async def walked(self, op_id):
            key = (self.sight.account, op_id)
            walking[key] += 1
            most[key] = max(most[key], walking[key])
            try:
                await walk(self, op_id)
            finally:
                walking[key] -= 1

        return walked

    for kind in (Healer, Verifier):
        monkeypatch.setattr(kind, "walk", counted(kind.walk))

    async def slowly(_, call):
        await trio.sleep(4)
        return await call()

    lives = [world.node(number, tick=3) for number in range(3)]
    for life in lives:
        life.passage.hooks |= dict.fromkeys(("heal_op", "lookup", "store", "retrieve"), slowly)
        await life.start()
    world.put_op()
    await world.until(lambda: world.status() is HealOpStatus.VERIFIED)
    for life in lives:
        await world.until(life.is_clean, blocks=40)
    assert set(most) == {(life.account, 1) for life in lives}
    assert set(most.values()) == {1}


@in_a_world()
async def test_a_bug_with_one_op_is_loud_and_leaves_the_others_at_work(world):
    world.bugs_are_expected = True
    node = world.node()
    node.passage.hooks["heal_op"] = where(lambda op_id: op_id == 1, raising(ZeroDivisionError()))
    await node.start()
    world.put_op(op_id=1)
    world.put_op(op_id=2)
    await world.until(lambda: node.seen(What.ACCEPTED, 2))
    world.move(HealOpStatus.VERIFIED, 2)
    await world.until(lambda: node.seen(What.PUBLISHED, 2))
    assert {event.op_id for event in node.seen(What.FAILED)} == {1}
    assert any(event["event"] == "walk_failed" and event["log_level"] == "error" for event in world.logs)
    del node.passage.hooks["heal_op"]
    await world.until(lambda: node.seen(What.ACCEPTED, 1))


# The end.


@in_a_world()
async def test_a_stop_with_nothing_to_do_is_at_once(world):
    node = await world.start_claimed()
    await world.blocks(8.5)
    assert await node.stop() < 1
    assert node.has_ended


HANGING = ["retrieve", "prepare", "broadcast", "lookup", "heal_op", "heal_ops", "action", "parameters", "store"]


@pytest.mark.parametrize("method", HANGING)
@in_a_world()
async def test_a_stop_returns_within_the_drain_budget_and_nothing_is_done_after_it(world, method):
    node = world.node(drain=7, query=1000)
    if method == "store":
        await node.start()
        world.put_op()
        await world.until(lambda: node.seen(What.ACCEPTED))
        world.move(HealOpStatus.VERIFIED)
    else:
        world.put_op()
    node.passage.hooks[method] = hang
    await (node.start() if node.node is None else world.blocks(8))
    await world.until(lambda: node.passage.count(method), blocks=12)
    assert await node.stop() <= 7.5
    calls = len(node.passage.calls)
    await world.blocks(10)
    assert len(node.passage.calls) == calls


@in_a_world()
async def test_what_runs_may_end_while_the_service_drains(world):
    async def slowly(_, call):
        await trio.sleep(4)
        return await call()

    node = world.node(drain=60)
    node.passage.hooks["broadcast"] = slowly
    await node.start()
    world.put_op()
    await world.until(lambda: node.passage.count("broadcast"))
    assert 3 <= await node.stop() < 30
    assert list((await node.entries()).claims) == [1]


# Two nodes on one host.


@in_a_world()
async def test_two_nodes_on_one_host_do_not_touch_each_other(world):
    await world.disaster()
    one, other = [await world.start(number) for number in (0, 3)]
    world.put_op(op_id=1, healer=0, verifiers=(1, 2))
    world.put_op(op_id=2, healer=3, verifiers=(1, 2))
    await world.until(lambda: one.seen(What.ACCEPTED) and other.seen(What.ACCEPTED))
    assert {name for name in one.on_disk() if "." not in name} == {"1"}
    assert {name for name in other.on_disk() if "." not in name} == {"2"}
    world.move(HealOpStatus.FAILED, 1)
    await world.until(one.is_clean)
    assert other.is_staged(2)
    assert (await other.entries()).claims[2].state is ClaimState.ACCEPTED
    world.move(HealOpStatus.VERIFIED, 2)
    await world.until(other.is_clean)
    assert not one.seen(What.PUBLISHED)
    assert await world.is_published()


@in_a_world()
async def test_the_directory_of_another_account_is_refused_and_left_as_it_is(world):
    owner = await world.start_claimed()
    await owner.kill()
    ledger = owner.directory / "ledger.db"
    before = ledger.read_bytes()
    intruder = world.node(3, directory=owner.directory)
    with pytest.raises(ForeignLedger):
        await intruder._run(trio.TASK_STATUS_IGNORED)
    assert ledger.read_bytes() == before
    assert owner.is_staged()
    assert (await owner.entries()).claims
