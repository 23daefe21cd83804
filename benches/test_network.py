"""The embedded network: publishing to it, reading back from it, and the whole walk of a file."""

import os
import random

import pytest
import trio

from lep6.blocking import Threads, WallClock
from lep6.cascade.metadata import read_metadata
from lep6.cascade.publish import Published, Publisher
from lep6.cascade.reseed import Stage
from lep6.cascade.retrieve import Retriever
from lep6.devnet.network import EmbeddedNetwork
from lep6.devnet.rescue import Disaster, Rescue
from lep6.heal.ledger import Ledger
from world import PROGRESS, a_world

BLOCKING = Threads(os.cpu_count() or 1)
ID_FILES = 50


@pytest.fixture(scope="module")
def healthy(tmp_path_factory, material):
    """The directory of a network that holds the file, the file's action, and a staging of it."""
    directory = tmp_path_factory.mktemp("healthy")

    async def prepare():
        async with a_world(directory, material.data, id_files=ID_FILES) as world:
            action = world.registered.action
            outcome = await world.reseeder().reseed(action, then=Stage("1"))
            return directory / "network", action, outcome.staged

    return trio.run(prepare)


def open_network(directory):
    return EmbeddedNetwork.open(directory, blocking=BLOCKING, random=random.Random(0))


def test_lep6_publishes(measure_async, healthy):
    _, _, staged = healthy

    async def work(directory):
        async with (
            open_network(directory / "network") as network,
            Ledger.open(directory / "ledger.db", "lumera1node", BLOCKING) as ledger,
        ):
            publisher = Publisher(network, ledger, BLOCKING, PROGRESS, random.Random(0), WallClock())
            return await publisher.publish(staged)

    published = measure_async("publish to 5 stores, 2 copies each", work)
    assert published == Published(len(staged.symbols) + len(staged.id_files))


def test_lep6_retrieves(measure_async, healthy, material):
    stores, action, _ = healthy

    async def work(directory):
        async with open_network(stores) as network:
            metadata = read_metadata(action)
            retriever = Retriever(action.ticket, metadata, network, BLOCKING, PROGRESS, random.Random(0))
            await retriever.to_file(directory / "work", "1", directory / "output")
            return (directory / "output").stat().st_size

    assert measure_async("retrieve from 5 stores that hold all", work) == len(material.data)


def test_lep6_rescues_a_file(measure_async, material, benchmark):
    stories = []

    async def work(directory):
        stories.append(await Rescue(directory, Disaster(), BLOCKING, PROGRESS).run(material.source))

    measure_async("the walk: register, disaster, heal, read back", work)
    assert all(story.recovered for story in stories)
    parts = [{phase.name: phase.seconds for phase in story.done} for story in stories]
    benchmark.extra_info["parts"] = min(parts, key=lambda seconds: sum(seconds.values()))
