"""`lep6 run` as a process, with a service manager that listens to it."""

import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import trio
from attrs import define, field

COMMAND = [sys.executable, "-c", "from lep6.cli import main; main(prog_name='lep6')"]
PATIENCE = 40.0
"""Seconds for whatever another process does."""


@define(eq=False, repr=False)
class Daemon:
    """One that was started."""

    process: trio.Process
    log: Path
    """What it writes to standard error, and to standard output."""
    manager: trio.socket.SocketType
    told: list[str] = field(factory=list)
    """What the service manager has heard."""

    async def hear(self) -> None:
        """Listen for ever."""
        while True:
            self.told.append((await self.manager.recv(1 << 16)).decode())

    async def heard(self, start: str) -> None:
        """Wait until the service manager has heard something that starts so."""
        with trio.fail_after(PATIENCE):
            while not any(each.startswith(start) for each in self.told):
                assert self.process.poll() is None, self.output()
                await trio.sleep(0.02)

    def tell(self, number: int) -> None:
        self.process.send_signal(number)

    async def end(self) -> int:
        """The code that it ends with."""
        with trio.fail_after(PATIENCE):
            return await self.process.wait()

    def output(self) -> str:
        return self.log.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """Its log: nothing but objects of JSON, one a line."""
        lines = [json.loads(line) for line in self.output().splitlines()]
        assert all(isinstance(line, dict) for line in lines)
        return lines

    async def logged(self, event: str) -> dict[str, Any]:
        """Wait for a line."""
        with trio.fail_after(PATIENCE):
            while True:
                whole = self.output().rpartition("\n")[0]
                for line in map(json.loads, whole.splitlines()):
                    if line["event"] == event:
                        return line
                assert self.process.poll() is None, self.output()
                await trio.sleep(0.02)


@asynccontextmanager
async def a_daemon(config: Path, **environ: str) -> AsyncIterator[Daemon]:
    """Run one from a configuration; killed with the block."""
    directory = config.parent
    place, log = directory / "notify.sock", directory / "daemon.log"
    place.unlink(missing_ok=True)
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        await manager.bind(str(place))
        env = {**os.environ, "NOTIFY_SOCKET": str(place), "WATCHDOG_USEC": "400000", **environ}
        with log.open("wb") as output:
            process = await trio.lowlevel.open_process(
                [*COMMAND, "run", "--config", str(config)], stdout=output, stderr=output, env=env
            )
        daemon = Daemon(process, log, manager)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(daemon.hear)
            try:
                yield daemon
            finally:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGKILL)
                with trio.CancelScope(shield=True):
                    await process.wait()
                nursery.cancel_scope.cancel()


async def command(*arguments: str | Path) -> tuple[int, str]:
    """Run another command of lep6; its exit code and what it said."""
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            [*COMMAND, *map(str, arguments)], check=False, capture_stdout=True, capture_stderr=True
        )
    return done.returncode, (done.stdout + done.stderr).decode()
