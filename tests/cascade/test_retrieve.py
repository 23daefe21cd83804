import random
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
import zstandard
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from lep6 import _core
from lep6.cascade.commitment import Commitment
from lep6.cascade.layout import Layout
from lep6.cascade.retrieve import Cannot, Found, Gathered
from lep6.cascade.text import compact_json, to_base64
from lep6.cascade.work import WorkArea
from lep6.devnet.store import Behaviour
from lep6.errors import InvalidArtefact
from lep6.model import key_of
from networks import Collector, Forger, Forgetful, Recording, Slow, compressed, replace_action
from world import BLOCKING, CREATOR, PROGRESS, a_world, noise

SMALL = 150_000  # K = 3 of 15 symbols
MEDIUM = 1_087_881  # K = 17 of 100 symbols


@asynccontextmanager
async def work_area(world, name="1"):
    async with WorkArea.open(
        world.directory / "reader", name, world.registered.layout, blocking=BLOCKING, progress=PROGRESS
    ) as work:
        yield work


async def gather(world, network=None):
    """One attempt with a process of its own."""
    async with work_area(world) as work:
        return await world.retriever(network).symbols(work)


async def decoded(world):
    """The file that the work area has, if it determines one."""
    async with work_area(world) as work:
        output = world.directory / "decoded.bin"
        encoded = work.spool.decode(output, _core.Job())
        return None if encoded is None else output.read_bytes()


def flipped(value, at=1000):
    return value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]


async def put_false(world, key):
    """Every holder of this value has a false one under its key."""
    for node in world.network.nodes:
        held = await node.get([key])
        await node.delete([key])
        await node.put([(key, flipped(value, len(value) // 2)) for value in held.values()])


async def test_a_healthy_file_needs_its_sources_and_no_repair(tmp_path):
    async with a_world(tmp_path, noise(MEDIUM)) as world:
        network = Recording(world.network)
        gathered = await gather(world, network)
        assert gathered == Gathered(held=17, received=17, false=frozenset())
        assert network.asked == dict.fromkeys(world.symbols[:17], 1)
        assert await decoded(world) == world.data


async def test_no_repair_is_asked_for_before_every_source_was(tmp_path):
    async with a_world(tmp_path, noise(MEDIUM)) as world:
        await world.lose(world.symbols[3:5])
        network = Recording(world.network)
        await gather(world, network)
        assert network.calls[0].answered == set(world.symbols[:17])
        assert len(network.calls) > 1
        for call in network.calls[1:]:
            assert call.answered <= set(world.symbols[17:])


@pytest.mark.parametrize("lost", [1, 5, 16, 17])
async def test_missing_sources_are_made_up_for_by_as_many_repairs_and_two(tmp_path, lost):
    async with a_world(tmp_path, noise(MEDIUM), seed=lost) as world:
        await world.lose(world.symbols[17 - lost : 17])
        network = Recording(world.network)
        gathered = await gather(world, network)
        assert gathered.received == network.accepted == 17 + 2
        assert await decoded(world) == world.data


@pytest.mark.parametrize("seed", range(4))
async def test_no_more_is_received_than_needed_when_few_repairs_are_left(tmp_path, seed):
    async with a_world(tmp_path, noise(MEDIUM), seed=seed) as world:
        left = random.Random(seed).sample(range(100), 30)
        await world.keep_symbols(left)
        network = Recording(world.network)
        gathered = await gather(world, network)
        assert isinstance(gathered, Gathered)
        assert network.accepted == 17 + 2
        assert all(call.accepted <= call.need for call in network.calls)
        assert await decoded(world) == world.data


async def test_symbols_are_asked_for_at_most_once_when_enough_are_found(tmp_path):
    async with a_world(tmp_path, noise(MEDIUM)) as world:
        await world.keep_symbols(range(60, 90))
        network = Recording(world.network)
        await gather(world, network)
        assert set(network.asked.values()) == {1}


async def test_a_false_value_is_dropped_and_asked_for_at_another_node(tmp_path):
    async with a_world(tmp_path, noise(MEDIUM)) as world:
        liar = world.network.nodes[0]
        await liar.behave(Behaviour(lying=1.0))
        told = await liar.keys() & set(world.symbols[:17])
        first_asked = {key for key in told if world.network.by_distance(key)[0] is liar}
        gathered = await gather(world)
        assert first_asked
        assert gathered == Gathered(held=17, received=17, false=frozenset(first_asked))
        assert await decoded(world) == world.data


async def test_symbols_that_are_false_everywhere_are_counted_and_made_up_for(tmp_path):
    async with a_world(tmp_path, noise(MEDIUM)) as world:
        for key in world.symbols[:3]:
            await put_false(world, key)
        gathered = await gather(world)
        assert gathered.false == set(world.symbols[:3])
        assert gathered.held == 17 + 2
        assert await decoded(world) == world.data


async def test_a_value_that_is_true_to_its_key_but_no_symbol_is_not_kept(tmp_path):
    """A false layout lists the key of three bytes."""
    async with a_world(tmp_path, noise(SMALL)) as world:
        symbols = [key_of(b"abc"), *world.symbols[1:]]
        layout = evolve(world.registered.layout, packed_symbols=b"".join(symbols))
        await replace_action(world, Forger(layout).forge())
        await world.network.store([(symbols[0], b"abc")])
        gathered = await gather(world)
        assert gathered.false == {symbols[0]}
        async with work_area(world) as work:
            assert 0 not in work.spool.held()


async def test_every_missing_key_is_asked_for_twice_before_the_answer_is_cannot(tmp_path):
    async with a_world(tmp_path, noise(MEDIUM)) as world:
        await world.keep_symbols(range(50, 66))
        network = Recording(world.network)
        cannot = await gather(world, network)
        assert isinstance(cannot, Cannot)
        lost = [*world.symbols[:50], *world.symbols[66:]]
        assert network.asked == {**dict.fromkeys(lost, 2), **dict.fromkeys(world.symbols[50:66], 1)}


async def test_what_nobody_had_the_first_time_is_found_the_second_time(tmp_path):
    async with a_world(tmp_path, noise(MEDIUM)) as world:
        gathered = await gather(world, Forgetful(world.network, hidden=dict.fromkeys(world.symbols, 1)))
        assert isinstance(gathered, Gathered)
        assert await decoded(world) == world.data


async def test_what_nobody_had_twice_is_not_asked_for_a_third_time(tmp_path):
    async with a_world(tmp_path, noise(MEDIUM)) as world:
        network = Recording(Forgetful(world.network, hidden=dict.fromkeys(world.symbols, 3)))
        assert isinstance(await gather(world, network), Cannot)
        assert network.asked == dict.fromkeys(world.symbols, 2)


async def test_cannot_tells_what_was_had_what_is_missing_and_why(tmp_path):
    async with a_world(tmp_path, noise(SMALL), nodes=3, replicas=1) as world:
        silent = world.network.nodes[2]
        at_silent = [key for key in world.symbols if key in await silent.keys()]
        false, true = [key for key in world.symbols if key not in at_silent][:2]
        await silent.behave(Behaviour(down=True))
        await world.lose(set(world.symbols) - {false, true, *at_silent})
        await put_false(world, false)
        cannot = await gather(world)
        missing = tuple(key for key in world.symbols if key != true)
        # Any key may be on the node that does not answer.
        assert cannot == Cannot("symbols", have=1, needed=3, missing=missing, unreachable=len(missing), false=(false,))
        assert "1 symbols of 3 needed" in str(cannot)
        assert "14 symbols keys are missing" in str(cannot)
        assert "1 had false values" in str(cannot)


async def test_keys_that_every_node_answered_for_are_not_called_unreachable(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        await world.keep_symbols([4])
        assert (await gather(world)).unreachable == 0


async def test_a_node_that_answers_the_second_time_leaves_nothing_unreachable(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        await world.keep_symbols([4])
        network = Forgetful(world.network, hidden=dict.fromkeys(world.symbols[5:], 1))
        cannot = await gather(world, network)
        assert (len(cannot.missing), cannot.unreachable) == (14, 0)


async def test_a_failed_attempt_keeps_its_symbols_and_the_next_asks_for_what_is_lacking(tmp_path):
    async with a_world(tmp_path, noise(MEDIUM)) as world:
        returning = Collector()
        await world.network.retrieve(world.symbols, need=100, sink=returning)
        await world.keep_symbols(range(20, 35))
        async with work_area(world) as work:
            assert (await world.retriever().symbols(work)).have == 15
            await world.network.store(list(returning.values.items()))
            await world.lose(world.symbols[20:35])
            network = Recording(world.network)
            gathered = await world.retriever(network).symbols(work)
        assert isinstance(gathered, Gathered)
        assert not network.asked.keys() & set(world.symbols[20:35])
        assert gathered.received <= 4
        assert await decoded(world) == world.data


async def test_a_restarted_process_goes_on_with_the_symbols_at_hand(tmp_path):
    async with a_world(tmp_path, noise(MEDIUM)) as world:
        await gather(world, Forgetful(world.network, hidden=dict.fromkeys(world.symbols[16:], 2)))
        network = Recording(world.network)
        gathered = await gather(world, network)
        assert network.asked == {world.symbols[16]: 1}
        assert gathered == Gathered(held=17, received=1, false=frozenset())


async def test_a_restarted_process_that_has_enough_asks_for_nothing(tmp_path):
    async with a_world(tmp_path, noise(MEDIUM)) as world:
        await world.lose(world.symbols[:9])
        await gather(world)
        network = Recording(world.network)
        assert (await gather(world, network)).received == 0
        assert not network.calls


@pytest.mark.parametrize(
    ("spoil", "again"),
    [
        (lambda spool: flipped(spool, 2 * _core.PACKET_SIZE + 77), 1),
        (lambda spool: spool[:-10], 1),
        (lambda spool: spool[: -_core.PACKET_SIZE - 1], 2),
        (lambda spool: spool[: _core.PACKET_SIZE] * 17, 16),
        (lambda _: b"", 17),
    ],
    ids=["a byte changed", "torn", "torn one before", "one record again and again", "emptied"],
)
async def test_damaged_records_of_the_spool_are_fetched_again(tmp_path, spoil, again):
    async with a_world(tmp_path, noise(MEDIUM)) as world:
        await gather(world)
        spool = tmp_path / "reader" / ".work" / "1" / "symbols.spool"
        spool.write_bytes(spoil(spool.read_bytes()))
        assert await gather(world) == Gathered(held=17, received=again, false=frozenset())
        assert await decoded(world) == world.data


async def test_the_missing_keys_of_an_attempt_are_remembered_until_they_are_found(tmp_path):
    async with a_world(tmp_path, noise(MEDIUM)) as world:
        await gather(world, Forgetful(world.network, hidden=dict.fromkeys(world.symbols[5:], 2)))
        async with work_area(world) as work:
            assert work.missing == set(world.symbols[5:])
        await world.lose(world.symbols[5:8])
        await gather(world)
        async with work_area(world) as work:
            held = {world.symbols[esi] for esi in work.spool.held()}
            assert work.missing == set(world.symbols[5:]) - held


async def test_a_torn_note_of_missing_keys_and_one_of_another_layout_do_no_harm(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        await gather(world)
        note = tmp_path / "reader" / ".work" / "1" / "missing.keys"
        note.write_bytes(world.symbols[9] + key_of(b"of another layout") + world.symbols[10][:20])
        async with work_area(world) as work:
            assert work.missing == {world.symbols[9]}


async def test_a_cancelled_retrieval_keeps_what_it_has(tmp_path, autojump_clock):
    async with a_world(tmp_path, noise(MEDIUM)) as world:
        await world.lose(world.symbols[:4])
        with trio.move_on_after(1) as scope:
            await gather(world, Slow(world.network, delays=dict.fromkeys(world.symbols[17:], 60.0)))
        assert scope.cancelled_caught
        async with work_area(world) as work:
            assert work.spool.held() == list(range(4, 17))
            assert work.missing == set(world.symbols[:4])


async def test_two_processes_do_not_fill_one_work_area(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world, work_area(world):
        with pytest.raises(InvalidArtefact):
            await gather(world)


async def test_the_file_is_read_back_and_its_work_area_goes(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        found = await world.retriever().to_file(tmp_path / "reader", "1", tmp_path / "out.bin")
        assert isinstance(found, Found)
        assert (tmp_path / "out.bin").read_bytes() == world.data
        assert not list((tmp_path / "reader" / ".work").iterdir())


async def test_a_file_that_cannot_be_read_back_yet_keeps_its_work_area(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        await world.keep_symbols([2, 9])
        cannot = await world.retriever().to_file(tmp_path / "reader", "1", tmp_path / "out.bin")
        assert cannot.have == 2
        async with work_area(world) as work:
            assert work.spool.held() == [2, 9]


async def test_what_decodes_to_another_file_is_not_read_back(tmp_path):
    """The layout claims the action's hash, and lists the symbols of another file of the same size."""
    async with a_world(tmp_path, noise(SMALL)) as world:
        claimed = evolve(world.registered.layout, digest=_core.blake3(b"the file that was meant"))
        await replace_action(world, Forger(claimed).forge())
        with pytest.raises(InvalidArtefact, match="not the file"):
            await world.retriever().to_file(tmp_path / "reader", "1", tmp_path / "out.bin")


# The layout.


@pytest.mark.parametrize("place", range(4))
async def test_one_layout_file_is_enough(tmp_path, place):
    async with a_world(tmp_path, noise(SMALL)) as world:
        await world.lose([*world.layouts[:place], *world.layouts[place + 1 :], *world.indexes])
        found = await world.retriever().layout()
        assert found.layout == world.registered.layout
        assert found.text.counter - world.retriever().metadata.first_counter == place
        assert found.had == {world.layouts[place]}
        assert found.missing <= set(world.layouts) - found.had


async def test_no_layout_file_left_is_told_after_each_was_asked_for_twice(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        await world.lose(world.layouts)
        network = Recording(world.network)
        cannot = await world.retriever(network).layout()
        assert cannot == Cannot("layout", 0, 0, tuple(world.layouts), unreachable=0, false=())
        assert network.asked == dict.fromkeys(world.layouts, 2)
        assert "no layout file could be had; 4 layout keys are missing" in str(cannot)


async def test_a_layout_file_that_nobody_had_the_first_time_is_found_the_second_time(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        found = await world.retriever(Forgetful(world.network, hidden=dict.fromkeys(world.layouts, 1))).layout()
        assert found.layout == world.registered.layout


async def test_layout_files_on_nodes_that_do_not_answer_are_told_from_lost_ones(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        for node in world.network.nodes:
            await node.behave(Behaviour(down=True))
        assert (await world.retriever().layout()).unreachable == 4


async def test_false_layout_files_are_passed_over(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        for key in world.layouts[:3]:
            await put_false(world, key)
        assert (await world.retriever().layout()).layout == world.registered.layout
        await world.lose(world.layouts[3:])
        cannot = await world.retriever().layout()
        assert cannot.false == tuple(sorted(world.layouts[:3]))
        assert set(cannot.missing) == set(world.layouts)


SMALL_COMMITMENT = Commitment(chunk_size=1 << 16, total_size=SMALL, num_chunks=3, root=bytes(32))


def twice_the_size(layout):
    """The layout of a file of another size under the hash of this one."""
    total = _core.Geometry(layout.size * 2).total_symbols
    return Layout(layout.size * 2, layout.digest, b"".join(key_of(bytes([n])) for n in range(total))).compact()


def with_block(layout, **changes):
    block = {**layout._document()["blocks"][0], **changes}
    return compact_json({"blocks": [block]})


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (lambda _: {"index_names_signature": to_base64(CREATOR.sign(b"another layout"))}, "signature"),
        (lambda _: {"counters": [8, 9, 10, 11]}, "counter"),
        (lambda _: {"counters": [10, 9, 8, 7]}, "counter"),
        (lambda _: {"digest": _core.blake3(b"another file")}, "another file"),
        (lambda layout: {"document": twice_the_size(layout), "commitment": SMALL_COMMITMENT}, "allows"),
        (lambda layout: {"document": with_block(layout, block_id=-1)}, "block_id"),
        (lambda layout: {"document": with_block(layout, size=layout.size + 70_000)}, "encoder parameters"),
        (lambda layout: {"document": with_block(layout, size=1 << 62)}, "size"),
        (
            lambda layout: {"document": with_block(layout, symbols=layout._document()["blocks"][0]["symbols"][:-1])},
            "symbols",
        ),
        (lambda layout: {"document": compact_json({"blocks": layout._document()["blocks"] * 2})}, "one block"),
        (lambda _: {"document": b"[" * 100_000}, "JSON"),
    ],
    ids=[
        "other signature",
        "counters of the next place",
        "counters in another order",
        "layout of another file",
        "beyond the commitment",
        "negative block id",
        "size that is not the parameters'",
        "size without bound",
        "a symbol too few",
        "two blocks",
        "nested without bound",
    ],
)
async def test_true_layout_files_that_contradict_the_action_are_an_error(tmp_path, wrong, complaint):
    async with a_world(tmp_path, noise(SMALL)) as world:
        layout = world.registered.layout
        await replace_action(world, Forger(layout, **wrong(layout)).forge())
        with pytest.raises(InvalidArtefact, match=complaint):
            await world.retriever().layout()


async def test_a_layout_as_large_as_the_commitment_allows_is_taken(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        commitment = Commitment(SMALL // 3, SMALL - 40_000, 3, bytes(32))
        await replace_action(world, Forger(world.registered.layout, commitment=commitment).forge())
        assert (await world.retriever().layout()).layout == world.registered.layout


@pytest.mark.parametrize("with_size", [True, False], ids=["size stated", "size not stated"])
async def test_a_bomb_among_the_signed_layout_files_is_refused(tmp_path, with_size):
    async with a_world(tmp_path, noise(SMALL)) as world:
        compressor = zstandard.ZstdCompressor(write_content_size=with_size)
        bomb = compressor.compress(bytes(256 << 20))
        document = to_base64(world.registered.layout.compact())
        good = compressed(f"{document}.{to_base64(CREATOR.sign(document.encode()))}.8".encode())
        await replace_action(world, Forger(world.registered.layout, layout_frames=[bomb, good]).forge())
        assert (await world.retriever().layout()).layout == world.registered.layout
        await world.lose(world.layouts[1:])
        cannot = await world.retriever().layout()
        assert cannot.false == (key_of(bomb),)


# When it ends, and how.


@pytest.mark.parametrize("surplus", [-1, 0, 1])
@pytest.mark.parametrize("place", ["start", "end", *(f"fifth {n}" for n in range(1, 6))])
async def test_survivors_in_any_stretch_of_the_layout_are_all_found(tmp_path, place, surplus):
    async with a_world(tmp_path, noise(MEDIUM), seed=surplus + 1) as world:
        count = 17 + surplus
        if place in ("start", "end"):
            survivors = range(count) if place == "start" else range(100 - count, 100)
        else:
            fifth = int(place[-1]) - 1
            survivors = sorted(random.Random(place).sample(range(20 * fifth, 20 * fifth + 20), count))
        await world.keep_symbols(survivors)
        outcome = await gather(world)
        async with work_area(world) as work:
            # All sources together need no repair beside them.
            assert work.spool.held() == list(survivors)[: 17 if place == "start" else None]
            assert isinstance(outcome, Gathered) == work.spool.decodable(_core.Job())
        if surplus:
            assert isinstance(outcome, Gathered) == (surplus > 0)
        if isinstance(outcome, Gathered):
            assert await decoded(world) == world.data
        else:
            assert (outcome.have, outcome.needed, len(outcome.missing)) == (count, 17, 100 - count)


TOTAL = 15
FATES = st.sampled_from(["true", "missing", "false"])
DISASTERS = st.fixed_dictionaries(
    {
        # Mostly few symbols with a true copy somewhere, so that K is near.
        "alive": st.sets(st.integers(0, TOTAL - 1), max_size=8),
        "fates": st.lists(st.tuples(FATES, FATES, FATES), min_size=TOTAL, max_size=TOTAL),
        "behaviours": st.tuples(
            *[st.sampled_from([Behaviour(), Behaviour(delay=9.0), Behaviour(delay=11.0), Behaviour(down=True)])] * 3
        ),
        "slow": st.dictionaries(st.integers(0, TOTAL - 1), st.floats(0, 600), max_size=4),
        "seed": st.integers(0, 3),
    }
)


async def survive(directory, disaster):
    behaviours = disaster["behaviours"]
    async with a_world(directory, noise(SMALL), nodes=3, replicas=3, id_files=1, seed=disaster["seed"]) as world:
        reachable = set()
        for esi, (key, fates) in enumerate(zip(world.symbols, disaster["fates"], strict=True)):
            for node, behaviour, fate in zip(world.network.nodes, behaviours, fates, strict=True):
                if fate == "true" and esi in disaster["alive"]:
                    if not behaviour.down and behaviour.delay < world.network.request_seconds:
                        reachable.add(esi)
                    continue
                (value,) = (await node.get([key])).values()
                await node.delete([key])
                if fate == "false":
                    await node.put([(key, flipped(value, esi * 1000))])
        for node, behaviour in zip(world.network.nodes, behaviours, strict=True):
            await node.behave(behaviour)
        delays = {world.symbols[esi]: delay for esi, delay in disaster["slow"].items()}
        outcome = await gather(world, Slow(world.network, delays))
        async with work_area(world) as work:
            held = set(work.spool.held())
            assert held <= reachable
            assert isinstance(outcome, Gathered) == work.spool.decodable(_core.Job())
        if isinstance(outcome, Cannot):
            assert held == reachable
            assert outcome.have == len(reachable) < 3 + 2
            return
        assert len(reachable) >= 3
        assert await decoded(world) == world.data


@given(DISASTERS)
def test_retrieval_ends_decoded_exactly_when_enough_true_symbols_can_be_reached(disaster):
    with tempfile.TemporaryDirectory() as directory:
        clock = trio.testing.MockClock(autojump_threshold=0)
        trio.run(survive, Path(directory), disaster, clock=clock)


async def test_originals_are_taken_by_their_key_alone(tmp_path):
    """Layout files and index files in one go; what is false or missing is left out, and was asked for twice."""
    async with a_world(tmp_path, noise(SMALL)) as world:
        sink = Collector()
        await world.network.retrieve(world.registered.id_files, need=8, sink=sink)
        lost, false, *rest = world.registered.id_files
        await world.lose([lost])
        await put_false(world, false)
        network = Recording(world.network)
        assert await world.retriever(network).originals(world.registered.id_files) == {
            key: sink.values[key] for key in rest
        }
        assert network.asked == {lost: 2, false: 2, **dict.fromkeys(rest, 1)}
