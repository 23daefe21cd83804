import random
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from lep6 import _core
from lep6.cascade import publish
from lep6.cascade.publish import Deferred, Published, Rank
from lep6.cascade.reseed import Stage
from lep6.cascade.staging import ID_FILES, SYMBOLS, VERSION, Manifest, begin_staging, discard_staged
from lep6.cascade.text import to_base64
from lep6.devnet.store import Behaviour
from lep6.errors import InvalidArtefact
from lep6.heal.ledger import Ledger
from lep6.model import key_of
from networks import Crash, Fault, Faulty, Fuse, FusedJournal, FusedNetwork, MemoryJournal, Recording, Slow
from world import BLOCKING, a_world, noise


def values(count, *, rank=Rank.UNASKED, size=20, seed=0):
    return [(noise(size, f"{seed} {rank} {number}"), rank) for number in range(count)]


LAYOUTS, INDEXES = values(2, seed="layouts"), values(2, seed="indexes")


async def a_staging(world, *, layouts=LAYOUTS, indexes=INDEXES, symbols=(), ticket="7"):
    """A staging of any values with their ranks."""
    async with begin_staging(world.staging, "12", _core.Geometry(1), beside=0, blocking=BLOCKING) as draft:
        for (pack, index), held in ((SYMBOLS, symbols), (ID_FILES, [*layouts, *indexes])):
            writer = _core.PackWriter(draft.path(pack))
            writer.append(held)
            writer.finish(draft.path(index))
        manifest = Manifest(
            version=VERSION,
            op_id="12",
            ticket=ticket,
            size=1,
            manifest_hash=to_base64(_core.blake3(bytes(1))),
            symbols=len(symbols),
            layout_files=len(layouts),
            index_files=len(indexes),
            irreproducible=(),
            nonce="00112233445566ff",
        )
        return await draft.complete(manifest)


def keys_of(staged):
    return [key for pack in (staged.id_files, staged.symbols) for key, _, _ in pack.entries()]


async def lacking(world, staged):
    """Values that are on fewer nodes than they should be."""
    holders = await world.network.holders(keys_of(staged))
    return [key for key, count in holders.items() if count < world.network.replicas]


async def behave(world, behaviour):
    for node in world.network.nodes:
        await node.behave(behaviour)


# Order and batches.


async def test_what_the_network_lacks_most_goes_first_and_id_files_before_symbols(tmp_path):
    async with a_world(tmp_path, noise(1)) as world:
        ranks = [Rank.FOUND, Rank.MISSING, Rank.UNASKED]
        layouts, indexes, symbols = ([pair for rank in ranks for pair in values(n, rank=rank)] for n in (2, 3, 90))
        indexes = [(value + b"i", rank) for value, rank in indexes]
        symbols = [(value + b"s", rank) for value, rank in symbols]
        staged = await a_staging(world, layouts=layouts, indexes=indexes, symbols=symbols)
        network = Recording(world.network)
        assert await world.publisher(network).publish(staged) == Published(15 + 270)
        expected = [
            key_of(value)
            for rank in (Rank.MISSING, Rank.UNASKED, Rank.FOUND)
            for kind in (layouts, indexes, symbols)
            for value, its_rank in kind
            if its_rank is rank
        ]
        assert network.sent == expected


async def test_after_a_reseed_values_go_in_the_order_of_what_the_retrieval_saw(tmp_path):
    async with a_world(tmp_path, noise(1_087_881), id_files=10) as world:
        await world.lose([*world.layouts[:8], *world.symbols[2:5], *world.symbols[40:60]])
        retrieving, publishing = Recording(world.network), Recording(world.network)
        outcome = await world.reseeder(retrieving).reseed(world.registered.action, then=Stage("12"))
        await world.publisher(publishing).publish(outcome.staged)
        found = frozenset().union(*(call.retrieval.found for call in retrieving.calls))
        missing = retrieving.asked.keys() - found
        id_files = set(world.registered.id_files)
        turns = [(2 if key in found else 0 if key in missing else 1, key not in id_files) for key in publishing.sent]
        assert turns == sorted(turns)
        assert {turn for turn, _ in turns} == {0, 1, 2}
        assert len(publishing.sent) == 100 + 20


async def test_a_batch_has_at_most_100_values_and_8_mib(tmp_path):
    async with a_world(tmp_path, noise(1), nodes=2, replicas=1) as world:
        symbols = [*values(250), *values(5, size=3 << 20), *values(1, size=9 << 20), *values(3, size=5 << 20, seed=1)]
        staged = await a_staging(world, symbols=symbols)
        network = Recording(world.network)
        await world.publisher(network).publish(staged)
        sizes = [[len(value) for _, value in batch] for batch in network.stores]
        assert all(len(batch) <= 100 for batch in sizes)
        assert all(sum(batch) <= 8 << 20 for batch in sizes if len(batch) > 1)
        assert network.sent == keys_of(staged)
        # As few as that: the small ones fill two batches and begin the third.
        assert [len(batch) for batch in sizes] == [100, 100, 56, 2, 1, 1, 1, 1, 1]


# Going on.


@pytest.mark.parametrize("is_after", [False, True], ids=["before its effect", "after its effect"])
async def test_a_publish_that_dies_at_any_call_is_finished_by_the_next_process(tmp_path, is_after):
    async with a_world(tmp_path, noise(1)) as world:
        staged = await a_staging(world, symbols=values(346))
        died_at = 0
        while True:
            for node in world.network.nodes:
                await node.clear()
            await world.ledger.forget("12")
            fuse, first, second = Fuse(died_at + 1, is_after), Recording(world.network), Recording(world.network)
            try:
                await world.publisher(FusedNetwork(first, fuse), FusedJournal(world.ledger, fuse)).publish(staged)
                break
            except Crash:
                died_at += 1
            async with Ledger.open(tmp_path / "ledger.db", world.ledger.account, BLOCKING) as ledger:
                assert isinstance(await world.publisher(second, ledger).publish(staged), Published)
            assert not await lacking(world, staged)
            in_flight = {key for key, _ in first.stores[-1]} if first.stores else set()
            assert set(first.sent) & set(second.sent) <= in_flight
            assert len(second.sent) == len(set(second.sent))
        assert died_at == 10  # load, four times store and save, read back


async def test_a_cancelled_publish_counts_what_it_stored(tmp_path, autojump_clock):
    async with a_world(tmp_path, noise(1)) as world:
        staged = await a_staging(world, symbols=values(346))
        first, second = Recording(Slow(world.network, delay=10.0)), Recording(world.network)
        with trio.move_on_after(25):
            await world.publisher(first).publish(staged)
        assert len(first.stores) == 3
        assert await world.publisher(second).publish(staged) == Published(350)
        assert second.sent == keys_of(staged)[200:]


async def test_what_is_published_is_read_back_again_but_not_sent_again(tmp_path):
    async with a_world(tmp_path, noise(1)) as world:
        staged = await a_staging(world, symbols=values(30))
        await world.publisher().publish(staged)
        network = Recording(world.network)
        assert await world.publisher(network).publish(staged) == Published(34)
        assert not network.stores
        assert len(network.calls) == 1


async def test_another_staging_of_the_same_name_starts_anew(tmp_path):
    async with a_world(tmp_path, noise(1)) as world:
        await world.publisher().publish(await a_staging(world, symbols=values(30)))
        await discard_staged(world.staging, "12", blocking=BLOCKING)
        staged = await a_staging(world, symbols=values(30), ticket="8")
        network = Recording(world.network)
        await world.publisher(network).publish(staged)
        assert network.sent == keys_of(staged)


async def test_only_values_that_found_too_few_nodes_are_sent_again(tmp_path, autojump_clock):
    async with a_world(tmp_path, noise(1)) as world:
        staged = await a_staging(world, symbols=values(146))
        network = Recording(Faulty(world.network, iter([Fault.HALF])))
        deferred = await world.publisher(network).publish(staged)
        assert deferred.pending == 50
        assert "50 of 150 values could not be placed" in deferred.reason
        assert not network.calls  # there is no use in reading back what is known to lack
        assert isinstance(await world.publisher(network).publish_in_the_end(staged), Published)
        assert network.sent[150:] == network.sent[:100:2]
        assert not await lacking(world, staged)


async def test_a_copy_fewer_than_there_should_be_is_not_enough(tmp_path, autojump_clock):
    async with a_world(tmp_path, noise(1), nodes=3, replicas=2) as world:
        staged = await a_staging(world, symbols=values(30))
        for node in world.network.nodes[1:]:
            await node.behave(Behaviour(down=True))
        deferred = await world.publisher().publish(staged)
        assert deferred.pending == 34
        await world.network.nodes[2].behave(Behaviour())
        assert isinstance(await world.publisher().publish_in_the_end(staged), Published)
        assert not await lacking(world, staged)


async def test_nodes_that_come_and_go_get_everything_in_the_end(tmp_path, autojump_clock):
    async with a_world(tmp_path, noise(1), nodes=4, replicas=2) as world, trio.open_nursery() as nursery:
        staged = await a_staging(world, symbols=values(800))

        async def come_and_go():
            rng = random.Random(1)
            while True:
                for node in world.network.nodes:
                    await node.behave(Behaviour(down=rng.random() < 0.6))
                await trio.sleep(3)

        nursery.start_soon(come_and_go)
        published = await world.publisher(Slow(world.network, delay=1.0)).publish_in_the_end(staged)
        nursery.cancel_scope.cancel()
        assert published == Published(804)
        assert not await lacking(world, staged)


# The network is away.


async def test_without_nodes_attempts_are_put_off_longer_each_time_and_called_stuck_after_eight(
    tmp_path, autojump_clock
):
    async with a_world(tmp_path, noise(1)) as world:
        staged = await a_staging(world, symbols=values(346))
        await behave(world, Behaviour(down=True))
        shares = []
        for attempt in range(14):
            deferred = await world.publisher().publish(staged)
            assert isinstance(deferred, Deferred)
            assert (deferred.attempts, deferred.pending) == (attempt + 1, 350)
            assert deferred.is_stuck == (attempt + 1 >= 8)
            pause = deferred.not_before - trio.current_time()
            shares.append(pause / min(2 * 2**attempt, 900))
            await trio.sleep(pause + 0.001)
        assert all(0.5 <= share <= 1.5 for share in shares)
        assert max(shares) - min(shares) > 0.5
        await behave(world, Behaviour())
        assert isinstance(await world.publisher().publish(staged), Published)
        assert not await lacking(world, staged)


async def test_an_attempt_that_is_not_due_asks_nothing_of_the_network(tmp_path, autojump_clock):
    async with a_world(tmp_path, noise(1)) as world:
        staged = await a_staging(world, symbols=values(30))
        network = Recording(world.network)
        await behave(world, Behaviour(down=True))
        deferred = await world.publisher(network).publish(staged)
        await behave(world, Behaviour())
        await trio.sleep(deferred.not_before - trio.current_time() - 0.01)
        network.stores.clear()
        assert await world.publisher(network).publish(staged) == deferred
        assert not network.stores
        await trio.sleep(0.02)
        assert isinstance(await world.publisher(network).publish(staged), Published)


async def test_an_attempt_gives_up_after_three_batches_that_nobody_takes(tmp_path):
    async with a_world(tmp_path, noise(1)) as world:
        staged = await a_staging(world, symbols=values(996))
        script = [Fault.NONE, Fault.NOBODY, Fault.NOBODY, Fault.HALF, Fault.NOBODY, Fault.NOBODY, Fault.NOBODY]
        network = Recording(Faulty(world.network, iter(script)))
        deferred = await world.publisher(network).publish(staged)
        assert len(network.stores) == 7
        assert deferred.pending == 1000 - 150


# Trust, and damage.


async def test_what_is_acknowledged_and_not_kept_is_stored_again_by_ever_larger_samples(tmp_path, autojump_clock):
    async with a_world(tmp_path, noise(1)) as world:
        staged = await a_staging(world, symbols=values(296))
        network = Recording(world.network)
        await behave(world, Behaviour(lossy=1.0))
        deferred = await world.publisher(network).publish(staged)
        assert "could not be read back" in deferred.reason
        assert 16 <= deferred.pending <= 16 + 3
        await behave(world, Behaviour())
        assert isinstance(await world.publisher(network).publish_in_the_end(staged), Published)
        assert not await lacking(world, staged)
        samples = [call.need for call in network.calls]
        assert len(samples) > 3
        for attempt, sample in enumerate(samples):
            assert min(16 * 4**attempt, 300) <= sample <= min(16 * 4**attempt + 3, 300)


async def test_a_sample_has_one_of_each_kind(tmp_path):
    async with a_world(tmp_path, noise(1)) as world:
        staged = await a_staging(world, layouts=LAYOUTS[:1], indexes=INDEXES[:1], symbols=values(2000))
        network = Recording(world.network)
        await world.publisher(network).publish(staged)
        (call,) = network.calls
        assert set(keys_of(staged)[:2]) < call.answered


async def test_false_values_do_not_count_as_read_back(tmp_path):
    async with a_world(tmp_path, noise(1)) as world:
        staged = await a_staging(world, symbols=values(10))
        await behave(world, Behaviour(lying=1.0))
        assert "14 of 14 stored values" in (await world.publisher().publish(staged)).reason


@pytest.mark.parametrize("pack", [SYMBOLS[0], ID_FILES[0]])
async def test_a_damaged_value_stops_the_publish_before_it_is_sent(tmp_path, pack):
    async with a_world(tmp_path, noise(1)) as world:
        staged = await a_staging(world, layouts=values(150, seed="l"), symbols=values(296))
        path = staged.directory / pack
        held = bytearray(path.read_bytes())
        held[20 * 120 + 7] ^= 1
        path.write_bytes(held)
        network = Recording(world.network)
        with pytest.raises(InvalidArtefact):
            await world.publisher(network).publish(staged)
        assert all(key_of(value) == key for batch in network.stores for key, value in batch)
        assert len(network.sent) in (100, 200)


async def test_a_publish_changes_nothing_of_its_staging(tmp_path):
    async with a_world(tmp_path, noise(1)) as world:
        staged = await a_staging(world, symbols=values(30))
        before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in staged.directory.iterdir()}
        await world.publisher().publish(staged)
        assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in staged.directory.iterdir()} == before


async def test_what_was_published_is_enough_when_everything_that_had_survived_is_lost(tmp_path):
    async with a_world(tmp_path, noise(1_087_881)) as world:
        survivors = {*world.symbols[70:89], world.layouts[1], world.indexes[2]}
        await world.lose({*world.symbols, *world.registered.id_files} - survivors)
        outcome = await world.reseeder().reseed(world.registered.action, then=Stage("12"))
        assert isinstance(await world.publisher().publish(outcome.staged), Published)
        await world.lose(survivors)
        assert await world.read_back() == world.data


# Cut anywhere.


CUTS = st.lists(st.tuples(st.integers(1, 14), st.booleans()), max_size=4)
SCRIPTS = st.lists(st.sampled_from(Fault), max_size=14)


async def end_complete(directory, cuts, script):
    async with a_world(directory, noise(1), id_files=1) as world:
        staged = await a_staging(world, symbols=values(11))
        faults, journal = iter(script), MemoryJournal()
        for at, is_after in cuts:
            fuse = Fuse(at, is_after)
            fused = FusedNetwork(Faulty(world.network, faults), fuse)
            with suppress(Crash):
                await world.publisher(fused, FusedJournal(journal, fuse)).publish_in_the_end(staged)
        published = None
        while published is None:
            with suppress(Crash):
                published = await world.publisher(Faulty(world.network, faults), journal).publish_in_the_end(staged)
        assert published == Published(15)
        assert not await lacking(world, staged)
        (state,) = journal.states.values()
        assert state.confirmed == b"\xff\xfe"


@given(CUTS, SCRIPTS)
def test_a_publish_that_is_cut_anywhere_under_any_faults_ends_complete(cuts, script):
    """With batches of four, and so few values that every sample has them all."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "BATCH_VALUES", 4)
        clock = trio.testing.MockClock(autojump_threshold=0)
        trio.run(end_complete, Path(directory), cuts, script, clock=clock)
