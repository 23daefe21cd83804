"""`lep6 run` as an operator and a service manager see it: a process, its signals, its words, its end."""

import errno
import json
import os
import signal
import socket
import urllib.error
import urllib.request
from contextlib import asynccontextmanager
from pathlib import Path
from unittest.mock import Mock

import pytest
import ryaml
import structlog
import trio
from attrs import evolve, frozen
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from cli.daemons import PATIENCE, a_daemon, command
from devnets import a_devnet, free_port
from keyrings import PASSPHRASE, add_key, assert_shows_none
from lep6.blocking import Threads
from lep6.cli import main
from lep6.config import load
from lep6.daemon.exits import Exit
from lep6.daemon.lock import only_one
from lep6.daemon.run import Networks, run_daemon
from lep6.devnet.chain_server import Unavailable
from lep6.devnet.network import node_account, node_key, node_secret
from lep6.devnet.store import Behaviour
from lep6.errors import NoSpace, NotWanted, StoreDamaged, StoreUnavailable
from lep6.model import HealOpStatus
from lep6.transaction import Claim

NOT_ZERO = ("lep6_chain_", "lep6_build_info", "lep6_check", "lep6_last_success_timestamp_seconds")
"""How the names of series begin that are not zero when it has begun: they are no counts of what it did."""


async def got(place, page):
    """Status and text of a page."""

    def get():
        try:
            with urllib.request.urlopen(f"http://{place}/{page}", timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await trio.to_thread.run_sync(get)


def series(page):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name.startswith("lep6_")
    }


def with_a_passphrase(devnet, number, **own):
    """A node whose keyring has a passphrase, which stands in its configuration."""
    path = devnet.write(number)
    tree = devnet.tree(number, **own)
    tree["keyring"] = {"backend": "file", "dir": "keys", "passphrase_plain": PASSPHRASE}
    add_key(path.parent / "keys" / "keyring-file", PASSPHRASE.encode(), "mykey", node_key(number))
    return devnet.write(number, tree)


async def test_it_tells_how_it_is_and_stops_when_it_is_told_to(tmp_path):
    async with a_devnet(tmp_path, nodes=1) as devnet:
        place = f"127.0.0.1:{await free_port()}"
        devnet.server.order(Unavailable("away"), count=None)
        path = with_a_passphrase(devnet, 0, metrics_listen=place)
        async with a_daemon(path) as daemon:
            await daemon.heard("STATUS=")
            assert "READY=1" not in daemon.told
            assert (await got(place, "livez"))[0] == 200
            status, text = await got(place, "readyz")
            assert (status, json.loads(text)["checks"]["chain"]["ok"]) == (503, False)
            page = series((await got(place, "metrics"))[1])
            assert len(page) > 100
            assert not {name: value for name, value in page.items() if value and not name[0].startswith(NOT_ZERO)}
            devnet.server.faults.cancel()
            await daemon.heard("READY=1")
            await daemon.heard("WATCHDOG=1")
            assert (await got(place, "readyz"))[0] == 200
            assert series((await got(place, "metrics"))[1]).keys() == page.keys()
            document = json.loads((await got(place, "status.json"))[1])
            assert (document["account"], document["ready"]) == (devnet.accounts[0], True)
            code, text = await command("status", "--json", "--config", path)
            assert (code, json.loads(text)["ready"]) == (0, True)
            pages = [(await got(place, page))[1] for page in ("readyz", "metrics", "status.json")]
            daemon.tell(signal.SIGTERM)
            assert await daemon.end() == Exit.STOPPED
            assert daemon.told.index("READY=1") < daemon.told.index("STOPPING=1")
            events = [line["event"] for line in daemon.lines()]
            assert events.index("started") < events.index("ready") < events.index("stopping") < events.index("stopped")
            assert_shows_none("".join([daemon.output(), text, *pages, *daemon.told]), PASSPHRASE, node_secret(0))


async def test_it_heals_and_each_line_about_an_op_says_which(tmp_path):
    async with a_devnet(tmp_path, nodes=1) as devnet, a_daemon(devnet.write(0)) as daemon:
        await daemon.heard("READY=1")
        devnet.put_op()
        with trio.fail_after(PATIENCE):
            while devnet.status() is not HealOpStatus.HEALER_REPORTED:  # noqa: ASYNC110 # by another process
                await trio.sleep(0.05)
        await daemon.logged("claim_accepted")
        daemon.tell(signal.SIGINT)
        assert await daemon.end() == Exit.STOPPED
        assert len(devnet.accepted(Claim)) == 1
        about = [line for line in daemon.lines() if "role" in line]
        assert {"reconstructed", "claim_accepted"} <= {line["event"] for line in about}
        assert {(line["op_id"], line["role"]) for line in about} == {(1, "healer")}
        assert {line["ticket"] for line in about if line["event"] in ("reconstructed", "claim_accepted")} == {"7"}
        assert all("level" in line and "timestamp" in line for line in daemon.lines())


async def test_a_second_signal_breaks_off_what_the_first_one_lets_end(tmp_path):
    async with a_devnet(tmp_path, nodes=1) as devnet:
        for node in devnet.box.network.nodes:
            await node.behave(Behaviour(delay=600))
        place = f"127.0.0.1:{await free_port()}"
        async with a_daemon(devnet.write(0, stop_seconds=600, metrics_listen=place)) as daemon:
            await daemon.heard("READY=1")
            devnet.put_op()
            with trio.fail_after(PATIENCE):
                while not json.loads((await got(place, "status.json"))[1])["in_flight"]:  # noqa: ASYNC110 # as above
                    await trio.sleep(0.05)
            daemon.tell(signal.SIGTERM)
            await daemon.heard("STOPPING=1")
            await trio.sleep(0.2)
            assert daemon.process.poll() is None
            daemon.tell(signal.SIGINT)
            assert await daemon.end() == Exit.BROKEN_OFF
            assert daemon.lines()[-1]["event"] == "broken_off"


async def test_what_does_not_end_in_time_is_broken_off(tmp_path):
    @asynccontextmanager
    async def networks(_, __):
        yield Networks(devnet.box.network, devnet.box.network)
        await trio.sleep_forever()

    async with a_devnet(tmp_path, nodes=1) as devnet:
        config = load(devnet.write(0, stop_seconds=1), {})
        codes = []

        async def run():
            codes.append(await run_daemon(config, Threads(2), {}, networks))

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                while not (config.data_dir / "admin.sock").exists():  # noqa: ASYNC110 # nobody tells
                    await trio.sleep(0.02)
                os.kill(os.getpid(), signal.SIGTERM)
        assert codes == [Exit.BROKEN_OFF]


@pytest.fixture
def _events():
    """What a command configures ends with the test."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def node(tmp_path):
    """A node whose chain is away."""
    return Node(tmp_path, "127.0.0.1:1")


@frozen
class Node:
    """A node with all it needs, but for what the test takes away."""

    directory: Path
    chain: str

    def run(self, **sections):
        add_key(self.directory / "keys" / "keyring-test", b"test", "mykey", node_key(0))
        tree = {
            "supernode": {"key_name": "mykey", "identity": node_account(0), "host": "127.0.0.1", "port": 4444},
            "keyring": {"backend": "test", "dir": "keys"},
            "lumera": {"grpc_addr": self.chain, "chain_id": "lumera-devnet-1"},
            "lep6": {"enabled": True, "metrics_listen": "", "embedded_network": "network"},
        }
        for name, keys in sections.items():
            tree[name] = {**tree.get(name, {}), **keys}
        path = self.directory / "config.yml"
        path.write_text(ryaml.dumps(tree))
        done = CliRunner().invoke(main, ["run", "--config", str(path)])
        assert "Traceback" not in done.stderr
        assert not done.stdout
        return done.exit_code, done.stderr


@pytest.mark.usefixtures("_events")
@pytest.mark.parametrize(
    ("sections", "words"),
    {
        "no network": ({"lep6": {"embedded_network": ""}}, "no client of the Kademlia network"),
        "a network of another chain": ({"lumera": {"chain_id": "lumera-testnet-2"}}, "lep6.embedded_network"),
        "no keyring": ({"keyring": {"dir": "nowhere"}}, "nowhere"),
        "the key of another": ({"supernode": {"identity": node_account(1)}}, "supernode.identity is"),
        "a Go supernode that heals too": ({"self_healing": {"enabled": True}}, "a Go supernode"),
        "an unknown key of ours": ({"lep6": {"stop_second": 3}}, "stop_seconds"),
    }.values(),
)
def test_what_is_not_as_it_must_be_is_said_in_a_clear_line(node, sections, words):
    code, text = node.run(**sections)
    assert code == Exit.CANNOT_RUN
    assert words in text


@pytest.mark.usefixtures("_events")
def test_a_port_that_is_taken_has_a_code_of_its_own(node):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, text = node.run(supernode={"port": port})
    assert code == Exit.ALREADY_RUNNING
    assert f"port {port}" in text


@pytest.mark.usefixtures("_events")
def test_a_metrics_port_that_is_taken_is_named_with_its_key(node):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, text = node.run(lep6={"metrics_listen": f"127.0.0.1:{port}"})
    assert code == Exit.ALREADY_RUNNING
    assert f"port {port}" in text
    assert "lep6.metrics_listen" in text


@pytest.mark.usefixtures("_events")
def test_data_that_are_in_use_have_a_code_of_their_own(node):
    with only_one(node.directory / "lep6-data"):
        code, text = node.run()
    assert code == Exit.ALREADY_RUNNING
    assert f"in use by process {os.getpid()}" in text


@pytest.mark.usefixtures("_events")
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreUnavailable("the disk is full"), Exit.NOT_NOW),
        (NoSpace("the disk is full"), Exit.NOT_NOW),
        (OSError(errno.ENOSPC, "No space left on device"), Exit.NOT_NOW),
        (OSError(errno.EMFILE, "Too many open files"), Exit.NOT_NOW),
        (OSError(errno.EIO, "Input/output error"), Exit.NOT_NOW),
        (ExceptionGroup("of a nursery", [OSError(errno.ENOMEM, "Cannot allocate memory")]), Exit.NOT_NOW),
        (StoreDamaged("the ledger is damaged"), Exit.CANNOT_RUN),
        (PermissionError(errno.EACCES, "Permission denied"), Exit.CANNOT_RUN),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), Exit.CANNOT_RUN),
        (OSError(errno.EROFS, "Read-only file system"), Exit.CANNOT_RUN),
        (FileExistsError("admin.sock is no socket"), Exit.CANNOT_RUN),
    ],
    ids=str,
)
def test_what_may_pass_by_itself_has_a_code_of_its_own(node, monkeypatch, error, code):
    monkeypatch.setattr("lep6.daemon.run.open_service", Mock(side_effect=error))
    assert node.run()[0] == code


async def test_an_account_that_the_chain_does_not_know_has_a_code_of_its_own(tmp_path):
    async with a_devnet(tmp_path, nodes=1) as devnet:
        devnet.chain._become(evolve(devnet.chain.state, supernodes={}))
        code, text = await command("run", "--config", devnet.write(0))
        assert code == Exit.NOT_WANTED
        assert text.splitlines()[-1].startswith(f"lep6: the chain knows no supernode of {devnet.accounts[0]}")


async def test_the_nodes_of_another_chain_end_it(tmp_path):
    @asynccontextmanager
    async def networks(_, __):
        yield Networks(devnet.box.network, devnet.box.network)

    async with a_devnet(tmp_path, nodes=1, chain_id="lumera-other-1") as devnet:
        config = load(devnet.write(0), {})
        with pytest.raises(NotWanted, match="lumera-other-1"), trio.fail_after(PATIENCE):
            await run_daemon(config, Threads(2), {}, networks)


@pytest.mark.usefixtures("_events")
def test_a_bug_has_a_code_of_its_own_and_is_in_the_log_without_variables(node, monkeypatch):
    def open_service(*_, **__):
        raise AttributeError("a bug")

    monkeypatch.setattr("lep6.daemon.run.open_service", open_service)
    code, text = node.run()
    assert code == Exit.BUG
    line = json.loads(text.splitlines()[0])
    assert (line["event"], line["exception"][-1]["exc_type"]) == ("bug", "AttributeError")
    assert "locals" not in text
