"""What tests of gRPC share: chances that are the same in every run, and processes of other gRPCs."""

import json
import os
import random
import selectors
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trio

TESTS = Path(__file__).parents[1]
PATIENCE = 30.0
"""Seconds for whatever is asked of another process."""


@pytest.fixture(autouse=True)
def same_chances():
    """What is drawn by chance is the same in every run."""
    random.seed(0)


class Process:
    """Another gRPC, that does what a line of JSON says and tells the result in a line of JSON."""

    def __init__(self, kind: str, role: str) -> None:
        script = TESTS / "grpc" / f"peer_{kind}.py"
        self.popen = subprocess.Popen(
            [sys.executable, script, role],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
        )
        self.kind = kind
        self._unread = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.popen.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                assert selector.select(PATIENCE), "the process is not ready"
                self._read()
        self.hello = self._line()

    def _read(self) -> None:
        data = os.read(self.popen.stdout.fileno(), 1 << 16)
        assert data, "the process has ended"
        self._unread += data

    def _line(self) -> dict:
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)

    async def ask(self, do: str, **arguments) -> dict:
        """Have something done; what came of it."""
        os.write(self.popen.stdin.fileno(), json.dumps({"do": do, **arguments}).encode() + b"\n")
        with trio.fail_after(PATIENCE):
            while b"\n" not in self._unread:
                await trio.lowlevel.wait_readable(self.popen.stdout)
                self._read()
        return self._line()

    def end(self) -> None:
        """Kill the process."""
        self.popen.kill()
        self.popen.wait()
        self.popen.stdin.close()
        self.popen.stdout.close()


@contextmanager
def process(kind: str, role: str):
    """A process for a while."""
    started = Process(kind, role)
    try:
        yield started
    finally:
        started.end()


@pytest.fixture
def start():
    """Starts another gRPC, by its kind and role, for one test."""
    with ExitStack() as stack:
        yield lambda kind, role: stack.enter_context(process(kind, role))


@pytest.fixture(scope="module", params=["grpcio", "grpclib"])
def caller(request):
    """Another gRPC as a client."""
    with process(request.param, "call") as started:
        yield started


@pytest.fixture(scope="module", params=["grpcio", "grpclib"])
def host(request):
    """Another gRPC as a server."""
    with process(request.param, "serve") as started:
        yield started
