"""Starts processes of lep6."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

LEP6: Final = (sys.executable, "-c", "from lep6.cli import main; main(prog_name='lep6')")
"""What the command `lep6` is, in this environment."""
NODE: Final = (sys.executable, "-m", "lep6.devnet.node")
_STRANGE: Final = ("LEP6_", "NOTIFY_SOCKET", "WATCHDOG_")
"""Variables that are meant for a daemon of whoever calls, and not for ours."""


async def spawn(command: Sequence[str], log: Path, *, is_heard: bool = False) -> trio.Process:
    """Start a process. What it writes goes to the end of a log; `is_heard`: but its standard output comes here.

    Raises:
        OSError: it cannot be started.
    """
    with log.open("ab") as file:
        return await trio.lowlevel.open_process(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if is_heard else file,
            stderr=file,
            env={name: value for name, value in os.environ.items() if not name.startswith(_STRANGE)},
        )


async def end(process: trio.Process) -> None:
    """Kill a process that still runs. Bounded: nothing resists."""
    if process.returncode is None:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
