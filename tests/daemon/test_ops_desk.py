"""What an operator sees of heal ops, and may do with them."""

import json

import pytest
import trio
from attrs import evolve

from healing import BLOCK, answering, in_a_world, raising, unsure
from lep6.cascade.publish import STUCK_AFTER
from lep6.daemon.ops import MOST_REASONS, OpsDesk
from lep6.devnet.store import Behaviour
from lep6.errors import ChainUnavailable
from lep6.heal.events import Event, What
from lep6.heal.rows import ClaimState
from lep6.model import HealOpStatus
from lep6.transaction import Refusal, Refused


def desk_of(life, **options):
    return OpsDesk(life.node.service, **options)


async def break_network(world, *, is_down=True):
    for node in world.network.nodes:
        await node.behave(Behaviour(down=is_down))


def bytes_below(path):
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


@in_a_world()
async def test_a_node_that_has_nothing_says_so(world):
    desk = desk_of(await world.start())
    assert await desk.ops() == []
    assert await desk.op(1) is None
    assert await desk.would_lose(1) is None
    assert not await desk.retry(1)


@in_a_world()
async def test_a_claimed_op_is_shown_with_row_staging_and_what_the_chain_said(world):
    healer = await world.start_claimed()
    await world.blocks(3)
    desk = desk_of(healer)
    (line,) = await desk.ops()
    assert (line["op"], line["role"], line["state"], line["ticket"]) == (1, "healer", "accepted", "7")
    assert (line["dropped"], line["stuck"], line["failures"], line["reason"]) == (False, False, 0, "")
    work = healer.staging(1).parent / ".work" / "1"
    assert line["bytes"] == bytes_below(healer.staging(1)) + bytes_below(work)
    shown = await desk.op(1)
    assert {name: shown[name] for name in line if name != "in_flight"} == {
        name: value for name, value in line.items() if name != "in_flight"
    }
    assert shown["claim"] == {
        "state": "accepted",
        "manifest_hash": world.hash,
        "staging": "1",
        "submitted_at": (await healer.entries()).claims[1].submitted_at,
    }
    assert (shown["vote"], shown["intent"], shown["setbacks"]) == (None, None, [])
    assert shown["disk"]["path"] == str(healer.staging(1))
    assert (shown["disk"]["staged_bytes"], shown["disk"]["work_bytes"]) == (
        bytes_below(healer.staging(1)),
        bytes_below(work),
    )
    chain = shown["chain"]
    assert (chain["status"], chain["healer"], chain["result_hash"]) == ("HEALER_REPORTED", healer.account, world.hash)
    assert 0 < chain["since_height"] <= world.chain.height
    json.dumps(shown, allow_nan=False)


@in_a_world()
async def test_an_op_at_work_is_in_flight(world):
    healer = await world.start()

    async def never(_, __):
        await trio.sleep_forever()

    healer.passage.hooks["retrieve"] = never
    world.put_op(deadline_epoch=50)
    await world.until(lambda: healer.passage.count("retrieve"))
    (line,) = await desk_of(healer).ops()
    assert (line["role"], line["state"], line["in_flight"], line["ticket"]) == ("healer", "begun", True, "7")


@in_a_world()
async def test_an_intent_is_shown_with_the_transaction_that_carries_it(world):
    healer = await world.start()
    healer.passage.hooks["broadcast"] = unsure
    world.put_op(deadline_epoch=50)
    await world.until(lambda: healer.passage.count("broadcast"))
    shown = await desk_of(healer).op(1)
    sent = (await healer.entries()).intents[1].sent
    assert shown["state"] == "intent_claim"
    assert shown["intent"] == {
        "says": "claim",
        "hash": world.hash,
        "transaction": {"hash": sent.tx_hash, "sequence": sent.sequence, "timeout_height": sent.timeout_height},
    }
    loss = await desk_of(healer).would_lose(1)
    assert loss["may_be_only_copy"]
    assert loss["intent"] == shown["intent"]


@in_a_world()
async def test_a_vote_is_shown_as_what_was_voted(world):
    verifier = await world.start_verifier()
    world.put_claimed(deadline_epoch=50)
    await world.until(lambda: verifier.seen(What.ACCEPTED))
    shown = await desk_of(verifier).op(1)
    assert (shown["role"], shown["state"], shown["ticket"]) == ("verifier", "voted", "7")
    assert shown["vote"]["verified"] is True
    assert shown["vote"]["hash"] == world.hash
    assert not (await desk_of(verifier).would_lose(1))["may_be_only_copy"]


@in_a_world()
async def test_a_verdict_that_is_on_its_way_is_an_intent(world):
    verifier = await world.start_verifier()
    verifier.passage.hooks["broadcast"] = unsure
    world.put_claimed(deadline_epoch=50)
    await world.until(lambda: verifier.passage.count("broadcast"))
    shown = await desk_of(verifier).op(1)
    assert (shown["role"], shown["state"]) == ("verifier", "intent_vote")
    assert (shown["intent"]["says"], shown["intent"]["verified"]) == ("vote", True)


@in_a_world()
async def test_what_failed_is_shown_with_its_pause_and_its_reason(world):
    healer = await world.start(backoff=3000.0, longest_backoff=3000.0)
    desk = desk_of(healer)
    await break_network(world)
    world.put_op(deadline_epoch=2000)
    await world.until(lambda: healer.seen(What.DEFERRED))
    await world.blocks(1)
    for event in healer.events:
        desk.hears(event)
    shown = await desk.op(1)
    (setback,) = shown["setbacks"]
    assert (setback["what"], setback["failures"]) == ("reconstruct", 1)
    assert 1000 < setback["retry_in_seconds"] < 4500
    assert shown["retry_in_seconds"] == setback["retry_in_seconds"]
    assert shown["reason"] == healer.seen(What.DEFERRED)[0].text
    assert [line["op"] for line in await desk.ops()] == [1]
    await break_network(world, is_down=False)
    assert await desk.retry(1)
    await world.until(lambda: healer.seen(What.RECONSTRUCTED), blocks=10)
    assert (await desk.op(1))["setbacks"] == []


@in_a_world()
async def test_a_transaction_that_was_refused_is_a_setback_of_sending(world):
    healer = await world.start(backoff=3000.0, longest_backoff=3000.0)
    healer.passage.hooks["broadcast"] = answering(Refused(Refusal.MEMPOOL))
    world.put_op(deadline_epoch=2000)
    await world.until(lambda: healer.passage.count("broadcast"))
    await world.blocks(1)
    shown = await desk_of(healer).op(1)
    assert [(each["what"], each["failures"]) for each in shown["setbacks"]] == [("send", 1)]
    assert shown["state"] == "intent_claim"
    assert shown["intent"]["transaction"] is None


@in_a_world()
async def test_publishing_that_fails_again_and_again_is_shown_as_stuck(world):
    healer = await world.start_claimed()
    await break_network(world)
    world.move(HealOpStatus.VERIFIED)
    await world.until(lambda: healer.seen(What.DEFERRED))
    desk = desk_of(healer)
    shown = await desk.op(1)
    assert (shown["state"], shown["stuck"]) == ("publishing", False)
    (setback,) = shown["setbacks"]
    assert (setback["what"], setback["failures"]) == ("publish", 1)
    assert setback["reason"]
    assert shown["reason"] == setback["reason"]
    for _ in range(STUCK_AFTER):
        await desk.retry(1)
        await world.blocks(2)
    assert healer.seen(What.STUCK)
    assert (await desk.op(1))["stuck"]
    await healer.restart()
    assert (await desk_of(healer).op(1))["stuck"], "it is remembered"


@in_a_world()
async def test_what_others_found_stuck_is_shown_so(world):
    healer = await world.start_claimed()
    assert (await desk_of(healer, stuck={1}).ops())[0]["stuck"]


@in_a_world()
async def test_what_was_dropped_is_shown_so_until_it_is_retried(world):
    healer = await world.start_claimed()
    desk = desk_of(healer)
    desk.hears(Event(What.DEFERRED, 1, "no"))
    await desk.drop(1)
    assert await healer.is_clean()
    (line,) = await desk.ops()
    assert (line["state"], line["role"], line["dropped"], line["bytes"]) == ("dropped", None, True, 0)
    assert line["reason"] == ""
    assert await desk.retry(1)
    await world.until(healer.is_staged)
    (line,) = await desk.ops()
    assert (line["dropped"], line["role"]) == (False, "healer")


@in_a_world()
async def test_the_bytes_of_an_op_are_told_apart(world):
    healer = await world.start_claimed()
    root = healer.staging(1).parent
    had = bytes_below(root / ".work" / "1")
    for name, size in ((".damaged-1-0a0b0c0d", 10), (".damaged-1-ffffffff", 5), (".tmp-1-00000000", 7), (".work/1", 3)):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "file").write_bytes(bytes(size))
    (root / ".damaged-republish-a-00000000").mkdir()
    (root / "republish-a").mkdir()
    disk = (await desk_of(healer).op(1))["disk"]
    assert (disk["damaged_bytes"], disk["building_bytes"], disk["work_bytes"]) == (15, 7, had + 3)
    assert disk["staged_bytes"] == bytes_below(healer.staging(1))
    assert [line["op"] for line in await desk_of(healer).ops()] == [1]


@pytest.mark.parametrize(
    ("status", "state", "is_only_copy"),
    [
        (HealOpStatus.HEALER_REPORTED, ClaimState.ACCEPTED, True),
        (HealOpStatus.VERIFIED, ClaimState.PUBLISHING, True),
        (HealOpStatus.FAILED, ClaimState.ACCEPTED, False),
        (HealOpStatus.EXPIRED, ClaimState.ACCEPTED, False),
        (HealOpStatus.FAILED, ClaimState.PUBLISHING, True),
        (HealOpStatus.VERIFIED, ClaimState.CLOSING, False),
        (None, ClaimState.ACCEPTED, True),
    ],
)
@in_a_world()
async def test_a_staging_that_is_claimed_and_not_final_may_be_the_only_copy(world, status, state, is_only_copy):
    healer = await world.start_claimed()
    service = healer.node.service
    await service.ledger.set_claim_state(1, state)
    op = service.sight.seen(1).value
    service.sight._seen = {} if status is None else {1: (evolve(op, status=status), 1)}
    loss = await desk_of(healer).would_lose(1)
    assert loss["may_be_only_copy"] is is_only_copy


@in_a_world()
async def test_a_staging_that_nobody_knows_of_can_be_made_again(world):
    """It was rebuilt from what the network has, and nothing has been told of it."""
    healer = await world.start()
    healer.passage.hooks["prepare"] = raising(ChainUnavailable("away"))
    world.put_op(deadline_epoch=50)
    await world.until(healer.is_staged)
    await healer.node.service.ledger.remove_claim(1)
    loss = await desk_of(healer).would_lose(1)
    assert (loss["state"], loss["may_be_only_copy"]) == ("staged", False)


@in_a_world()
async def test_a_staging_without_a_row_that_the_chain_has_our_claim_for_may_be_the_only_copy(world):
    healer = await world.start_claimed()
    await world.blocks(1)
    await healer.node.service.ledger.remove_claim(1)
    assert (await desk_of(healer).would_lose(1))["may_be_only_copy"]


@in_a_world()
async def test_asking_changes_nothing(world):
    healer = await world.start_claimed()
    before, on_disk = await healer.entries(), healer.on_disk()
    desk = desk_of(healer)
    for _ in range(3):
        await desk.ops()
        await desk.op(1)
        await desk.would_lose(1)
    after = await healer.entries()
    assert (after.claims, after.intents, healer.on_disk()) == (before.claims, before.intents, on_disk)


@in_a_world()
async def test_reasons_are_kept_until_it_succeeds_and_not_without_end(world):
    desk = desk_of(await world.start_claimed())
    desk.hears(Event(What.DEFERRED, 1, "first"))
    desk.hears(Event(What.SENT, 1, "claim"))
    assert (await desk.ops())[0]["reason"] == "first"
    desk.hears(Event(What.ACCEPTED, 1, "claim"))
    assert (await desk.ops())[0]["reason"] == ""
    desk.hears(Event(What.DEFERRED, 1, "again"))
    for op_id in range(2, MOST_REASONS + 3):
        desk.hears(Event(What.FAILED, op_id, "bug"))
    assert len(desk._reasons) == MOST_REASONS
    assert (await desk.ops())[0]["reason"] == ""


@in_a_world()
async def test_a_pause_that_is_over_is_no_reason_to_list_an_op(world):
    healer = await world.start()
    pauses = healer.node.service._healer.pauses
    pauses.failed(9, at_most=1.0)
    assert [line["op"] for line in await desk_of(healer).ops()] == [9]
    await world.blocks(300 / BLOCK)
    assert await desk_of(healer).ops() == []
