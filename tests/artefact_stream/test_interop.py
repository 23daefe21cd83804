"""The stream between lep6 and nodes on another gRPC, in processes of their own, over loopback."""

import hashlib
import json
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from attrs import evolve

from artefact_stream.ends import (
    ANY_SIZE,
    MIB,
    OP,
    STRANGER,
    VERIFIER,
    VERIFIERS,
    KnownOps,
    Loopback,
    OneAfterAnother,
    on_loopback,
    service,
    stage,
)
from lep6.artefact_stream import ArtefactClient
from lep6.blocking import Threads
from lep6.cascade.staging import RECONSTRUCTED
from lep6.errors import FetchFailed, FetchFailure
from lep6.model import HealOpStatus
from world import noise

PEERS = Path(__file__).parent / "peers.py"
DATA = noise(3 * MIB + 5)
SECONDS = 30


async def peer(*arguments):
    """What a peer process has found."""
    command = [sys.executable, str(PEERS), *map(str, arguments)]
    with trio.fail_after(SECONDS):
        done = await trio.run_process(command, capture_stdout=True)
    return json.loads(done.stdout)


def serving(root, **options):
    return on_loopback(service(root, blocking=Threads(4), **options))


@pytest.fixture
def root(tmp_path):
    stage(tmp_path / "staging", DATA)
    return tmp_path / "staging"


async def test_verifiers_on_another_grpc_fetch_from_our_healer(root):
    async with serving(root, streams_per_caller=4) as host:
        fetched = await peer("verifier", host.port, 5, *VERIFIERS[:4])
    shape = [[MIB, len(DATA), False], [MIB, 0, False], [MIB, 0, False], [5, 0, True]]
    expected = {"code": "OK", "details": "", "messages": shape, "sha256": hashlib.sha256(DATA).hexdigest()}
    assert fetched == [expected] * 4


async def test_verifiers_on_another_grpc_are_told_our_refusals(root):
    verified = evolve(OP, op_id=6, status=HealOpStatus.VERIFIED)
    ops = KnownOps.of(OP, verified)
    stage(root, DATA, verified)
    callers = OneAfterAnother([VERIFIER, VERIFIER, STRANGER])  # the first call asks for no op
    async with serving(root, heal_ops=ops, identities=callers) as host:
        refused = {
            (op, account): (await peer("verifier", host.port, op, account))[0]
            for op, account in [(0, VERIFIER), (9, VERIFIER), (6, VERIFIER), (5, STRANGER)]
        }
    assert [(answer["code"], answer["details"]) for answer in refused.values()] == [
        ("INVALID_ARGUMENT", "the request names no heal op"),
        ("NOT_FOUND", "nothing is staged for heal op 9"),
        ("FAILED_PRECONDITION", "heal op 6 is VERIFIED, not HEALER_REPORTED"),
        ("PERMISSION_DENIED", "the caller is no verifier of heal op 5"),
    ]
    assert not any(answer["messages"] for answer in refused.values())


async def test_a_verifier_on_another_grpc_never_sees_the_end_of_a_damaged_file(root):
    with (root / "5" / RECONSTRUCTED).open("r+b") as file:
        file.write(bytes([DATA[0] ^ 1]))
    async with serving(root) as host:
        (fetched,) = await peer("verifier", host.port, 5, VERIFIER)
    assert (fetched["code"], fetched["details"]) == ("DATA_LOSS", "what is staged for heal op 5 is damaged")
    assert [last for _, _, last in fetched["messages"]] == [False] * 3


async def test_a_verifier_on_another_grpc_that_gives_up_calls_is_served_later(tmp_path):
    data = noise(24 * MIB)
    stage(tmp_path / "staging", data)
    async with serving(tmp_path / "staging", streams_per_caller=1) as host:
        fetched = await peer("impatient", host.port, 5, VERIFIER)
    assert (fetched["code"], fetched["sha256"]) == ("OK", hashlib.sha256(data).hexdigest())


@pytest.fixture(scope="module")
def go_healer(tmp_path_factory):
    """The port of a healer on another gRPC."""
    file = tmp_path_factory.mktemp("healer") / "file"
    file.write_bytes(DATA)
    command = [sys.executable, str(PEERS), "healer", str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@asynccontextmanager
async def chunks_of(port, op_id, **options):
    client = ArtefactClient(VERIFIER, Loopback(port).connect, **options)
    with trio.fail_after(SECONDS):
        async with client.open(evolve(OP, op_id=op_id), size_bound=ANY_SIZE) as chunks:
            yield chunks


async def test_our_verifier_fetches_from_a_healer_on_another_grpc(go_healer):
    async with chunks_of(go_healer, 1) as chunks:
        received = [chunk async for chunk in chunks]
    assert [len(chunk) for chunk in received] == [MIB, MIB, MIB, 5]
    assert b"".join(received) == DATA


@pytest.mark.parametrize(
    ("op_id", "kind", "given"),
    [
        (2, FetchFailure.NOT_READY, 0),
        (3, FetchFailure.NOT_READY, 0),
        (4, FetchFailure.REFUSED, 0),
        (5, FetchFailure.REFUSED, 0),
        (6, FetchFailure.REFUSED, 0),
        (7, FetchFailure.TRUNCATED, 0),
        (8, FetchFailure.TRUNCATED, 1),
        (9, FetchFailure.REFUSED, 1),
    ],
)
async def test_our_verifier_takes_nothing_but_a_whole_file_from_a_healer_on_another_grpc(go_healer, op_id, kind, given):
    async with chunks_of(go_healer, op_id) as chunks:
        for _ in range(given):
            assert len(await anext(chunks)) == MIB
        with pytest.raises(FetchFailed) as failed:
            await anext(chunks)
    assert failed.value.kind is kind


async def test_our_verifier_leaves_a_healer_on_another_grpc_early_and_comes_back(go_healer):
    for _ in range(5):
        async with chunks_of(go_healer, 1) as chunks:
            await anext(chunks)
    async with chunks_of(go_healer, 1) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == DATA
