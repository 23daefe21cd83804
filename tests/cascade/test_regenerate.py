import pytest
from attrs import evolve

from lep6 import _core
from lep6.cascade.ids import key_text, read_id_file
from lep6.cascade.publish import Published, Rank
from lep6.cascade.regenerate import regenerate_id_files
from lep6.cascade.reseed import Refusal, Refused, Reseeded, Stage
from lep6.cascade.text import to_base64
from networks import Forger, Forgetful, Recording, compressed, compressed_otherwise, replace_action
from world import BLOCKING, CREATOR, a_world, noise

SMALL = 150_000  # K = 3 of 15 symbols


async def regenerate(world, network=None):
    retriever = world.retriever(network)
    return await regenerate_id_files(retriever, await retriever.layout())


async def stage(world, network=None):
    return await world.reseeder(network).reseed(world.registered.action, then=Stage("12"))


async def made_otherwise(world, *which):
    """The world's id files of these kinds come from another compressor."""
    made = Forger(world.registered.layout, **dict.fromkeys(which, compressed_otherwise)).forge()
    await replace_action(world, made)
    return {**made.layouts, **made.indexes}


def frames(id_files):
    return {file.key: file.frame for file in (*id_files.layouts, *id_files.indexes)}


async def test_all_id_files_are_made_again_from_one_layout_file(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        await world.lose([*world.layouts[1:], *world.indexes])
        network = Recording(world.network)
        id_files = await regenerate(world, network)
        assert [file.key for file in id_files.layouts] == world.layouts
        assert [file.key for file in id_files.indexes] == world.indexes
        assert id_files.lost == ()
        assert not network.asked.keys() & set(world.indexes)
        for counter, file in enumerate(id_files.indexes, world.retriever().metadata.first_counter):
            assert read_id_file(file.key, file.frame).counter == counter


async def test_id_files_are_ranked_by_what_was_seen_of_them(tmp_path):
    async with a_world(tmp_path, noise(SMALL), id_files=6) as world:
        await world.lose(world.layouts[:5])
        retriever = world.retriever()
        found = await retriever.layout()
        ranks = (await regenerate_id_files(retriever, found)).ranks
        assert ranks[world.layouts[5]] == Rank.FOUND
        assert {key for key in ranks if ranks[key] == Rank.MISSING} == found.missing
        assert found.missing <= set(world.layouts[:5])
        assert all(ranks[key] == Rank.UNASKED for key in world.indexes)


KINDS = [["compress_layouts"], ["compress_indexes"], ["compress_layouts", "compress_indexes"]]


@pytest.mark.parametrize("which", KINDS, ids="+".join)
async def test_originals_stand_in_for_id_files_of_another_compressor(tmp_path, which):
    async with a_world(tmp_path, noise(SMALL)) as world:
        originals = await made_otherwise(world, *which)
        outcome = await stage(world)
        assert isinstance(outcome, Reseeded)
        assert outcome.staged.manifest.irreproducible == ()
        pack = outcome.staged.id_files
        assert [key for key, _, _ in pack.entries()] == list(world.registered.id_files)
        assert pack.read(range(8)) == list(originals.values())


async def test_only_those_id_files_are_fetched_that_cannot_be_made_again(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        await made_otherwise(world, "compress_indexes")
        network = Recording(world.network)
        await regenerate(world, network)
        (originals,) = [call for call in network.calls if call.answered & set(world.indexes)]
        assert originals.answered == set(world.indexes)


@pytest.mark.parametrize("which", KINDS, ids="+".join)
async def test_originals_that_are_lost_are_named_and_the_rest_is_published(tmp_path, which):
    async with a_world(tmp_path, noise(SMALL)) as world:
        await made_otherwise(world, *which)
        lost = []
        if "compress_layouts" in which:
            lost += world.layouts[1:3]
        if "compress_indexes" in which:
            lost += world.indexes[:3]
        await world.lose([*lost, *world.symbols[:10]])
        outcome = await stage(world)
        manifest = outcome.staged.manifest
        assert manifest.irreproducible == tuple(key_text(key) for key in lost)
        assert manifest.layout_files + manifest.index_files == 8 - len(lost)
        left = [key for key in world.registered.id_files if key not in lost]
        assert [key for key, _, _ in outcome.staged.id_files.entries()] == left
        assert isinstance(await world.publisher().publish(outcome.staged), Published)
        await world.lose([*world.symbols[10:], *lost])
        assert await world.read_back() == world.data


async def test_a_file_whose_index_files_are_all_lost_for_good_is_refused(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        await made_otherwise(world, "compress_indexes")
        await world.lose(world.indexes)
        network = Recording(world.network)
        outcome = await stage(world, network)
        assert isinstance(outcome, Refused)
        assert outcome.why is Refusal.IRREPRODUCIBLE
        assert "4 layout files and 0 index files" in str(outcome)
        assert network.asked.keys() & set(world.indexes) == set(world.indexes)
        assert all(network.asked[key] == 2 for key in world.indexes)
        assert not network.asked.keys() & set(world.symbols)
        assert not world.staging.exists()


async def test_a_file_whose_layout_files_are_all_lost_for_good_is_refused(tmp_path):
    """The last one goes after the layout was read from it."""
    async with a_world(tmp_path, noise(SMALL)) as world:
        await made_otherwise(world, "compress_layouts")
        await world.lose(world.layouts[1:])
        outcome = await stage(world, Forgetful(world.network, served={world.layouts[0]: 1}))
        assert isinstance(outcome, Refused)
        assert outcome.why is Refusal.IRREPRODUCIBLE
        assert "0 layout files and 4 index files" in str(outcome)


async def test_originals_that_nobody_had_the_first_time_are_found_the_second_time(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        originals = await made_otherwise(world, "compress_indexes")
        id_files = await regenerate(world, Forgetful(world.network, hidden=dict.fromkeys(world.indexes, 1)))
        assert frames(id_files) == originals


async def test_an_original_that_says_something_else_does_not_stand_in(tmp_path):
    """The signed index lists a true layout file at each place but one, which is that of another place."""
    async with a_world(tmp_path, noise(SMALL)) as world:
        document = to_base64(world.registered.layout.compact())
        signed = f"{document}.{to_base64(CREATOR.sign(document.encode()))}"
        listed = [compressed(f"{signed}.{counter}".encode()) for counter in (7, 8, 70)]
        await replace_action(world, Forger(world.registered.layout, layout_frames=listed).forge())
        astray = world.layouts[2]
        await world.lose([astray])
        network = Recording(world.network)
        retriever = world.retriever(network)
        found = await retriever.layout()
        await world.network.store([(astray, listed[2])])
        id_files = await regenerate_id_files(retriever, found)
        assert astray in network.calls[-1].retrieval.found
        assert [file.key for file in id_files.layouts] == world.layouts[:2]
        assert id_files.lost == (astray,)


async def test_what_is_made_again_is_proved_by_the_ids_of_the_action(tmp_path):
    """A layout signed twice: the text at hand is true, and the index lists the files of the other signature."""
    async with a_world(tmp_path, noise(SMALL)) as world:
        retriever = world.retriever()
        found = await retriever.layout()
        other = evolve(found.text, signature=to_base64(CREATOR.sign(b"once more")))
        id_files = await regenerate_id_files(retriever, evolve(found, text=other))
        assert id_files.layouts == []
        assert id_files.lost == tuple(world.layouts)
        assert [file.key for file in id_files.indexes] == world.indexes


async def test_the_room_for_id_files_is_counted_by_their_bytes(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        id_files = await regenerate(world)
        assert id_files.size == sum(map(len, frames(id_files).values()))
        outcome = await stage(world)
        assert (outcome.staged.directory / "id_files.pack").stat().st_size == id_files.size
        assert await BLOCKING.run(lambda: outcome.staged.id_files.check(_core.Job())) == []
