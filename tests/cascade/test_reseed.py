import errno
import os
import random
import shutil
import tempfile
from pathlib import Path

import pytest
import trio
from attrs import evolve

from lep6 import _core
from lep6.cascade.commitment import Commitment, commit
from lep6.cascade.publish import Deferred, Rank
from lep6.cascade.reseed import Publish, Refusal, Refused, Republished, Reseeded, Stage
from lep6.cascade.retrieve import Cannot
from lep6.cascade.signatures import SignedBy
from lep6.cascade.staging import discard_staged, open_staged
from lep6.cascade.text import to_base64
from lep6.devnet.registration import KnownAccounts
from lep6.devnet.store import Behaviour
from lep6.errors import InvalidAction, InvalidArtefact, NoSpace, StagingExists
from lep6.keys import KeyKind, PrivateKey
from lep6.model import ActionState, key_of
from networks import Collector, Crash, Forger, Fuse, FusedJournal, FusedNetwork, Recording, Slow, replace_action
from world import BLOCKING, CREATOR, a_world, noise, pattern

SMALL = 150_000  # K = 3 of 15 symbols
MEDIUM = 1_087_881  # K = 17 of 100 symbols
STRANGER = PrivateKey(KeyKind.ETHEREUM, bytes(range(1, 33)))


async def stage(world, network=None, **options):
    return await world.reseeder(network, **options).reseed(world.registered.action, then=Stage("12"))


async def republish(world, network=None, **options):
    return await world.reseeder(network, **options).reseed(
        world.registered.action, then=Publish(world.publisher(network))
    )


def left_behind(world):
    """What lies in the staging root: stagings, and work areas."""
    root = world.staging
    entries = {path.name for path in root.iterdir()} if root.exists() else set()
    work = {path.name for path in (root / ".work").iterdir()} if ".work" in entries else set()
    return entries - {".work"}, work


async def journalled(ledger):
    return await ledger._database.read(
        lambda connection: connection.execute("SELECT staging FROM publishes").fetchall()
    )


async def packets(world, esis):
    """These symbols, as the network has them."""
    sink = Collector()
    keys = [world.symbols[esi] for esi in esis]
    await world.network.retrieve(keys, need=len(keys), sink=sink)
    return [sink.values[key] for key in keys]


async def test_staging_writes_the_whole_file_to_disk_and_nothing_into_the_network(tmp_path):
    async with a_world(tmp_path, noise(MEDIUM)) as world:
        await world.keep_symbols(range(40, 70))
        before = await world.stored()
        outcome = await stage(world)
        assert isinstance(outcome, Reseeded)
        assert await world.stored() == before
        assert left_behind(world) == ({"12"}, {"12"})
        assert await journalled(world.ledger) == []
        staged = await open_staged(world.staging, "12", blocking=BLOCKING)
        staged.check(_core.Job())
        assert staged.reconstructed.read_bytes() == world.data
        assert [key for key, _, _ in staged.symbols.entries()] == world.symbols
        assert [key for key, _, _ in staged.id_files.entries()] == list(world.registered.id_files)
        manifest = staged.manifest
        assert (manifest.op_id, manifest.ticket, manifest.size) == ("12", "7", MEDIUM)
        assert manifest.manifest_hash == to_base64(_core.blake3(world.data))
        assert manifest.irreproducible == ()


async def test_a_reseed_tells_how_much_it_fetched_and_how_much_was_false(tmp_path):
    async with a_world(tmp_path, noise(MEDIUM), nodes=3, replicas=1) as world:
        liar = world.network.nodes[1]
        await liar.behave(Behaviour(lying=1.0))
        lies = len(await liar.keys() & set(world.symbols[:17]))
        outcome = await stage(world)
        assert lies
        assert outcome.fetched == 17 + 2
        assert outcome.false >= lies
        assert outcome.staged.reconstructed.read_bytes() == world.data


async def test_a_staging_ranks_each_value_by_what_the_retrieval_saw_of_it(tmp_path):
    async with a_world(tmp_path, noise(MEDIUM)) as world:
        await world.keep_symbols(range(4, 90))
        network = Recording(world.network)
        outcome = await stage(world, network)
        asked = network.asked
        for key, _, rank in outcome.staged.symbols.entries():
            lost = key in world.symbols[:4] or key in world.symbols[90:]
            assert rank == (Rank.UNASKED if key not in asked else Rank.MISSING if lost else Rank.FOUND)


async def test_republishing_puts_everything_back_and_leaves_nothing_on_disk(tmp_path):
    async with a_world(tmp_path, noise(MEDIUM)) as world:
        everything = await world.stored()
        await world.keep_symbols(range(60, 80))
        await world.lose([*world.layouts[1:], *world.indexes])
        outcome = await republish(world)
        assert isinstance(outcome, Republished)
        assert outcome.published.values == 100 + 8
        assert await world.stored() == everything
        assert left_behind(world) == (set(), set())
        assert await journalled(world.ledger) == []


async def outlives(world, survivors):
    """Whether the file is republished from these symbols and one layout file, and read back when they are lost, too."""
    await world.keep_symbols(survivors)
    await world.lose([*world.layouts[1:], *world.indexes])
    assert isinstance(await republish(world), Republished)
    await world.lose([*(world.symbols[esi] for esi in survivors), world.layouts[0]])
    return await world.read_back() == world.data


@pytest.mark.parametrize(
    ("data", "total", "needed"),
    [
        (noise(1), 7, 1),
        (bytes(1), 7, 1),
        (noise(65_528), 7, 1),
        (noise(65_529), 8, 2),
        (noise(1_061_668), 99, 17),
        (noise(1_074_775), 100, 17),
        (noise(1_087_881), 100, 17),
        (noise(1_087_882), 101, 17),
        (pattern(10_900_000), 999, 167),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else "",
)
async def test_a_file_of_any_size_outlives_the_loss_of_everything_that_had_survived(tmp_path, data, total, needed):
    async with a_world(tmp_path, data, nodes=3, replicas=1) as world:
        assert (len(world.symbols), world.needed) == (total, needed)
        assert await outlives(world, range(max(total - needed - 2, 1), total))


async def test_a_file_of_64_mib_outlives_the_loss_of_everything_that_had_survived():
    # Too large for the directories that pytest keeps.
    with tempfile.TemporaryDirectory() as directory:
        async with a_world(Path(directory), noise(64 << 20), nodes=2, replicas=1) as world:
            assert (len(world.symbols), world.needed) == (6146, 1025)
            assert await outlives(world, world.random.sample(range(6146), 1027))


async def test_a_file_is_staged_for_one_op_after_another(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        for op_id in ("12", "13"):
            outcome = await world.reseeder().reseed(world.registered.action, then=Stage(op_id))
            assert isinstance(outcome, Reseeded)
            assert outcome.staged.name == op_id


async def test_a_file_is_republished_again_after_the_next_disaster(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        everything = await world.stored()
        for kept in (range(5), range(10, 15)):
            await world.keep_symbols(kept)
            assert isinstance(await republish(world), Republished)
            assert await world.stored() == everything


async def test_a_republish_that_was_put_off_goes_on_with_its_staging(tmp_path, autojump_clock):
    async with a_world(tmp_path, noise(SMALL), nodes=3) as world:
        await world.keep_symbols(range(5, 10))
        for node in world.network.nodes[1:]:
            await node.behave(Behaviour(down=True))
        deferred = await republish(world)
        assert isinstance(deferred, Deferred)
        assert left_behind(world) == ({"ticket-7"}, {"ticket-7"})
        network = Recording(world.network)
        assert await republish(world, network) == deferred
        for node in world.network.nodes:
            await node.behave(Behaviour())
        await trio.sleep(deferred.not_before - trio.current_time())
        assert isinstance(await republish(world, network), Republished)
        assert len(network.calls) == 1  # the sample that is read back
        assert left_behind(world) == (set(), set())


@pytest.mark.parametrize("is_after", [False, True], ids=["before its effect", "after its effect"])
async def test_a_republish_that_dies_at_any_call_is_finished_by_the_next_one(tmp_path, is_after):
    async with a_world(tmp_path, noise(SMALL)) as world:
        everything = await world.stored()
        died_at = 0
        while True:
            await world.keep_symbols(random.Random(died_at).sample(range(15), 6))
            await world.lose([*world.layouts[1:], *world.indexes])
            fuse = Fuse(died_at + 1, is_after)
            network = FusedNetwork(world.network, fuse)
            publisher = world.publisher(network, FusedJournal(world.ledger, fuse))
            try:
                await world.reseeder(network).reseed(world.registered.action, then=Publish(publisher))
                break
            except Crash:
                died_at += 1
            assert isinstance(await republish(world), Republished)
            assert await world.stored() == everything
            assert left_behind(world) == (set(), set())
            assert await journalled(world.ledger) == []
        assert died_at >= 7  # layout, symbols, load, store, save, read back, forget


async def test_a_staging_that_exists_is_kept(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        first = await stage(world)
        network = Recording(world.network)
        with pytest.raises(StagingExists):
            await stage(world, network)
        assert not network.asked.keys() & set(world.symbols)
        assert left_behind(world) == ({"12"}, {"12"})
        first.staged.check(_core.Job())


async def test_a_directory_without_a_manifest_is_no_staging(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        outcome = await stage(world)
        (outcome.staged.directory / "manifest.json").unlink()
        assert isinstance(await stage(world), Reseeded)


async def test_a_discarded_staging_is_made_again_from_the_symbols_at_hand(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        await stage(world)
        await discard_staged(world.staging, "12", blocking=BLOCKING)
        await world.lose(world.symbols)
        outcome = await stage(world)
        assert outcome.staged.reconstructed.read_bytes() == world.data


@pytest.mark.parametrize("free", [0, 64 << 20, (64 << 20) + SMALL + 18 * 65_532])
async def test_without_room_no_symbol_is_asked_for_and_nothing_is_left(tmp_path, monkeypatch, free):
    async with a_world(tmp_path, noise(SMALL)) as world:
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))
        network = Recording(world.network)
        with pytest.raises(NoSpace, match=f"{free} bytes free"):
            await stage(world, network)
        assert not network.asked.keys() & set(world.symbols)
        assert left_behind(world) == (set(), set())


async def test_a_disk_that_runs_full_while_room_is_reserved_is_left_as_it_was(tmp_path, monkeypatch):
    async with a_world(tmp_path, noise(SMALL)) as world:

        def full(descriptor, offset, size):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "posix_fallocate", full)
        with pytest.raises(NoSpace):
            await stage(world)
        assert left_behind(world) == (set(), set())


@pytest.mark.parametrize("run", [stage, republish])
async def test_a_file_with_too_few_symbols_left_leaves_no_staging(tmp_path, run):
    async with a_world(tmp_path, noise(MEDIUM)) as world:
        await world.keep_symbols(range(30, 46))
        outcome = await run(world)
        assert isinstance(outcome, Cannot)
        assert (outcome.have, outcome.needed) == (16, 17)
        stagings, work = left_behind(world)
        assert not stagings
        assert len(work) == 1


async def test_a_file_without_a_layout_file_leaves_nothing(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        await world.lose(world.layouts)
        outcome = await stage(world)
        assert (outcome.what, outcome.missing) == ("layout", tuple(world.layouts))
        assert left_behind(world) == (set(), set())


async def test_a_cancelled_reseed_leaves_its_symbols_and_can_be_repeated(tmp_path, autojump_clock):
    async with a_world(tmp_path, noise(MEDIUM)) as world:
        await world.lose(world.symbols[:6])
        with trio.move_on_after(1) as scope:
            await stage(world, Slow(world.network, dict.fromkeys(world.symbols[17:], 60.0)))
        assert scope.cancelled_caught
        assert left_behind(world) == (set(), {"12"})
        network = Recording(world.network)
        outcome = await stage(world, network)
        assert outcome.staged.reconstructed.read_bytes() == world.data
        assert not network.asked.keys() & set(world.symbols[6:17])


async def test_of_two_reseeds_of_one_op_at_once_one_stages_and_the_other_leaves_no_trace(tmp_path, autojump_clock):
    async with a_world(tmp_path, noise(SMALL)) as world, trio.open_nursery() as nursery:
        outcomes = []

        async def slowly():
            outcomes.append(await stage(world, Slow(world.network, delay=5.0)))

        nursery.start_soon(slowly)
        await trio.sleep(7)
        with pytest.raises(InvalidArtefact):
            await stage(world)
        await trio.sleep(60)
        assert isinstance(outcomes[0], Reseeded)
        assert left_behind(world) == ({"12"}, {"12"})


async def test_an_action_that_has_no_file_is_refused_before_the_network_is_asked(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        network = Recording(world.network)
        action = evolve(world.registered.action, state=ActionState.FAILED)
        with pytest.raises(InvalidAction, match="FAILED"):
            await world.reseeder(network).reseed(action, then=Stage("12"))
        assert not network.calls


# What could be rebuilt, and must not be staged.


async def refused(world, run):
    """The refusal of a file; nothing was staged, sent or journalled for it."""
    before = await world.stored()
    outcome = await run(world)
    assert isinstance(outcome, Refused)
    assert await world.stored() == before
    assert not left_behind(world)[0]
    assert await journalled(world.ledger) == []
    return outcome


@pytest.mark.parametrize("run", [stage, republish])
async def test_a_file_with_another_hash_than_the_action_states_is_refused(tmp_path, run):
    async with a_world(tmp_path, noise(SMALL)) as world:
        layout = evolve(world.registered.layout, digest=_core.blake3(b"the file that was meant"))
        await replace_action(world, Forger(layout).forge())
        outcome = await refused(world, run)
        assert outcome.why is Refusal.NOT_THE_FILE
        assert to_base64(layout.digest) in str(outcome)


async def lie_about_repairs(world):
    """The layout's repairs are packets with another content, which the network holds; the file is true."""
    repairs = [packet[:4] + noise(65_528, esi) for esi, packet in enumerate(await packets(world, range(3, 15)))]
    keys = [*world.symbols[:3], *map(key_of, repairs)]
    layout = evolve(world.registered.layout, packed_symbols=b"".join(keys))
    await replace_action(world, Forger(layout).forge())
    await world.network.store(list(zip(keys[3:], repairs, strict=True)))


@pytest.mark.parametrize("lost", [0, 1, 3])
@pytest.mark.parametrize("run", [stage, republish])
async def test_a_layout_with_false_repairs_is_refused(tmp_path, run, lost):
    async with a_world(tmp_path, noise(SMALL)) as world:
        await lie_about_repairs(world)
        await world.lose(world.symbols[:lost])
        assert (await refused(world, run)).why is Refusal.FALSE_LAYOUT


async def test_a_layout_with_false_padding_is_refused(tmp_path):
    """Its last source is true but for a byte behind the end of the file."""
    async with a_world(tmp_path, noise(SMALL)) as world:
        (last,) = await packets(world, [2])
        padded = last[:-1] + b"\x01"
        symbols = [*world.symbols[:2], key_of(padded), *world.symbols[3:]]
        layout = evolve(world.registered.layout, packed_symbols=b"".join(symbols))
        await replace_action(world, Forger(layout).forge())
        await world.network.store([(key_of(padded), padded)])
        assert (await refused(world, stage)).why is Refusal.FALSE_LAYOUT


@pytest.mark.parametrize(
    "other",
    [
        lambda made: evolve(made, root=bytes(32)),
        lambda made: evolve(made, num_chunks=made.num_chunks + 1, total_size=made.total_size + made.chunk_size),
        lambda made: Commitment(made.chunk_size // 2, made.total_size, made.num_chunks * 2, made.root),
    ],
    ids=["root", "a chunk more", "other chunks"],
)
async def test_a_file_that_was_not_committed_to_is_refused(tmp_path, other):
    async with a_world(tmp_path, noise(SMALL)) as world:
        made = commit(tmp_path / "original.bin", _core.Job())
        await replace_action(world, Forger(world.registered.layout, commitment=other(made)).forge())
        outcome = await refused(world, stage)
        assert outcome.why is Refusal.NOT_THE_FILE
        assert "commitment" in outcome.detail
        await replace_action(world, Forger(world.registered.layout, commitment=made).forge())
        assert isinstance(await stage(world), Reseeded)


async def test_a_refused_file_is_refused_again_from_the_symbols_at_hand(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        await lie_about_repairs(world)
        await refused(world, stage)
        await world.lose(world.symbols)
        assert (await refused(world, stage)).why is Refusal.FALSE_LAYOUT


# Signatures.


async def test_good_signatures_pass_where_they_are_a_gate(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        outcome = await stage(world, strict_signatures=True)
        assert (outcome.signatures.index, outcome.signatures.layout) == (SignedBy.CREATOR, SignedBy.CREATOR)


@pytest.mark.parametrize("known", [{CREATOR.public.address: STRANGER.public}, {}], ids=["another key", "no key"])
async def test_signatures_of_nobody_known_stop_only_where_they_are_a_gate(tmp_path, known):
    async with a_world(tmp_path, noise(SMALL)) as world:
        world.accounts = KnownAccounts(known, {})
        network = Recording(world.network)
        outcome = await stage(world, network, strict_signatures=True)
        assert outcome.why is Refusal.SIGNATURES
        assert not network.asked.keys() & set(world.symbols)
        assert left_behind(world) == (set(), set())
        outcome = await stage(world)
        assert outcome.signatures.index is outcome.signatures.layout is SignedBy.NOBODY


async def test_a_layout_signed_by_another_than_its_index_is_stopped_by_the_gate(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        await replace_action(world, Forger(world.registered.layout, layout_signer=STRANGER).forge())
        outcome = await stage(world, strict_signatures=True)
        assert outcome.why is Refusal.SIGNATURES
        outcome = await stage(world)
        assert (outcome.signatures.index, outcome.signatures.layout) == (SignedBy.CREATOR, SignedBy.NOBODY)


@pytest.mark.parametrize("shown", [{}, {STRANGER.public.address: STRANGER.public}], ids=["no key yet", "its new key"])
async def test_a_creator_who_migrated_passes_by_the_old_account(tmp_path, shown):
    async with a_world(tmp_path, noise(SMALL)) as world:
        moved = evolve(world.registered.action, creator=STRANGER.public.address)
        world.registered = evolve(world.registered, action=moved)
        world.accounts = KnownAccounts(shown, {})
        assert (await stage(world, strict_signatures=True)).why is Refusal.SIGNATURES
        world.accounts = KnownAccounts(shown, {STRANGER.public.address: CREATOR.public.address})
        outcome = await stage(world, strict_signatures=True)
        assert outcome.signatures.index is outcome.signatures.layout is SignedBy.LEGACY_CREATOR


async def test_an_interchain_creator_passes_by_the_key_in_the_action(tmp_path):
    async with a_world(tmp_path, noise(SMALL)) as world:
        action = evolve(world.registered.action, app_pubkey=CREATOR.public.compressed)
        world.registered = evolve(world.registered, action=action)
        world.accounts = KnownAccounts({}, {})
        outcome = await stage(world, strict_signatures=True)
        assert outcome.signatures.index is outcome.signatures.layout is SignedBy.APP_KEY
