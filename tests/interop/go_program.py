"""The Go program beside this file: another reading of the contract, built and run."""

import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final, final

import trio
from attrs import frozen
from cryptography.hazmat.primitives.asymmetric import ec

from lep6.keys import KeyKind, PrivateKey
from lep6.secure_rpc import Credentials

SOURCE: Final = Path(__file__).parent
PATIENCE: Final = 20.0
"""Seconds for one run of the program; its own deadline is shorter."""
GREETING: Final = b"hello"
"""What it says as a server that speaks first."""

Line = dict[str, Any]


def find_go() -> str | None:
    """Go on the PATH, or where its own installer puts it."""
    return shutil.which("go", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/go/bin"]))


def build(go: str, directory: Path) -> "Program":
    """Build the program, with the versions of go.sum, into a directory."""
    path = directory / "interop"
    subprocess.run(
        [go, "build", "-o", path, "."], cwd=SOURCE, env=os.environ | {"GOFLAGS": "-mod=readonly"}, check=True
    )
    return Program(path)


def go_pattern(size: int) -> bytes:
    """What the program sends as a client, and wants back."""
    cycle = bytes((at * 31 + 7) % 256 for at in range(256))
    return (cycle * (size // 256 + 1))[:size]


@final
@frozen
class Party:
    """An account of these tests, on either side."""

    kind: str
    seed: int
    ephemeral_seed: int | None = None
    """Where it uses the same ephemeral key each time."""

    @property
    def secret(self) -> bytes:
        return bytes([self.seed]) * 32

    @cached_property
    def credentials(self) -> Credentials:
        return Credentials(PrivateKey(KeyKind(self.kind), self.secret))

    @property
    def account(self) -> str:
        return self.credentials.account

    @property
    def ephemeral_secret(self) -> bytes | None:
        return None if self.ephemeral_seed is None else bytes([self.ephemeral_seed]) * 32

    @property
    def ephemeral(self) -> ec.EllipticCurvePrivateKey | None:
        secret = self.ephemeral_secret
        return None if secret is None else ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())

    @property
    def options(self) -> list[str]:
        """That make the program this party."""
        options = ["--key", self.secret.hex(), "--kind", self.kind, "--deadline", "10s"]
        return options if self.ephemeral_secret is None else [*options, "--ephemeral", self.ephemeral_secret.hex()]


@final
@frozen
class Listening:
    """The program as a server."""

    port: int
    account: str
    _stdout: trio.abc.ReceiveStream

    async def ends(self) -> list[Line]:
        """How its connections have ended, once all have."""
        with trio.fail_after(PATIENCE):
            return [json.loads(line) for line in b"".join([part async for part in self._stdout]).splitlines()]


@final
@frozen
class Program:
    """The built program."""

    path: Path

    async def vectors(self, file: Path) -> Line:
        """What it makes of a file of vectors."""
        return await self._run("vectors", str(file))

    async def dial(self, party: Party, port: int, *options: str, expect: str) -> Line:
        """A connection that it makes; how that has ended."""
        return await self._run("dial", *party.options, "--port", str(port), "--expect", expect, *options)

    async def _run(self, *arguments: str) -> Line:
        with trio.fail_after(PATIENCE):
            done = await trio.run_process([self.path, *arguments], capture_stdout=True, check=False)
        line: Line = json.loads(done.stdout)
        return line

    @asynccontextmanager
    async def listening(self, party: Party, *options: str, connections: int = 1) -> AsyncIterator[Listening]:
        """The program as a server of so many connections. It is gone after the block."""
        command: Sequence[str | Path] = [self.path, "listen", *party.options, "--connections", str(connections)]
        process = await trio.lowlevel.open_process([*command, *options], stdout=subprocess.PIPE)
        stdout = process.stdout
        assert stdout is not None
        try:
            with trio.fail_after(PATIENCE):
                first = json.loads(await _line(stdout))
            yield Listening(first["port"], first["account"], stdout)
        finally:
            with trio.CancelScope(shield=True):
                process.kill()
                await process.wait()
                await stdout.aclose()


async def _line(stdout: trio.abc.ReceiveStream) -> bytes:
    """The first line. Nothing is behind it until somebody connects."""
    line = b""
    while not line.endswith(b"\n"):
        more = await stdout.receive_some()
        if not more:
            raise trio.BrokenResourceError("the program has said nothing")
        line += more
    return line
