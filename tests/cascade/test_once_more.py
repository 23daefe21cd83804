"""What was left by an attempt before never stands in for what the next one has to do."""

import pytest
import trio

from lep6.cascade.publish import Deferred, Rank
from lep6.cascade.reseed import Publish, Republished, Stage
from lep6.cascade.retrieve import Found
from lep6.cascade.staging import discard_staged
from lep6.cascade.text import to_base64
from lep6.cascade.work import clear_work
from lep6.devnet.store import Behaviour
from networks import Crash, Fault, Faulty, Forger, Recording, compressed, compressed_otherwise, replace_action
from world import BLOCKING, CREATOR, a_world, noise

SMALL = 150_000


class DiesAtForget:
    def __init__(self, journal):
        self.load, self.save = journal.load, journal.save

    async def forget(self, _):
        raise Crash


async def test_a_staging_made_again_does_not_inherit_the_progress_of_the_one_before(tmp_path, autojump_clock):
    async with a_world(tmp_path, noise(10_900_000)) as world:
        await world.lose(world.symbols[:3])
        with pytest.raises(Crash):
            await world.reseeder().reseed(
                world.registered.action, then=Publish(world.publisher(journal=DiesAtForget(world.ledger)))
            )
        await world.lose(world.symbols[:20])
        outcome = await world.reseeder().reseed(world.registered.action, then=Publish(world.publisher()))
        assert isinstance(outcome, Republished)
        holders = await world.network.holders(world.symbols)
        assert not [esi for esi, key in enumerate(world.symbols) if holders[key] < 2]


async def test_confirmed_bits_do_not_stand_for_the_values_of_another_order(tmp_path, autojump_clock):
    async with a_world(tmp_path, noise(10_900_000)) as world:
        await world.lose(world.symbols[:10])
        outcome = await world.reseeder().reseed(world.registered.action, then=Stage("12"))
        with pytest.raises(Crash):
            await world.publisher(Faulty(world.network, iter([Fault.NONE, Fault.CRASH_BEFORE]))).publish(outcome.staged)
        await discard_staged(world.staging, "12", blocking=BLOCKING)
        await clear_work(world.staging, "12", blocking=BLOCKING)
        await world.lose(world.symbols[20:30])
        network = Recording(world.network)
        outcome = await world.reseeder().reseed(world.registered.action, then=Stage("12"))
        await world.publisher(network).publish(outcome.staged)
        assert set(world.symbols[20:30]) <= set(network.sent)


async def test_a_damaged_staging_does_not_stop_republishing_for_ever(tmp_path, autojump_clock):
    async with a_world(tmp_path, noise(SMALL)) as world:
        for node in world.network.nodes[1:]:
            await node.behave(Behaviour(down=True))
        deferred = await world.reseeder().reseed(world.registered.action, then=Publish(world.publisher()))
        assert isinstance(deferred, Deferred)
        pack = world.staging / "ticket-7" / "symbols.pack"
        pack.write_bytes(bytes(500) + pack.read_bytes()[500:])
        for node in world.network.nodes[1:]:
            await node.behave(Behaviour())
        await trio.sleep(10)
        outcome = await world.reseeder().reseed(world.registered.action, then=Publish(world.publisher()))
        assert isinstance(outcome, Republished)


@pytest.mark.parametrize("seed", range(6))
async def test_a_good_layout_file_is_found_among_contradictory_ones(tmp_path, seed):
    async with a_world(tmp_path, noise(SMALL), seed=seed) as world:
        document = to_base64(world.registered.layout.compact())
        signed = f"{document}.{to_base64(CREATOR.sign(document.encode()))}"
        frames = [compressed(f"{signed}.{counter}".encode()) for counter in (70, 80, 90, 10)]  # 10 is right there
        await replace_action(world, Forger(world.registered.layout, layout_frames=frames).forge())
        assert isinstance(await world.retriever().layout(), Found)


async def test_fetched_originals_are_ranked_as_found(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        await replace_action(world, Forger(world.registered.layout, compress_indexes=compressed_otherwise).forge())
        outcome = await world.reseeder().reseed(world.registered.action, then=Stage("12"))
        ranks = {key: Rank(rank) for key, _, rank in outcome.staged.id_files.entries()}
        assert {ranks[key] for key in world.indexes} == {Rank.FOUND}
