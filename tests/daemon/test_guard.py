"""What the guard finds beside the chain: the ledger, the disk, the loop."""

import shutil
from types import SimpleNamespace

import pytest
import trio

from daemon.hosts import TICK, Host, ready
from healing import hang, in_a_world, raising
from lep6.daemon import guard
from lep6.daemon.guard import LOOP_SECONDS
from lep6.errors import StoreUnavailable
from lep6.heal.events import What


@in_a_world()
async def test_rows_and_stagings_are_counted(world):
    await world.disaster()
    host = Host(world, 0)
    async with host.open() as service:
        await ready(service)
        assert service.guard.rows == dict.fromkeys(
            ("accepted", "publishing", "closing", "intent_claim", "intent_vote", "voted"), 0
        )
        assert service.guard.staging_bytes == 0
        world.put_op()
        await world.until(lambda: host.seen(What.ACCEPTED))
        await trio.sleep(2 * TICK)
        assert {state: count for state, count in service.guard.rows.items() if count} == {"accepted": 1}
        assert service.guard.staging_bytes > 200_000
        status = await service.status()
        assert status["rows"]["accepted"] == 1


@in_a_world()
async def test_a_disk_that_is_nearly_full_makes_it_unready(world, monkeypatch):
    async with Host(world, 0).open() as service:
        await ready(service)
        monkeypatch.setattr(guard, "LEAST_FREE", 1 << 60)
        await trio.sleep(2 * TICK)
        ok, detail = service.checks.results()["disk"]
        assert not ok
        assert " MiB free " in detail
        assert service.checks.ready.is_set()
        monkeypatch.undo()
        await trio.sleep(2 * TICK)
        assert service.checks.is_ready


@in_a_world()
async def test_a_place_for_stagings_that_is_not_there_yet_is_no_fault(world):
    host = Host(world, 0)
    config = host.config(self_healing={"staging_dir": "not/yet/there"})
    async with host.open(config) as service:
        shutil.rmtree(host.directory / "not", ignore_errors=True)
        await service.guard._look_at_disk()
        assert service.checks.well()["disk"]


@in_a_world()
async def test_a_disk_that_cannot_be_looked_at_is_not_well(world, monkeypatch):
    async with Host(world, 0).open() as service:
        await ready(service)

        def refuse(_):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(guard.shutil, "disk_usage", refuse)
        await trio.sleep(2 * TICK)
        assert service.checks.results()["disk"] == (False, "[Errno 13] Permission denied")
        monkeypatch.undo()


@pytest.mark.parametrize("method", ["entries", "note_height"])
@in_a_world()
async def test_a_ledger_that_cannot_be_read_or_written_makes_it_unready(world, method, monkeypatch):
    async with Host(world, 0).open() as service:
        await ready(service)

        async def busy(*_):
            await trio.lowlevel.checkpoint()
            raise StoreUnavailable("it is busy")

        with monkeypatch.context() as patch:
            patch.setattr(type(service.heal.ledger), method, busy)
            await trio.sleep(2 * TICK)
            assert service.checks.results()["ledger"] == (False, "it is busy")
        await trio.sleep(2 * TICK)
        assert service.checks.is_ready


@in_a_world()
async def test_the_loop_is_thought_to_hang_when_no_tick_comes_for_long(world):
    async with Host(world, 0).open() as service:
        await ready(service)
        watched = service.guard
        patience = 3 * TICK + LOOP_SECONDS
        watched.heal.last_tick = trio.current_time() - patience
        assert watched.look_at_loop()
        watched.heal.last_tick -= 1
        assert not watched.look_at_loop()
        assert service.checks.results()["loop"][1].startswith("last tick ")
        watched.heal.last_tick = float("-inf")
        assert not watched.look_at_loop()
        assert service.checks.results()["loop"] == (False, "no tick yet")


@in_a_world()
async def test_a_clock_that_is_wrong_makes_the_chain_look_old_and_condemns_nobody(world):
    host = Host(world, 0)
    clock = SimpleNamespace(now=lambda: trio.current_time() + 3600)
    host.hooks["supernode"] = _nobody
    async with host.open(clock=clock) as service:
        await trio.sleep(100)
        ok, detail = service.checks.results()["chain"]
        assert not ok
        assert ", made 36" in detail
        assert not service.checks.well()["registration"]


async def _nobody(_, __):
    await trio.lowlevel.checkpoint()


@in_a_world()
async def test_while_one_question_hangs_nothing_else_does(world):
    host = Host(world, 0)
    async with host.open() as service:
        await ready(service)
        host.hooks["latest_block"] = hang
        await trio.sleep(60)
        well = service.checks.well()
        assert not well.pop("chain")
        assert all(well.values())


@in_a_world()
async def test_in_the_beginning_it_looks_often_and_then_once_a_tick(world):
    host, asked = Host(world, 0), []

    async def note(_, call):
        asked.append(trio.current_time())
        return await call()

    host.hooks["supernode"] = note
    async with host.open() as service:
        began = trio.current_time()
        await ready(service)
        assert trio.current_time() - began < 3
        await trio.sleep(300)
        assert len(asked) == 1, "the registration is asked for seldom"


@in_a_world()
async def test_a_chain_of_the_hosts_that_breaks_makes_it_unready_and_ends_nothing(world):
    host = Host(world, 0)
    async with host.open() as service:
        await ready(service)
        host.hooks["latest_block"] = raising(ConnectionResetError("by the host's own client"))
        await trio.sleep(3 * TICK)
        ok, detail = service.checks.results()["chain"]
        assert not ok
        assert "by the host's own client" in detail
        assert service.checks.well()["disk"]
        host.hooks.clear()
        await trio.sleep(3 * TICK)
        assert service.checks.is_ready


@in_a_world()
async def test_whom_the_chain_has_known_it_does_not_end_even_if_it_never_was_ready(world, monkeypatch):
    monkeypatch.setattr(guard, "LEAST_FREE", 1 << 60)
    host = Host(world, 0)
    async with host.open() as service:
        await trio.sleep(3 * TICK)
        assert service.checks.well()["registration"]
        assert not service.checks.is_ready
        host.hooks["supernode"] = _nobody
        await trio.sleep(2 * guard.REGISTRATION_SECONDS)
        assert not service.checks.well()["registration"]


@in_a_world()
async def test_the_disk_of_our_own_data_counts_too(world, monkeypatch):
    host = Host(world, 0)
    async with host.open() as service:
        await ready(service)
        real = guard._free
        data = host.config().data_dir
        monkeypatch.setattr(guard, "_free", lambda place: 5 << 20 if place == data else real(place))
        await trio.sleep(2 * TICK)
        assert service.checks.results()["disk"] == (False, "5 MiB free for stagings, or for our own data")
