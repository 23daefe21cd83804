"""Many seeds, on all cores: a process for each core, and the outcomes as they come."""

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from subprocess import PIPE
from tempfile import TemporaryDirectory

import cattrs
import trio

from lep6.devnet.simulation.run import Outcome


@asynccontextmanager
async def outcomes(first: int, count: int) -> AsyncIterator[trio.MemoryReceiveChannel[Outcome]]:
    """Run so many seeds from the first on; outcomes come in the order in which they are had."""
    workers = min(count, os.cpu_count() or 1)
    send, receive = trio.open_memory_channel[Outcome](0)
    with TemporaryDirectory(prefix="lep6-simulation-") as directory:  # of all of them, however they end
        async with trio.open_nursery() as nursery:
            async with send:
                for worker in range(workers):
                    share = len(range(worker, count, workers))
                    nursery.start_soon(_run, first + worker, share, workers, directory, send.clone())
            async with receive:
                yield receive
            nursery.cancel_scope.cancel(reason="enough outcomes")


async def _run(first: int, count: int, step: int, directory: str, send: trio.MemorySendChannel[Outcome]) -> None:
    command = [sys.executable, "-m", "lep6.devnet.simulation", str(first), str(count), str(step)]
    done = 0
    async with send:
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(
                partial(
                    trio.run_process,
                    command,
                    stdout=PIPE,
                    check=False,
                    env={**os.environ, "TMPDIR": directory},
                    process_group=0,  # an interrupt of the terminal is for who started it, who clears up
                )
            )
            assert process.stdout is not None  # noqa: S101 # it was asked for
            rest = b""
            async for data in process.stdout:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    await send.send(cattrs.structure(json.loads(line), Outcome))
                    done += 1
        if done < count:
            await send.send(Outcome.broken(first + done * step, f"its process ended with {process.returncode}"))
