"""What the doctor sees of the machine: keys, disk, descriptors, ports, the codec."""

import resource
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
import trio

from keyrings import add_key
from lep6 import _core
from lep6.chain.nodes import Nodes
from lep6.chain.queries import Queries
from lep6.daemon.lock import only_one
from lep6.doctor import Level, disk
from lep6.doctor.descriptors import look_at_descriptors
from lep6.doctor.disk import Place, need_of
from lep6.doctor.finding import Findings
from lep6.grpc import Address, Health, Server
from lep6.keys import KeyKind, PrivateKey
from lep6.secure_rpc import Credentials, Door, PeerRegistry
from patients import CHAIN_ID, KEY, ME, a_house, levels, of, only

OTHER = PrivateKey(KeyKind.COSMOS, bytes(31) + b"\x07")


async def test_the_key_of_another_account_is_bad(tmp_path):
    async with a_house(tmp_path) as house:
        house.tree["supernode"]["identity"] = OTHER.public.address
        found = await house.findings()
    assert f"is that of {ME}, but supernode.identity is {OTHER.public.address}" in only(found, "keys", Level.BAD).what


async def test_a_keyring_that_is_not_there_is_bad(tmp_path):
    async with a_house(tmp_path) as house:
        house.tree["keyring"]["dir"] = "elsewhere"
        found = await house.findings()
    assert only(found, "keys", Level.BAD).what.startswith(f"there is no keyring at {house.base}/elsewhere/keyring-test")


async def test_nobody_is_asked_for_a_passphrase(tmp_path):
    async with a_house(tmp_path) as house:
        house.tree["keyring"]["backend"] = "file"
        found = await house.findings()
    assert "nothing says where the keyring's passphrase is" in only(found, "keys", Level.BAD).what


async def test_files_of_keys_that_are_open_to_others_are_told(tmp_path):
    async with a_house(tmp_path) as house:
        folder = house.base / "keys" / "keyring-file"
        record = add_key(folder, b"sesame, open", "mykey", KEY)
        (house.base / "word").write_text("sesame, open")
        (house.base / "word").chmod(0o600)
        house.tree["keyring"] |= {"backend": "file", "passphrase_file": "word"}
        folder.chmod(0o750)
        record.chmod(0o644)
        found = await house.findings()
    assert levels(found, "keys") == ["ok", "warn", "warn"]
    assert [each.remedy for each in of(found, "keys", Level.WARN)] == [f"chmod go= {folder}", f"chmod go= {record}"]


@pytest.mark.parametrize(
    ("largest", "level", "words"),
    [
        (0, "bad", "nothing can be rebuilt"),
        (0.9, "warn", "would be put off"),
        (1.5, "note", "2 of the largest files at a time need 20.1 GiB"),
        (2.0, "ok", "2 of the largest files"),
    ],
)
async def test_room_is_held_against_the_need_of_the_largest_files(tmp_path, monkeypatch, largest, level, words):
    free = int(largest * need_of(_core.MAX_FILE_SIZE))
    async with a_house(tmp_path) as house:
        staging = Place(house.base, free, None, is_writable=True)
        real = disk._place
        monkeypatch.setattr(disk, "_place", lambda path: staging if path == house.staging else real(path))
        found = await house.findings()
    assert words in only(found, "disk", Level(level)).what


def test_the_need_of_the_largest_file_is_that_of_its_staging_and_its_spool():
    assert need_of(_core.MAX_FILE_SIZE) == 1342177280 + (122885 + 20483) * 65532 + (64 << 20)


async def test_few_inodes_are_bad(tmp_path, monkeypatch):
    async with a_house(tmp_path) as house:
        monkeypatch.setattr(disk, "_place", lambda _: Place(house.base, 1 << 50, 3, is_writable=True))
        found = await house.findings()
    assert "3 inodes" in only(found, "disk", Level.BAD).what


async def test_a_file_where_a_directory_must_be_is_bad(tmp_path):
    async with a_house(tmp_path) as house:
        house.staging.parent.mkdir(exist_ok=True)
        house.staging.write_text("")
        found = await house.findings()
    assert only(found, "disk", Level.BAD).what.endswith(f"{house.staging.name} is no directory")


@pytest.mark.parametrize(("limit", "level"), [(100, "bad"), (1024, "warn"), (4096, "ok")])
async def test_the_limit_that_counts_is_that_of_the_daemon(tmp_path, limit, level):
    process = subprocess.Popen(  # noqa: ASYNC220 # it does nothing
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE
    )
    try:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (limit, 4096))
        async with a_house(tmp_path) as house:
            patient = house.patient()
            patient.holder = process.pid
            found = Findings("descriptors")
            await look_at_descriptors(patient, found)
    finally:
        process.communicate(b"\n")
    [told] = found.told
    assert (told.level.value, told.what) == (
        level,
        f"{limit} open files and connections (that of the daemon that runs)",
    )


async def test_a_codec_that_does_not_give_the_file_back_is_bad(tmp_path, monkeypatch):
    real = _core.blake3
    monkeypatch.setattr(_core, "blake3", lambda _: real(b"something else"))
    async with a_house(tmp_path) as house:
        found = await house.findings()
    assert [each.what for each in of(found, "codec", Level.BAD)] == [
        "BLAKE3 of nothing is wrong",
        "two ways to hash a file do not agree",
    ]


async def test_a_free_port_is_free_for_the_daemon(tmp_path):
    async with a_house(tmp_path) as house:
        found = await house.findings()
    assert levels(found, "port") == ["ok", "note"]
    assert of(found, "port")[1].what.endswith("no daemon runs that would answer")


async def test_a_port_that_somebody_else_has_is_bad(tmp_path):
    async with a_house(tmp_path) as house:
        [listener] = await trio.open_tcp_listeners(house.port, host="127.0.0.1")
        async with listener:
            found = await house.findings()
    told = only(found, "port", Level.BAD)
    assert told.what == f"port {house.port} of 127.0.0.1 is taken, and not by a lep6 on this data"
    assert "Go supernode" in told.remedy


async def test_the_metrics_port_is_looked_at_too(tmp_path):
    async with a_house(tmp_path) as house:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            taken = listener.socket.getsockname()[1]
            house.tree["lep6"]["metrics_listen"] = f"127.0.0.1:{taken}"
            found = await house.findings()
    assert only(found, "port", Level.BAD).what.startswith(f"port {taken} of 127.0.0.1 is taken")


async def test_an_address_that_is_not_this_machine_s_cannot_be_listened_at(tmp_path):
    async with a_house(tmp_path) as house:
        house.tree["supernode"]["host"] = "192.0.2.1"
        found = await house.findings()
    assert f"port {house.port} of 192.0.2.1 cannot be listened at" in only(found, "port", Level.BAD).what


@asynccontextmanager
async def answering(house, key):
    """Somebody who answers at the node's port with this key."""
    address = Address.parse(house.tree["lumera"]["grpc_addr"])
    async with Nodes.open([address], CHAIN_ID, random=house.patient().random) as nodes:
        door = Door(Server([Health({})]), Credentials(key), PeerRegistry(Queries(nodes)))
        listeners = await trio.open_tcp_listeners(house.port, host="127.0.0.1")
        async with door.serving(listeners, drain_seconds=0):
            yield


async def test_a_daemon_that_answers_at_the_registered_address_is_well(tmp_path):
    async with a_house(tmp_path) as house, answering(house, KEY):
        with only_one(house.data):
            found = await house.findings()
    assert levels(found, "port") == ["ok", "ok"]
    assert of(found, "port")[1].what == f"127.0.0.1:{house.port} answers as {ME}"


async def test_another_account_at_the_registered_address_is_bad(tmp_path):
    async with a_house(tmp_path) as house:
        house.chain.add_account(OTHER.public.address, 1)
        house.chain.add_supernode(OTHER.public.address)
        async with answering(house, OTHER):
            with only_one(house.data):
                found = await house.findings()
    assert f"{OTHER.public.address} has answered" in only(found, "port", Level.BAD).what


async def test_somebody_with_this_key_while_no_daemon_runs_is_told(tmp_path):
    async with a_house(tmp_path) as house, answering(house, KEY):
        found = await house.findings()
    assert only(found, "port", Level.WARN).remedy.startswith("only one may heal with a key")


async def test_a_daemon_that_runs_and_cannot_be_reached_is_told(tmp_path):
    async with a_house(tmp_path) as house:
        with only_one(house.data):
            found = await house.findings()
    assert levels(found, "port") == ["bad", "warn"]


async def test_without_the_key_the_port_is_only_connected_to(tmp_path):
    async with a_house(tmp_path) as house, answering(house, KEY):
        house.tree["keyring"]["dir"] = "elsewhere"
        with only_one(house.data):
            found = await house.findings()
    assert "takes connections" in only(found, "port", Level.NOTE).what
