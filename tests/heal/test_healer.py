"""The healer: what it claims, when it does not, and what it remembers of it."""

import errno
import shutil

import pytest
import trio
from attrs import evolve
from grpclib.const import Status

from healing import DATA, OTHER_HASH, TICKET, hang, in_a_world, raising
from lep6.cascade.staging import RECONSTRUCTED
from lep6.heal.events import What
from lep6.heal.rows import ClaimState
from lep6.model import ActionState, HealOpStatus, Ticket
from lep6.transaction import Claim, Refusal, Refused

REPORTED = HealOpStatus.HEALER_REPORTED


@pytest.mark.parametrize("status", [HealOpStatus.SCHEDULED, HealOpStatus.IN_PROGRESS])
@in_a_world()
async def test_an_op_that_names_this_node_is_rebuilt_staged_and_claimed(world, status):
    await world.disaster(symbols=4)
    healer = await world.start()
    world.put_op(status)
    await world.until(world.claims)
    assert world.claims() == [Claim(1, TICKET, world.hash)]
    assert world.op().result_hash == world.hash
    assert (healer.staging(1) / RECONSTRUCTED).read_bytes() == DATA
    await world.until(lambda: healer.seen(What.ACCEPTED), blocks=2)
    entries = await healer.entries()
    row = entries.claims[1]
    assert (row.ticket, row.manifest_hash, row.staging, row.state) == (TICKET, world.hash, "1", ClaimState.ACCEPTED)
    assert not entries.intents


@in_a_world()
async def test_an_op_of_another_healer_is_let_alone(world):
    healer = await world.start()
    world.put_op(healer=3)
    await world.blocks(12)
    assert await healer.is_clean()
    assert not healer.passage.count("retrieve")


@in_a_world()
async def test_nothing_enters_the_network_before_verified(world):
    await world.disaster()
    before = await world.held()
    healer = await world.start_claimed()
    await world.blocks(30)
    assert healer.is_staged()
    assert not healer.passage.count("store")
    assert await world.held() == before


# When the chain's word is not there yet.


@in_a_world()
async def test_a_claim_row_is_there_only_after_a_block_included_the_claim(world):
    """A place in a mempool is none."""

    async def held(transaction, call):
        world.chain.hold(transaction.tx_hash, 6)
        return await call()

    healer = world.node()
    healer.passage.hooks["broadcast"] = held
    await healer.start()
    world.put_op()
    await world.until(world.chain.mempool)
    for _ in range(5):
        await world.blocks(1)
        entries = await healer.entries()
        assert not entries.claims
        assert entries.intents[1].says == Claim(1, TICKET, world.hash)
        assert entries.intents[1].sent.tx_hash == world.chain.mempool()[0].tx_hash
    await world.until(lambda: healer.seen(What.ACCEPTED), blocks=4)
    assert list((await healer.entries()).claims) == [1]
    assert len(world.sent(healer)) == 1


@in_a_world()
async def test_the_intent_is_on_the_disk_before_its_transaction_is_sent(world):
    journalled = []

    async def look(transaction, call):
        journalled.append(((await healer.entries()).intents[1], transaction))
        return await call()

    healer = world.node()
    healer.passage.hooks["broadcast"] = look
    await healer.start()
    world.put_op()
    await world.until(world.claims)
    ((intent, transaction),) = journalled
    assert intent.says == transaction.message
    assert intent.sent.tx_hash == transaction.tx_hash
    assert intent.sent.timeout_height == transaction.timeout_height


@pytest.mark.parametrize("method", ["prepare", "broadcast"])
@pytest.mark.parametrize("why", [Refusal.FUNDS, Refusal.MEMPOOL, Refusal.SEQUENCE, Refusal.KEY, Refusal.WRONG_STATUS])
@in_a_world()
async def test_a_failed_submit_leaves_no_claim_row(world, method, why):
    """And the staging stays: the same claim goes out when the chain takes it."""

    async def refuse(_, __):
        await trio.lowlevel.checkpoint()
        return Refused(why)

    healer = world.node(longest_backoff=20)
    healer.passage.hooks[method] = refuse
    await healer.start()
    world.put_op()
    await world.until(healer.is_staged)
    manifest = healer.manifest()
    await world.blocks(15)
    entries = await healer.entries()
    assert not entries.claims
    assert entries.intents[1].sent is None
    assert healer.passage.count(method) > 2
    del healer.passage.hooks[method]
    await world.until(lambda: world.status() is REPORTED, blocks=12)
    assert healer.manifest() == manifest
    assert len(healer.seen(What.RECONSTRUCTED)) == 1


@in_a_world()
async def test_an_account_that_cannot_pay_claims_when_it_can(world):
    healer = world.node()
    balance = world.make_poor(healer)
    await healer.start()
    world.put_op()
    await world.blocks(12)
    assert healer.is_staged()
    assert not (await healer.entries()).claims
    world.make_poor(healer, balance)
    await world.until(lambda: world.status() is REPORTED)


# When it cannot be rebuilt.


@in_a_world()
async def test_reconstruction_failure_skips_the_claim(world):
    """No staging is left; what was had stays in the work area until the op is final, and goes then."""
    await world.disaster(symbols=3)
    healer = await world.start()
    world.put_op()
    await world.until(lambda: len(healer.seen(What.DEFERRED)) >= 3)
    assert healer.on_disk() == {".work/1"}
    assert {event.count for event in healer.seen(What.DEFERRED)} == {3}
    await world.until(lambda: world.status() is HealOpStatus.EXPIRED)
    await world.until(healer.is_clean, blocks=15)
    assert not healer.passage.count("broadcast")
    assert not healer.passage.count("store")


@in_a_world()
async def test_symbols_that_were_had_are_not_asked_for_again_after_a_failure_and_a_restart(world):
    values = dict(await world.network.nodes[0].get(list(world.keys)))
    for node in world.network.nodes[1:]:
        values |= await node.get(list(world.keys))
    await world.disaster(symbols=3)
    had = world.survivors.symbols
    healer = await world.start()
    world.put_op()
    await world.until(lambda: healer.seen(What.DEFERRED))
    await healer.kill()
    await world.network.delete(had)
    fresh = [key for key in world.registered.layout.symbols if key not in had][:1]
    await world.network.store([(key, values[key]) for key in fresh])
    await healer.start()
    await world.until(lambda: world.status() is REPORTED)
    assert healer.seen(What.RECONSTRUCTED)[0].count == 4


@pytest.mark.parametrize(
    "state", [state for state in ActionState if state not in (ActionState.DONE, ActionState.APPROVED)]
)
@in_a_world()
async def test_an_action_that_is_not_kept_is_not_claimed(world, state):
    world.chain.add_action(evolve(world.registered.action, state=state))
    healer = await world.start()
    world.put_op()
    await world.blocks(12)
    assert healer.seen(What.DEFERRED)
    assert await healer.is_clean()


@in_a_world()
async def test_a_ticket_whose_action_the_chain_does_not_know_is_not_claimed(world):
    healer = await world.start()
    world.put_op(ticket="no such action")
    await world.blocks(12)
    assert "knows no action" in healer.seen(What.DEFERRED)[0].text
    assert await healer.is_clean()


@in_a_world()
async def test_a_disk_without_room_defers_the_claim_before_any_symbol_is_fetched(world, monkeypatch):
    usage = shutil.disk_usage(world.box.directory)
    healer = await world.start()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        world.put_op()
        await world.until(lambda: len(healer.seen(What.DEFERRED)) > 1)
        assert "1000 bytes free" in healer.seen(What.DEFERRED)[0].text
        assert not healer.on_disk()
    await world.until(lambda: world.status() is REPORTED)


@in_a_world()
async def test_a_full_disk_defers_the_claim_and_leaves_nothing(world):
    healer = world.node()
    healer.passage.hooks["retrieve"] = raising(OSError(errno.ENOSPC, "No space left on device"))
    await healer.start()
    world.put_op()
    await world.blocks(10)
    assert len(healer.seen(What.DEFERRED)) > 1
    assert not {name for name in healer.on_disk() if not name.startswith(".work")}
    del healer.passage.hooks["retrieve"]
    await world.until(lambda: world.status() is REPORTED)


@in_a_world()
async def test_a_reconstruct_that_hangs_gives_its_place_back(world):
    """The attempt has an end; the next one starts from what it had."""
    healer = world.node(attempt=60, reconstructs=1)
    healer.passage.hooks["retrieve"] = hang
    await healer.start()
    world.put_op()
    await world.blocks(12)
    assert healer.seen(What.DEFERRED)[0].text == "not done in time"
    healer.passage.hooks.clear()
    await world.until(lambda: world.status() is REPORTED)


@in_a_world()
async def test_no_more_than_two_reconstructs_run_at_once(world):
    at_once, most = 0, 0

    async def slowly(_, call):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await trio.sleep(3)
        at_once -= 1
        return await call()

    healer = world.node()
    healer.passage.hooks["retrieve"] = slowly
    await healer.start()
    for number in range(1, 7):
        world.put_op(op_id=number)
    await world.until(lambda: len(world.claims()) == 6)
    assert most == 2


# When the chain has a claim.


@in_a_world()
async def test_reconcile_with_another_hash_removes_the_staging_and_records_nothing(world):
    """But only when it was seen at two heights."""
    healer = world.node()
    balance = world.make_poor(healer)
    await healer.start()
    world.put_op()
    await world.until(lambda: healer.seen(What.DEFERRED))
    world.move(REPORTED, result_hash=OTHER_HASH)
    world.freeze(healer)
    await world.blocks(15)
    assert healer.is_staged()
    assert list((await healer.entries()).intents) == [1]
    world.thaw(healer)
    world.make_poor(healer, balance)
    await world.until(healer.is_clean, blocks=15)
    assert not healer.seen(What.ACCEPTED)
    assert not healer.passage.count("broadcast")
    assert not healer.passage.count("store")
    assert healer.seen(What.CLOSED)


@in_a_world()
async def test_a_claim_of_our_hash_in_another_spelling_is_ours(world):
    healer = world.node()
    world.make_poor(healer)
    await healer.start()
    world.put_op()
    await world.until(healer.is_staged)
    world.move(REPORTED, result_hash=world.hash.rstrip("="))
    await world.until(lambda: healer.seen(What.ACCEPTED))
    assert list((await healer.entries()).claims) == [1]
    assert healer.is_staged()


@in_a_world()
async def test_a_claim_of_another_hash_is_not_rebuilt_for_as_it_could_not_be_served(world):
    healer = await world.start()
    world.put_claimed(result_hash=OTHER_HASH)
    await world.blocks(15)
    assert await healer.is_clean()
    assert not healer.passage.count("retrieve")


@in_a_world()
async def test_a_staging_that_was_deleted_while_its_claim_stands_is_rebuilt_and_served(world):
    healer = await world.start_claimed()
    for path in healer.staging(1).iterdir():
        path.unlink()
    healer.staging(1).rmdir()
    await world.until(healer.is_staged)
    assert (await world.ask(healer, 1, world.accounts[1])).data == DATA
    assert len(world.claims()) == 1
    assert len(world.sent(healer)) == 1


@in_a_world()
async def test_a_staging_that_is_found_damaged_while_it_is_served_is_rebuilt(world):
    healer = await world.start_claimed()
    manifest = healer.manifest()
    with (healer.staging(1) / RECONSTRUCTED).open("r+b") as file:
        file.write(bytes([DATA[0] ^ 1]))
    answer = await world.ask(healer, 1, world.accounts[1])
    assert answer.status is Status.DATA_LOSS
    assert not answer.is_whole
    await world.until(lambda: healer.is_staged() and healer.manifest() != manifest)
    assert (await world.ask(healer, 1, world.accounts[1])).data == DATA
    assert any(name.startswith(".damaged-1-") for name in healer.on_disk())
    world.move(HealOpStatus.FAILED, result_hash=OTHER_HASH)
    await world.until(healer.is_clean)


@in_a_world()
async def test_a_staging_that_is_damaged_before_it_was_claimed_is_rebuilt_and_then_claimed(world):
    healer = world.node()
    balance = world.make_poor(healer)
    await healer.start()
    world.put_op()
    await world.until(healer.is_staged)
    await healer.kill()
    with (healer.staging(1) / "symbols.pack").open("r+b") as file:
        file.write(b"not what was there")
    world.make_poor(healer, balance)
    await healer.start()
    await world.until(lambda: world.status() is REPORTED)
    assert len(healer.seen(What.RECONSTRUCTED)) == 2
    assert len(world.claims()) == 1


# Who is served.


@in_a_world(nodes=6)
async def test_only_assigned_verifiers_are_served(world):
    healer = await world.start_claimed()
    for verifier in world.op().verifiers:
        assert (await world.ask(healer, 1, verifier)).data == DATA
    for stranger in (healer.account, world.accounts[3]):
        answer = await world.ask(healer, 1, stranger)
        assert answer.status is Status.PERMISSION_DENIED
        assert not answer.messages
    assert (await world.ask(healer, 2, world.accounts[1])).status is Status.NOT_FOUND


@in_a_world()
async def test_a_node_that_is_not_the_ops_healer_serves_nothing(world):
    healer = await world.start_claimed()
    world.chain.set_op(evolve(world.op(), healer=world.accounts[3]))
    answer = await world.ask(healer, 1, world.accounts[1])
    assert answer.status is Status.FAILED_PRECONDITION
    assert not answer.messages


@pytest.mark.parametrize("status", [status for status in HealOpStatus if status is not REPORTED])
@in_a_world()
async def test_an_op_in_another_status_is_not_served(world, status):
    healer = await world.start_claimed()
    world.chain.set_op(evolve(world.op(), status=status))
    answer = await world.ask(healer, 1, world.accounts[1])
    assert answer.status is Status.FAILED_PRECONDITION
    assert not answer.messages


@in_a_world()
async def test_one_node_heals_ops_of_one_ticket_after_another(world):
    """The first expires; the second has a staging of its own."""
    healer = await world.start_claimed()
    world.move(HealOpStatus.EXPIRED)
    world.put_op(op_id=2, ticket=Ticket(TICKET))
    await world.until(lambda: world.status(2) is REPORTED)
    await world.until(lambda: not healer.is_staged(1))
    assert healer.is_staged(2)
