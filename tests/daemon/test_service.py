"""lep6 in a host on Trio: how it begins, what it takes from the host, and how it ends."""

from contextlib import AsyncExitStack

import pytest
import trio
from grpclib.const import Cardinality
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from prometheus_client import CollectorRegistry, generate_latest
from structlog import BoundLogger, wrap_logger
from structlog.contextvars import merge_contextvars
from structlog.testing import CapturingLogger, capture_logs

from daemon.hosts import STOP, Host, HostListener, ready
from devnets import a_devnet
from healing import away, hang, in_a_world, raising
from lep6.artefact_stream import ArtefactService
from lep6.daemon.service import LEDGER
from lep6.daemon.wiring import ARTEFACTS
from lep6.errors import AlreadyRunning, ForeignLedger, KeyNotOpened, NoNetwork, NotWanted, StoreDamaged, WrongChain
from lep6.grpc import Server
from lep6.heal.events import What
from lep6.model import HealOpStatus
from lep6.secure_rpc import Door
from lep6.transaction import Claim, Vote

HEALTH = "/grpc.health.v1.Health"
PATIENCE = 30.0
"""Seconds for what happens on real sockets."""
VERIFIED, REPORTED, SCHEDULED = HealOpStatus.VERIFIED, HealOpStatus.HEALER_REPORTED, HealOpStatus.SCHEDULED


class HostError(Exception):
    """Of a host's own."""


async def healed(world, hosts, op_id=1):
    """Wait until an op has healed and is published."""
    await world.until(lambda: world.status(op_id) is VERIFIED)
    await world.until(lambda: hosts[0].seen(What.PUBLISHED))
    await world.until(lambda: all(host.seen(What.CLOSED) for host in hosts[:1]))
    assert await world.is_published()


# A heal


@in_a_world()
async def test_three_hosts_heal_a_file_and_have_nothing_left_of_it(world):
    await world.disaster()
    hosts = [Host(world, number) for number in range(3)]
    async with AsyncExitStack() as stack:
        services = [await stack.enter_async_context(host.open()) for host in hosts]
        for service in services:
            await ready(service)
        world.put_op()
        await healed(world, hosts)
        await world.blocks(10)
        status = await services[0].status()
        assert (status["ready"], status["in_flight"], status["stuck"]) == (True, [], [])
        assert sum(status["rows"].values()) == 0
    assert len(world.claims()) == 1
    assert [vote.verified for vote in world.votes()] == [True, True]
    for host in hosts:
        assert await host.is_clean()
        assert not host.seen(What.FAILED)
    assert await world.reads_back_without_survivors()


@in_a_world()
async def test_a_host_mounts_the_artefacts_on_a_server_of_its_own(world):
    await world.disaster()
    healer, *others = hosts = [Host(world, number) for number in range(3)]
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(healer.open())
        for other in others:
            await stack.enter_async_context(other.open())
        server = Server([service.artefacts])
        world.stand_ins[healer.account] = Door(
            server, service.dialer.credentials, service.dialer.registry, service.dialer.seen
        )
        world.put_op()
        await healed(world, hosts)
        assert not service.door.server._connections
    assert isinstance(service.artefacts.inner, ArtefactService)


@in_a_world()
async def test_a_host_may_have_a_listener_of_its_own_which_is_closed_at_the_end(world):
    await world.disaster()
    listener = HostListener()
    healer, *others = hosts = [Host(world, number) for number in range(3)]
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(healer.open(listeners=[listener]))
        for other in others:
            await stack.enter_async_context(other.open())
        world.stand_ins[healer.account] = listener
        world.put_op()
        await healed(world, hosts)
        assert listener.accepted
        assert service.checks.well()["listener"]
        assert not listener.is_closed
    assert listener.is_closed


@in_a_world()
async def test_a_host_has_the_events_in_a_logger_of_its_own(world):
    heard = CapturingLogger()
    mine = wrap_logger(heard, processors=[lambda _, __, event: event], wrapper_class=BoundLogger)
    async with Host(world, 0).open(logger=mine) as service:
        await ready(service)
        await world.blocks(2)
    events = [call.kwargs["event"] for call in heard.calls]
    assert events[0] == "started"
    assert events[-1] == "stopped"
    assert not [event for event in world.logs if event.get("room", "").startswith(("daemon", "heal"))]


@in_a_world()
async def test_callers_may_ask_whether_the_artefacts_are_served(world):
    healer, other = Host(world, 0), Host(world, 1)
    async with healer.open() as service, other.open() as caller:
        async with caller.dialer.channel(healer.account) as channel:
            for name in ("", ARTEFACTS):
                assert await health(channel, name) == HealthCheckResponse.SERVING
            async with AsyncExitStack() as stack:
                watching = await stack.enter_async_context(
                    channel.request(
                        f"{HEALTH}/Watch", Cardinality.UNARY_STREAM, HealthCheckRequest, HealthCheckResponse
                    )
                )
                await watching.send_message(HealthCheckRequest(service=ARTEFACTS), end=True)
                assert (await watching.recv_message()).status == HealthCheckResponse.SERVING
                service.health.set(ARTEFACTS, serving=False)
                assert (await watching.recv_message()).status == HealthCheckResponse.NOT_SERVING
                await watching.cancel()
        service.health.set(ARTEFACTS, serving=True)
    assert service.health._status(ARTEFACTS) == HealthCheckResponse.NOT_SERVING


async def health(channel, name):
    types = (HealthCheckRequest, HealthCheckResponse)
    async with channel.request(f"{HEALTH}/Check", Cardinality.UNARY_UNARY, *types) as call:
        await call.send_message(HealthCheckRequest(service=name), end=True)
        return (await call.recv_message()).status


async def test_three_services_in_one_process_heal_over_real_sockets(tmp_path):
    async with a_devnet(tmp_path, nodes=3) as devnet, AsyncExitStack() as stack:
        services = [await stack.enter_async_context(devnet.open_service(number)) for number in range(3)]
        for service in services:
            await ready(service)
        devnet.put_op()
        with trio.fail_after(PATIENCE):
            await devnet.published()
            while any(sum(service.guard.rows.values()) for service in services):  # noqa: ASYNC110 # it has none
                await trio.sleep(0.1)
        assert devnet.status() is VERIFIED
        assert len(devnet.accepted(Claim)) == 1
        assert [vote.verified for vote in devnet.accepted(Vote)] == [True, True]


# Beginning and ending


@in_a_world()
async def test_it_starts_idles_and_stops_at_once_when_there_is_nothing_to_do(world):
    host = Host(world, 0)
    with capture_logs() as logs:
        async with host.open() as service:
            assert not service.checks.is_ready
            await ready(service)
            assert service.account == host.account
            began = trio.current_time()
        assert trio.current_time() - began < 1
    told = [line["event"] for line in logs if line["event"] in ("started", "stopped")]
    assert told == ["started", "stopped"]


@in_a_world()
async def test_it_can_be_opened_again_and_again(world):
    host = Host(world, 0)
    for _ in range(3):
        async with host.open() as service:
            await ready(service)


@in_a_world()
async def test_what_can_end_in_time_ends_before_a_stop(world):
    await world.disaster()
    host = Host(world, 0)
    begun = trio.Event()

    async def slow(_, call):
        begun.set()
        await trio.sleep(STOP / 4)
        return await call()

    async with host.open():
        world.put_op()
        host.hooks["prepare"] = slow
        await begun.wait()
    assert host.seen(What.RECONSTRUCTED)
    assert (await host.entries()).intents or (await host.entries()).claims


@in_a_world()
async def test_what_cannot_end_is_broken_off_within_the_time_of_a_stop_and_goes_on_at_the_next_start(world):
    await world.disaster()
    host = Host(world, 0)
    begun = trio.Event()

    async def stuck(_, __):
        begun.set()
        await trio.sleep_forever()

    host.hooks["retrieve"] = stuck
    async with host.open():
        world.put_op()
        await begun.wait()
        began = trio.current_time()
    assert STOP / 4 < trio.current_time() - began <= STOP
    assert not host.seen(What.RECONSTRUCTED)
    assert not host.seen(What.FAILED)
    del host.hooks["retrieve"]
    async with host.open():
        await world.until(lambda: world.status() is REPORTED)


@in_a_world()
async def test_a_cancelled_host_has_waited_for_nothing(world):
    await world.disaster()
    host = Host(world, 0)
    host.hooks["retrieve"] = hang
    world.put_op()
    with trio.move_on_after(60) as scope:
        async with host.open():
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() == scope.deadline
    async with host.open() as service:
        await ready(service)


@in_a_world()
async def test_an_error_of_the_host_comes_out_as_itself_and_everything_is_closed(world):
    host = Host(world, 0)
    mine = HostError("mine")

    async def run():
        async with host.open() as service:
            await ready(service)
            raise mine

    with pytest.raises(HostError) as raised:
        await run()
    assert raised.value is mine
    async with host.open() as service:
        await ready(service)


# What ends it before it has begun


@in_a_world()
async def test_without_a_network_it_does_not_start(world):
    host = Host(world, 0)
    with pytest.raises(NoNetwork):
        async with host.open(network=None):
            raise AssertionError
    assert not (host.directory / "lep6-data").exists()


@in_a_world()
async def test_a_second_one_on_the_same_data_does_not_start(world):
    host, other = Host(world, 0), Host(world, 1)
    async with host.open() as service:
        with pytest.raises(AlreadyRunning, match="in use by process"):
            async with other.open(host.config()):
                raise AssertionError
        await ready(service)


@in_a_world()
async def test_a_second_one_with_the_same_key_does_not_start(world):
    host, other = Host(world, 0), Host(world, 1)
    async with host.open() as service:
        with pytest.raises(AlreadyRunning, match="heals as lumera1"):
            async with other.open(key=service.dialer.credentials.key):
                raise AssertionError
        async with other.open() as another:
            await ready(another)


@in_a_world()
async def test_a_port_that_is_taken_is_said_so(world):
    host = Host(world, 0)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        config = host.config(supernode={"host": "127.0.0.1", "port": port})
        with pytest.raises(AlreadyRunning, match=rf"port {port} of 127.0.0.1 \(supernode.port\) is taken"):
            async with host.open(config, listeners=None):
                raise AssertionError
    async with host.open(config, listeners=None) as service:
        assert service.checks.results()["listener"] == (True, f"port {port}")


@in_a_world()
async def test_a_keyring_that_gives_no_key_ends_the_start(world):
    host = Host(world, 0)
    (host.directory / "keys" / "keyring-file").mkdir(parents=True)
    with pytest.raises(KeyNotOpened):
        async with host.open(key=None):
            raise AssertionError


@in_a_world()
async def test_a_ledger_that_cannot_be_used_ends_the_start_and_is_left_alone(world):
    host, other = Host(world, 0), Host(world, 1)
    ledger = host.directory / "lep6-data" / LEDGER
    async with host.open():
        pass
    kept = ledger.read_bytes()
    with pytest.raises(ForeignLedger):
        async with other.open(host.config()):
            raise AssertionError
    assert ledger.read_bytes() == kept
    ledger.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreDamaged):
        async with host.open():
            raise AssertionError


@in_a_world()
async def test_data_that_cannot_be_made_end_the_start_with_the_systems_own_error(world):
    host = Host(world, 0)
    config = host.config()
    (host.directory / "lep6-data").write_text("a file")
    with pytest.raises(FileExistsError):
        async with host.open(config):
            raise AssertionError


# What a host hands in


@in_a_world()
async def test_two_services_may_have_one_registry_in_turn(world):
    registry, host = CollectorRegistry(), Host(world, 0)
    for _ in range(2):
        async with host.open(registry=registry) as service:
            await ready(service)
            page = generate_latest(registry)
            assert b'lep6_readiness_check{check="chain"} 1.0' in page or b"lep6_chain_height" in page
            assert float(page.split(b"\nlep6_chain_height ")[1].split()[0]) >= world.chain.height - 3
        assert generate_latest(registry) == b""


@in_a_world()
async def test_a_host_hears_of_all_that_happens_to_an_op(world):
    await world.disaster()
    host = Host(world, 0)
    async with host.open():
        world.put_op()
        await world.until(lambda: host.seen(What.ACCEPTED))
    happened = [event.what for event in host.events]
    assert happened.index(What.RECONSTRUCTED) < happened.index(What.SENT) < happened.index(What.ACCEPTED)


@in_a_world()
async def test_the_lines_about_an_op_say_which_and_of_which_ticket(world):
    await world.disaster()
    with capture_logs(processors=[merge_contextvars]) as logs:
        async with Host(world, 0).open():
            world.put_op()
            await world.until(lambda: world.status() is REPORTED)
    (line,) = [line for line in logs if line["event"] == "reconstructed"]
    assert (line["op_id"], line["role"], line["ticket"]) == (1, "healer", "7")


# What the guard sees


@in_a_world()
async def test_while_no_node_of_the_chain_answers_it_goes_on_asking_and_is_not_ready(world):
    host = Host(world, 0)
    host.hooks["latest_block"] = away
    async with host.open() as service:
        await trio.sleep(900)
        ok, detail = service.checks.results()["chain"]
        assert (ok, detail, service.checks.ready.is_set()) == (False, "nobody answers", False)
        host.hooks.clear()
        await ready(service)


@in_a_world()
async def test_an_answer_that_never_comes_is_none(world):
    host = Host(world, 0)
    host.hooks["latest_block"] = hang
    async with host.open() as service:
        await trio.sleep(60)
        assert service.checks.results()["chain"] == (False, "it did not answer in time")
        host.hooks.clear()
        await ready(service)


@in_a_world()
async def test_another_chain_ends_it_before_it_was_ready(world):
    host = Host(world, 0)
    host.hooks["latest_block"] = raising(WrongChain("this is lumera-other-1"))
    with pytest.raises(NotWanted, match="lumera-other-1"):
        async with host.open():
            await trio.sleep(3600)
    host.hooks.clear()
    async with host.open() as service:
        await ready(service)


@in_a_world()
async def test_another_chain_later_on_makes_it_unready_and_ends_nothing(world):
    host = Host(world, 0)
    async with host.open() as service:
        await ready(service)
        host.hooks["latest_block"] = raising(WrongChain("this is lumera-other-1"))
        await trio.sleep(600)
        assert service.checks.results()["chain"] == (False, "this is lumera-other-1")
        host.hooks.clear()
        await trio.sleep(60)
        assert service.checks.is_ready


@in_a_world()
async def test_an_account_that_the_chain_does_not_know_ends_it(world):
    host = Host(world, 0)
    host.hooks["supernode"] = _none
    with pytest.raises(NotWanted, match=f"no supernode of {host.account}"):
        async with host.open():
            await trio.sleep(3600)


async def _none(_, __):
    await trio.lowlevel.checkpoint()


@in_a_world()
async def test_an_account_that_is_taken_off_the_chain_later_makes_it_unready_and_is_known_again(world):
    host = Host(world, 0)
    async with host.open() as service:
        await ready(service)
        host.hooks["supernode"] = _none
        await trio.sleep(700)
        assert not service.checks.well()["registration"]
        assert service.checks.well()["chain"]
        host.hooks.clear()
        await trio.sleep(60)
        assert service.checks.is_ready


@in_a_world()
async def test_a_node_of_the_chain_that_is_behind_condemns_nobody(world):
    host = Host(world, 0)
    behind = world.chain.at().latest_block()
    await trio.sleep(600)

    async def old(_, __):
        await trio.lowlevel.checkpoint()
        return behind

    host.hooks.update(supernode=_none, latest_block=old)
    async with host.open() as service:
        await trio.sleep(600)
        results = service.checks.results()
        assert not results["chain"][0]
        assert results["registration"][1].startswith("a node that is behind")
        host.hooks.clear()
        await ready(service)


@in_a_world()
async def test_the_error_of_a_host_goes_before_that_of_the_guard(world):
    host = Host(world, 0)
    host.hooks["supernode"] = _none

    async def run():
        async with host.open():
            try:
                await trio.sleep(3600)
            finally:
                raise HostError

    with pytest.raises(HostError):
        await run()


# Draining


@in_a_world()
async def test_what_does_not_heal_begins_nothing_and_is_ready(world):
    await world.disaster()
    host = Host(world, 0)
    async with host.open(host.config(heals=False)) as service:
        world.put_op()
        await ready(service)
        await world.blocks(20)
        assert (await service.status())["healing"] == "unasked"
    assert world.status() is SCHEDULED
    assert not host.events


@in_a_world()
async def test_what_heals_no_more_serves_and_publishes_what_it_has_claimed(world):
    await world.disaster()
    healer, first, second = hosts = [Host(world, number) for number in range(3)]
    async with healer.open():
        world.put_op()
        await world.until(lambda: healer.seen(What.ACCEPTED))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(healer.open(healer.config(heals=False)))
        for host in (first, second):
            await stack.enter_async_context(host.open())
        await healed(world, hosts)
        world.put_op(op_id=2, verifiers=[])
        await world.blocks(20)
        assert world.status(2) is SCHEDULED
    assert await healer.is_clean()


@in_a_world()
async def test_what_heals_no_more_still_gives_a_vote_that_it_has_decided(world):
    await world.disaster()
    healer, first, second = hosts = [Host(world, number) for number in range(3)]
    first.hooks["broadcast"] = hang
    async with healer.open(), second.open():
        async with first.open():
            world.put_op()
            await world.until(lambda: first.seen(What.DECIDED))
        assert (await first.entries()).intents
        first.hooks.clear()
        async with first.open(first.config(heals=False)):
            await world.until(lambda: first.seen(What.ACCEPTED))
            await healed(world, hosts)
    assert [vote.verified for vote in world.votes()] == [True, True]


@in_a_world()
async def test_what_stops_healing_votes_on_nothing_new(world):
    await world.disaster()
    healer, first = Host(world, 0), Host(world, 1)
    async with healer.open(), first.open(first.config(heals=False)):
        world.put_op()
        await world.until(lambda: healer.seen(What.ACCEPTED))
        await world.blocks(10)
    assert not first.events
    assert world.votes() == []


# Beside others


@in_a_world()
async def test_stagings_of_a_go_supernode_in_the_same_directory_are_never_touched(world):
    """They may be the only copies: of an op that is VERIFIED and not published, above all."""
    host = Host(world, 0)
    theirs = host.directory / "heal-staging" / "1"
    theirs.mkdir(parents=True)
    (theirs / "reconstructed.bin").write_bytes(b"of a Go healer")
    world.put_op(VERIFIED, result_hash=world.hash)
    async with host.open() as service:
        await ready(service)
        await world.blocks(30)
    assert (theirs / "reconstructed.bin").read_bytes() == b"of a Go healer"


@in_a_world()
async def test_two_accounts_may_stage_below_one_directory(world):
    await world.disaster()
    healer, *others = hosts = [Host(world, number) for number in range(3)]
    shared = {"staging_dir": str(world.box.directory / "shared")}
    async with AsyncExitStack() as stack:
        for host in hosts:
            await stack.enter_async_context(host.open(host.config(self_healing=dict(shared))))
        world.put_op()
        await healed(world, hosts)
    assert all(not host.seen(What.FAILED) for host in hosts)
    assert len(healer.seen(What.RECONSTRUCTED)) == 1
    assert not any(other.seen(What.RECONSTRUCTED) for other in others)
