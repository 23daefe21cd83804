"""A node that is a process, and whoever starts it again when it dies."""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

import trio
from attrs import define, field

from lep6.config import own_staging
from lep6.devnet.node import STAGING
from lep6.devnet.processes.spawn import LEP6, NODE, end, spawn

STOP_SECONDS: Final = 15.0
"""For a node to stop in order."""
PAUSE_SECONDS: Final = 1.0
"""Before a node is started again that ended by itself."""


@final
@define(eq=False)
class NodeProcess:
    """A node that is started until it is stopped."""

    account: str
    config: Path
    options: Sequence[str] = ()
    """What makes it dishonest; such a node is `python -m lep6.devnet.node`, an honest one `lep6 run`."""
    fail_at: str = ""
    """The fail point of its next start, and of no other."""
    deaths: int = 0
    """How often it was killed."""
    failures: list[str] = field(factory=list)
    """Ends that it should not have had."""
    process: trio.Process | None = None
    """While it runs."""
    _stopped: trio.Event = field(factory=trio.Event)

    @property
    def directory(self) -> Path:
        """Its own, with all that it has."""
        return self.config.parent

    @property
    def staging(self) -> Path:
        """Where it stages."""
        return own_staging(self.directory / STAGING, self.account)

    @property
    def log(self) -> Path:
        """What it writes."""
        return self.directory / "log.jsonl"

    async def run(self) -> None:
        """Live until stopped; cancelled, it is killed."""
        while not self._stopped.is_set():
            fail_at, self.fail_at = self.fail_at, ""
            code = await self._live([*self.options, *(["--fail-at", fail_at] if fail_at else [])])
            if self._stopped.is_set():
                # It may have been told before it was ready to hear.
                if code not in (0, -signal.SIGTERM):
                    self.failures.append(f"it was to stop and ended with {code}")
                return
            self.deaths += 1
            if code != -signal.SIGKILL:
                self.failures.append(f"it ended by itself with {code}")
                await trio.sleep(PAUSE_SECONDS)

    def stop(self) -> None:
        """End in order."""
        self._stopped.set()

    def kill(self) -> bool:
        """End it without order, if it runs; it begins again."""
        if self.process is None or self.process.returncode is not None:
            return False
        self.process.kill()
        return True

    async def _live(self, options: Sequence[str]) -> int:
        base = (*NODE, *options) if options else (*LEP6, "run")
        process = self.process = await spawn([*base, "--config", str(self.config)], self.log)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._heed, process)
                code = await process.wait()
                nursery.cancel_scope.cancel(reason="the process has ended")
        finally:
            await end(process)
            self.process = None
        return code

    async def _heed(self, process: trio.Process) -> None:
        await self._stopped.wait()
        process.terminate()
        await trio.sleep(STOP_SECONDS)
        process.kill()
