"""The parts of a box of processes: files of a node, what it logs, who starts it again, what it may use."""

import json
import signal

import jwcrypto.jwe
import pytest
import trio
from attrs import evolve

from lep6.blocking import Threads
from lep6.config import load
from lep6.devnet.chain import Chain, TicketState
from lep6.devnet.chain_server import plant
from lep6.devnet.chain_server.seeding import seed_of
from lep6.devnet.network import node_key, node_secret
from lep6.devnet.node.fail_points import FailPoint
from lep6.devnet.processes.keyring import write_key
from lep6.devnet.processes.log import NodeLog
from lep6.devnet.processes.node_files import write_node
from lep6.devnet.processes.node_process import NodeProcess
from lep6.devnet.processes.places import free_places
from lep6.devnet.processes.rows import rows_of
from lep6.devnet.scenario import Pace
from lep6.devnet.soak.usage import MOST_GROWTH, Usage
from lep6.heal.events import Event, What
from lep6.heal.ledger import Ledger
from lep6.heal.rows import ClaimRow, ClaimState, Intent, VerificationRow
from lep6.keys import KeyKind, Keyring, PrivateKey
from lep6.model import Action, ActionState
from lep6.transaction import Vote
from lep6.wire.lep6.devnet.v1 import Seed

BLOCKING = Threads(2)


@pytest.mark.parametrize("kind", KeyKind)
def test_a_written_key_is_read_by_the_keyring_and_only_its_owner_may(tmp_path, kind):
    key = PrivateKey(kind, node_secret(1))
    write_key(tmp_path, "a node", key.public, node_secret(1))
    ring = Keyring.test(tmp_path)
    assert (ring.names(), ring.addresses()) == (["a node"], [key.public.address])
    assert ring.private_key("a node").public == key.public
    assert {path.stat().st_mode & 0o777 for path in ring.folder.iterdir()} == {0o600}


def test_a_written_key_is_a_token_that_others_open(tmp_path):
    write_key(tmp_path, "node", node_key(2).public, node_secret(2))
    token = jwcrypto.jwe.JWE()
    token.allowed_algs = ["PBES2-HS256+A128KW", "A256GCM"]
    token.deserialize((tmp_path / "keyring-test" / "node.info").read_text())
    token.decrypt(jwcrypto.jwk.JWK.from_password("test"))
    assert json.loads(token.payload)["Key"] == "node.info"


def test_the_configuration_of_a_node_is_a_good_one(tmp_path):
    path = write_node(
        tmp_path / "3",
        3,
        place="127.0.0.1:23456",
        chain="127.0.0.1:9090",
        network=tmp_path,
        pace=Pace(0.25, 10),
    )
    config = load(path, {})
    assert (config.listen_host, config.listen_port) == ("127.0.0.1", 23456)
    assert config.embedded_network == tmp_path
    assert (config.settings().tick, config.settings().poll, config.settings().is_enabled) == (0.5, 0.25, True)


def test_places_are_apart_and_free():
    places = free_places(20)
    assert len(set(places)) == 20
    assert all(host == "127.0.0.1" for host, _ in (place.split(":") for place in places))


def line(event, **fields):
    return json.dumps({"room": "heal", "event": event, **fields}) + "\n"


def test_a_log_is_read_on_from_where_it_was_and_only_by_whole_lines(tmp_path):
    log = NodeLog(tmp_path / "log")
    assert list(log.events()) == []
    log.path.write_text(line("reconstructed", op_id=4, fetched=7) + line("ready", height=3) + '{"event": "clos')
    assert list(log.events()) == [Event(What.RECONSTRUCTED, 4, count=7)]
    assert list(log.events()) == []
    with log.path.open("a") as file:
        file.write('ed", "op_id": 4, "reason": "published"}\n')
    assert list(log.events()) == [Event(What.CLOSED, 4, "published")]


@pytest.mark.parametrize(
    ("text", "event"),
    [
        (line("published", op_id=1, values=9), Event(What.PUBLISHED, 1, count=9)),
        (line("publish_stuck", op_id="1", reason="r"), Event(What.STUCK, 1, "r")),
        (
            line("deferred", op_id=1, reason="cannot rebuild: 3 symbols of 4 needed could be had", have=3),
            Event(What.DEFERRED, 1, "cannot rebuild: 3 symbols of 4 needed could be had", 3),
        ),
        (line("walk_deferred", op_id=1, reason="no answer"), Event(What.DEFERRED, 1, "no answer")),
        (
            line("walk_failed", op_id=1, exception=[{"exc_type": "ValueError", "exc_value": "bug"}]),
            Event(What.FAILED, 1, "ValueError: bug"),
        ),
        (line("dispatcher_failed"), Event(What.FAILED, 0, "dispatcher_failed: ")),
        ("Traceback (most recent call last):\n", Event(What.FAILED, 0, "Traceback (most recent call last):")),
        (line("published", op_id="x"), Event(What.FAILED, 0, line("published", op_id="x").strip())),
    ],
)
def test_the_lines_of_a_node_are_its_events_and_what_is_no_line_is_a_failure(tmp_path, text, event):
    (tmp_path / "log").write_text(text)
    assert list(NodeLog(tmp_path / "log").events()) == [event]


async def test_rows_are_counted_while_the_ledger_is_open(tmp_path):
    path = tmp_path / "ledger.db"
    assert rows_of(path) == 0
    async with Ledger.open(path, "me", BLOCKING) as ledger:
        assert rows_of(path) == 0
        await ledger.journal(Intent(1, "7", Vote(1, verified=True, hash="h", details="")))
        assert rows_of(path) == 1
        await ledger.record_verification(VerificationRow(2, "me", True, "h", 0.0))
        await ledger.record_claim(ClaimRow(3, "7", "h", "3", ClaimState.ACCEPTED, 0.0))
        assert rows_of(path) == 3
    assert rows_of(path) == 3


def test_a_chain_begins_with_what_another_one_knows():
    first = Chain()
    first.add_account("lumera1tk7pqpmkulheaj0p960pg7g0u2v20djl4hqaw3", 5, public_key=node_key(1).public, sequence=2)
    first.add_account(node_key(2).public.address, 7, legacy_address=node_key(3).public.address, is_vesting=True)
    first.add_supernode(node_key(2).public.address, host="127.0.0.1:2")
    first.add_action(Action("7", node_key(2).public.address, ActionState.DONE, b"metadata"))
    first.set_ticket(TicketState(ticket="7", deterioration_score=60, last_updated_epoch=1))
    second = Chain()
    plant(second, Seed.parse(bytes(seed_of(first))))
    assert second.state.accounts == first.state.accounts
    assert second.state.supernodes == first.state.supernodes
    assert second.state.actions == first.state.actions
    assert second.state.tickets == first.state.tickets


async def test_a_node_that_cannot_run_is_a_failure_and_is_tried_again(tmp_path):
    (tmp_path / "config.yml").write_text("supernode: {}\n")
    node = NodeProcess("me", tmp_path / "config.yml")
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.run)
            while node.deaths < 2:  # noqa: ASYNC110 # it is another process
                await trio.sleep(0.05)
            node.stop()
    assert node.failures[:2] == ["it ended by itself with 4"] * 2
    assert "lep6 config check" in node.log.read_text()


async def test_a_cancelled_node_leaves_no_process(tmp_path):
    node = NodeProcess("me", tmp_path / "config.yml")
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.run)
            while node.process is None:  # noqa: ASYNC110 # as above
                await trio.sleep(0.01)
            process = node.process
            nursery.cancel_scope.cancel()
    assert process.returncode in (-signal.SIGKILL, 4)
    assert not node.kill()


USAGE = Usage(rss_kib=70_000, descriptors=30, threads=4, wal_bytes=0, disk_bytes=50_000)


@pytest.mark.parametrize("name", MOST_GROWTH)
def test_what_grows_more_than_it_may_is_named(name):
    most = getattr(USAGE, name) + MOST_GROWTH[name]
    assert evolve(USAGE, **{name: most}).grown(USAGE) == []
    (complaint,) = evolve(USAGE, **{name: most + 1}).grown(USAGE)
    assert complaint.startswith(f"{name} went from ")


def test_every_point_says_whose_it_is():
    assert {point.value.split("-")[0] for point in FailPoint} == {"healer", "verifier", "finalizer"}
    assert {point.value.split("-")[0] for point in FailPoint if point.is_verifiers} == {"verifier"}
