"""`lep6 cascade republish`: an operator brings a file back without a heal op."""

import signal
from functools import partial
from random import Random

import pytest
import trio

from cli.daemons import PATIENCE, a_daemon, command
from daemon.hosts import HookedNetwork
from devnets import TICKET, a_devnet
from lep6.blocking import Threads
from lep6.cascade.reseed import Republished
from lep6.cli import EXIT_BAD_INPUT, EXIT_CANNOT
from lep6.config import load
from lep6.daemon.lock import only_one
from lep6.daemon.republish import DIRECTORY
from lep6.daemon.republish import republish as republish_
from lep6.daemon.run import Networks
from lep6.errors import AlreadyRunning
from lep6.ports import Placement
from world import PROGRESS

SUCCESS = f"ticket {TICKET}: 28 values are in the network"


def republish(path, ticket=TICKET):
    return command("cascade", "republish", ticket, "--config", path)


async def republished(devnet, path, others, tell=lambda _: None):
    """The same in this process, with a network to publish to."""
    return await republish_(
        load(path, {}),
        TICKET,
        Networks(others, devnet.box.network),
        blocking=Threads(2),
        progress=PROGRESS,
        random=Random(0),
        tell=tell,
    )


def stagings(devnet):
    root = devnet.directory / "node-0" / "lep6-data" / DIRECTORY
    return {path.name for path in root.iterdir() if path.is_dir()} - {".work"} if root.exists() else set()


async def test_a_file_that_is_nearly_lost_is_brought_back_beside_the_daemon(tmp_path):
    async with a_devnet(tmp_path, nodes=1) as devnet:
        path = devnet.write(0)
        async with a_daemon(path) as daemon:
            await daemon.heard("READY=1")
            assert not await devnet.is_published()
            code, text = await republish(path)
            assert (code, SUCCESS in text) == (0, True)
            daemon.tell(signal.SIGTERM)
            await daemon.end()
        assert await devnet.is_published()
        assert await devnet.reads_back_without_survivors()
        assert not devnet.chain.included, "the chain is told nothing"
        assert not stagings(devnet)


async def test_an_interrupted_one_goes_on_where_it_was(tmp_path):
    async with a_devnet(tmp_path, nodes=1) as devnet:
        path, begun = devnet.write(0), trio.Event()
        others = HookedNetwork(devnet.box.network)

        async def half(items, _):
            await devnet.box.network.store(items[: len(items) // 2])
            begun.set()
            await trio.sleep_forever()

        others.hooks["store"] = half
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(republished, devnet, path, others))
                await begun.wait()
                nursery.cancel_scope.cancel()
        assert not await devnet.is_published()
        assert stagings(devnet)
        await devnet.box.network.delete(devnet.registered.layout.symbols)  # what was rebuilt is not fetched again
        code, text = await republish(path)
        assert (code, SUCCESS in text) == (0, True)
        assert await devnet.is_published()
        assert not stagings(devnet)


async def test_two_at_a_time_are_one_too_many(tmp_path):
    async with a_devnet(tmp_path, nodes=1) as devnet:
        path = devnet.write(0)
        with only_one(path.parent / "lep6-data" / DIRECTORY), pytest.raises(AlreadyRunning):
            await republished(devnet, path, devnet.box.network)


async def test_a_publish_that_fails_is_told_of_and_tried_again(tmp_path):
    async with a_devnet(tmp_path, nodes=1) as devnet:
        told = []

        def tell(deferred):
            told.append(deferred.pending)
            others.hooks.clear()

        others = HookedNetwork(devnet.box.network, {"store": _takes_nothing})
        with trio.fail_after(PATIENCE):
            outcome = await republished(devnet, devnet.write(0), others, tell)
        assert told == [28]
        assert isinstance(outcome, Republished)
        assert await devnet.is_published()


async def _takes_nothing(items, _):
    await trio.lowlevel.checkpoint()
    return [Placement(key, 0, 2) for key, _ in items]


async def test_what_cannot_be_brought_back_is_said_in_a_line(tmp_path):
    async with a_devnet(tmp_path, nodes=1) as devnet:
        path = devnet.write(0)
        code, text = await republish(path, "99")
        assert (code, text) == (EXIT_BAD_INPUT, "lep6: the chain knows no action 99\n")
        await devnet.box.network.delete(devnet.survivors.symbols)
        code, text = await republish(path)
        assert code == EXIT_CANNOT
        assert text.splitlines()[-1].startswith(f"lep6: ticket {TICKET}: ")
