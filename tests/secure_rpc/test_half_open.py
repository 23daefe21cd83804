"""A thousand connections that say nothing, of another process, do not keep an honest peer from being served."""

import resource
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from lep6.errors import HandshakeFailure
from secure_rpc.parties import HEALER, STRANGER, VERIFIER, Chain, a_dialer, a_door, caller_over, message_of, until

SCRIPT = Path(__file__).parent / "half_open.py"
COUNT = 1000
SECONDS = 12
"""As long as a Go verifier waits."""
HALF = message_of(STRANGER)[:150]
HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"

pytestmark = pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[1] < COUNT + 100, reason="a process may not open so many files here"
)


@asynccontextmanager
async def attacked(port, source, manner, data):
    """The process, once it has opened them all; it is ended with the block."""
    command = [sys.executable, str(SCRIPT), source, str(port), str(COUNT), manner, data.hex()]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        with trio.fail_after(20):
            assert await process.stdout.receive_some(100) == b"opened\n"
        yield
    finally:
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()
            with trio.move_on_after(5):
                await process.wait()
            if process.returncode is None:
                process.kill()
            await process.stdout.aclose()


@pytest.mark.parametrize(
    ("source", "manner", "data"),
    [(HERE, "held", b""), (HERE, "held", HALF), (ELSEWHERE, "held", HALF), (ELSEWHERE, "again", HALF)],
    ids=["silent", "half", "elsewhere", "again and again"],
)
async def test_a_thousand_half_open_connections_keep_nobody_out(source, manner, data):
    door = a_door()
    listeners = await trio.open_tcp_listeners(0, host=HERE)
    port = listeners[0].socket.getsockname()[1]
    chain = Chain({HEALER.account: f"{HERE}:{port}"})
    async with door.serving(listeners, drain_seconds=0), attacked(port, source, manner, data):
        await until(lambda: door.refused.total() >= COUNT - door.lobby.from_one)
        for credentials in (VERIFIER, STRANGER)[: 1 if manner == "again" else 2]:
            with trio.fail_after(SECONDS):
                async with a_dialer(None, credentials, chain).channel(HEALER.account) as channel:
                    assert await caller_over(channel) == credentials.account
        assert sum(map(len, door.lobby._waiting.values())) <= door.lobby.from_one
        assert not {HandshakeFailure.LATE, HandshakeFailure.UNCHECKED, HandshakeFailure.MALFORMED} & set(door.refused)
    assert not door.lobby._waiting
    assert not door.slots._taken
    assert not door.connections._taken
