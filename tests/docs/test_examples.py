"""The examples of docs/examples do what they say: they heal a file together, and stop in order."""

import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from attrs import evolve
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from daemon.hosts import ready
from devnets import a_devnet
from lep6.model import HealOpStatus
from lep6.transaction import Claim, Vote

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
PATIENCE = 40.0


@asynccontextmanager
async def an_example(name, devnet, number, output):
    """Run one as a node; killed with the block."""
    arguments = [EXAMPLES / name, devnet.write(number), devnet.directory / "network"]
    command = [sys.executable, "-W", "error", *map(str, arguments)]
    with output.open("wb") as file:
        process = await trio.lowlevel.open_process(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def said(output, words, process):
    """Wait until it has said something."""
    with trio.fail_after(PATIENCE):
        while words not in output.read_text():
            assert process.poll() is None, output.read_text()
            await trio.sleep(0.05)


async def health_of(service, account):
    """What the health of a node's server says of its artefacts."""
    async with service.dialer.channel(account) as channel:
        answer = await HealthStub(channel).Check(HealthCheckRequest(service="supernode.SelfHealingService"))
        return answer.status


async def test_the_hosts_heal_a_file_together(tmp_path):
    async with a_devnet(tmp_path, nodes=3) as devnet, devnet.open_service(2) as third:
        outputs = [tmp_path / "first.txt", tmp_path / "second.txt"]
        async with (
            an_example("supernode_host.py", devnet, 0, outputs[0]) as healer,
            an_example("asyncio_host.py", devnet, 1, outputs[1]) as verifier,
        ):
            await said(outputs[0], " listens at ", healer)
            await said(outputs[1], " is ready at ", verifier)
            await ready(third)
            devnet.put_op()
            await said(outputs[0], "op 1: closed published", healer)
            assert devnet.status() is HealOpStatus.VERIFIED
            assert (len(devnet.accepted(Claim)), len(devnet.accepted(Vote))) == (1, 2)
            assert await devnet.is_published()
            assert await health_of(third, devnet.accounts[0]) == HealthCheckResponse.SERVING
            for process in (healer, verifier):
                process.send_signal(signal.SIGTERM)
            for process, output in zip((healer, verifier), outputs, strict=True):
                with trio.fail_after(PATIENCE):
                    assert await process.wait() == 0, output.read_text()
        assert outputs[0].read_text().splitlines()[-1] == "stopped; 28 values were stored"
        assert outputs[1].read_text().splitlines()[-1] == "stopped"


@pytest.mark.parametrize("name", ["supernode_host.py", "asyncio_host.py"])
async def test_a_host_that_the_chain_does_not_know_ends_with_the_reason(tmp_path, name):
    async with a_devnet(tmp_path, nodes=1) as devnet:
        devnet.chain._become(evolve(devnet.chain.state, supernodes={}))
        output = tmp_path / "said.txt"
        async with an_example(name, devnet, 0, output) as process:
            with trio.fail_after(PATIENCE):
                assert await process.wait() == 1
        assert f"the chain knows no supernode of {devnet.accounts[0]}" in output.read_text()


def test_the_manual_names_every_example():
    manual = (EXAMPLES.parent / "operating.md").read_text()
    for path in EXAMPLES.iterdir():
        if path.suffix == ".py":
            assert f"examples/{path.name}" in manual
