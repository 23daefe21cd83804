import random
from collections.abc import Awaitable, Callable

import pytest
import trio
from attrs import define

from lep6.cascade.publish import Published, Publisher
from lep6.cascade.retrieve import Retriever
from lep6.cascade.staging import Staged
from lep6.devnet import rescue
from lep6.devnet.network import EmbeddedNetwork
from lep6.devnet.registration import devnet_creator
from lep6.devnet.rescue import Disaster, Rescue
from lep6.devnet.store import Behaviour
from lep6.errors import InvalidArtefact
from lep6.heal.ledger import Ledger
from world import BLOCKING, PROGRESS, noise, pattern

WALK = [
    "register",
    "disaster",
    "reconstruct, prove, encode, stage",
    "publish",
    "delete all survivors",
    "read back",
]


async def walk(directory, data, **plan):
    file = directory / "file.bin"
    file.write_bytes(data)
    return await Rescue(directory / "network", Disaster(**plan), BLOCKING, PROGRESS).run(file)


@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("data", [noise(1), pattern(100_000), noise(2_000_000)], ids=lambda data: f"{len(data)} bytes")
async def test_a_file_comes_back_from_a_quarter_of_it(tmp_path, data, seed):
    story = await walk(tmp_path, data, seed=seed)
    assert story.recovered
    assert story.ending.startswith("the bytes are equal")
    assert story.size == len(data)
    assert [phase.name for phase in story.done] == WALK
    assert (tmp_path / "network" / "healed.bin").read_bytes() == data


async def test_the_story_tells_each_phase_in_numbers(tmp_path):
    story = await walk(tmp_path, noise(2_000_000))
    results = {phase.name: phase.result for phase in story.done}
    assert results["register"].startswith("184 symbols (31 needed) and 100 id files on 5 nodes, 2 copies each")
    assert "2 nodes gone; left: 46 of 184 symbols, 13 of 50 layout files, 13 of 50 index files" in results["disaster"]
    assert "184 symbols and 100 id files staged" in results[WALK[2]]
    assert "284 values stored" in results["publish"]
    assert "72 keys deleted, 0 left" in results["delete all survivors"]
    assert "2000000 bytes" in results["read back"]


async def test_a_walk_leaves_no_staging_no_work_and_no_journal_behind(tmp_path):
    await walk(tmp_path, noise(100_000))
    root = tmp_path / "network" / "staging"
    assert {path.name for path in root.iterdir()} == {".work"}
    assert not list((root / ".work").iterdir())
    assert not (tmp_path / "network" / "scratch").exists()
    path = tmp_path / "network" / "lep6" / "ledger.db"
    async with Ledger.open(path, devnet_creator().public.address, BLOCKING) as ledger:
        rows = await ledger._database.read(lambda database: database.execute("SELECT * FROM publishes").fetchall())
        assert rows == []


@define
class Double:
    """A publisher that does something else."""

    inner: Publisher
    act: Callable[[Publisher, Staged], Awaitable[Published]]

    @property
    def journal(self):
        return self.inner.journal

    async def publish_in_the_end(self, staged):
        return await self.act(self.inner, staged)


def publish_by(monkeypatch, act):
    monkeypatch.setattr(rescue, "Publisher", lambda *arguments: Double(Publisher(*arguments), act))


async def test_the_disaster_is_what_the_plan_says_until_the_publish(tmp_path, monkeypatch):
    behaviours, held = [], []

    async def look(publisher, staged):
        for node in publisher.network.nodes:
            behaviours.append(await node.behaviour())
            held.append(await node.keys())
        return await publisher.publish_in_the_end(staged)

    publish_by(monkeypatch, look)
    story = await walk(tmp_path, noise(2_000_000), seed=3)
    assert story.recovered
    dead = [keys for behaviour, keys in zip(behaviours, held, strict=True) if behaviour == Behaviour(down=True)]
    assert dead == [frozenset()] * 2
    assert len(frozenset().union(*held)) == 46 + 13 + 13


async def test_the_last_word_depends_on_the_publish(tmp_path, monkeypatch):
    async def pretend(publisher, staged):
        await trio.lowlevel.checkpoint()
        return Published(0)

    publish_by(monkeypatch, pretend)
    story = await walk(tmp_path, noise(100_000))
    assert not story.recovered
    assert "cannot rebuild: no layout file could be had" in story.ending
    assert [phase.name for phase in story.done] == WALK


@pytest.mark.parametrize(("kind", "ending"), [("symbols", "0 symbols of 31 needed"), ("id_files", "no layout file")])
async def test_a_publish_without_one_kind_of_values_is_found_out(tmp_path, monkeypatch, kind, ending):
    async def lose_again(publisher, staged):
        published = await publisher.publish_in_the_end(staged)
        await publisher.network.delete([key for key, _, _ in getattr(staged, kind).entries()])
        return published

    publish_by(monkeypatch, lose_again)
    story = await walk(tmp_path, noise(2_000_000))
    assert not story.recovered
    assert ending in story.ending


@define
class Careless:
    """A reader that gives another file than it was asked for."""

    inner: Retriever

    async def to_file(self, root, name, output):
        found = await self.inner.to_file(root, name, output)
        output.write_bytes(noise(100_000, seed=1))
        return found


async def test_other_bytes_are_not_recovered(tmp_path, monkeypatch):
    monkeypatch.setattr(rescue, "Retriever", lambda *arguments: Careless(Retriever(*arguments)))
    story = await walk(tmp_path, noise(100_000))
    assert not story.recovered
    assert "differ" in story.ending


async def test_nodes_that_cannot_hold_enough_copies_end_the_story_after_two_minutes(tmp_path, autojump_clock):
    story = await walk(tmp_path, noise(100_000), dead_nodes=4)
    assert not story.recovered
    assert "could not be published within 120 s" in story.ending
    assert trio.current_time() == pytest.approx(120)


async def test_the_same_seed_tells_the_same_story(tmp_path):
    results = []
    for name, seed in (("first", 4), ("second", 4), ("third", 5)):
        (tmp_path / name).mkdir()
        story = await walk(tmp_path / name, noise(100_000), seed=seed)
        async with EmbeddedNetwork.open(
            tmp_path / name / "network", blocking=BLOCKING, random=random.Random(0)
        ) as network:
            results.append(([phase.result for phase in story.done], [await node.keys() for node in network.nodes]))
    assert results[0] == results[1]
    assert results[1] != results[2]


async def test_an_empty_file_is_no_story(tmp_path):
    with pytest.raises(InvalidArtefact):
        await walk(tmp_path, b"")


async def test_too_few_survivors_end_the_story_and_it_says_why(tmp_path):
    story = await walk(tmp_path, noise(2_000_000), surviving=0.05)
    assert not story.recovered
    assert "cannot rebuild: 10 symbols of 31 needed" in story.ending
    assert [phase.name for phase in story.done] == WALK[:3]
    assert not (tmp_path / "network" / "healed.bin").exists()


async def test_a_disaster_that_leaves_nothing_of_a_kind_is_a_story(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    plan = Disaster(nodes=64, replicas=1, dead_nodes=62)
    story = await Rescue(tmp_path / "network", plan, BLOCKING, PROGRESS).run(tmp_path / "file")
    assert not story.recovered
