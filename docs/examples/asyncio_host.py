# ruff: noqa: INP001 # a program of its own
"""A host that runs on asyncio: lep6 heals in a thread of its own, and is talked to by futures.

    python asyncio_host.py CONFIG NETWORK

The arguments are those of `supernode_host.py`. It prints how lep6 is, and stops in order at SIGTERM or SIGINT.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import Any

import lep6
from lep6.blocking import Threads
from lep6.devnet.network import EmbeddedNetwork


def tell(text: str) -> None:
    """Print a line, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


# What follows runs in the thread of lep6, on Trio.


@asynccontextmanager
async def opened(config_file: Path, network_directory: Path) -> AsyncIterator[lep6.RunningService]:
    """Open lep6, and what it is handed."""
    config = lep6.load_config(config_file, os.environ)
    network = EmbeddedNetwork.open(network_directory, blocking=Threads(2), random=SystemRandom())
    async with network as everybody:
        others = everybody.seen_from(config.supernode.identity)
        async with lep6.open_service(config, network=others, survivors=everybody) as service:
            yield service


async def status_when_ready(service: lep6.RunningService) -> dict[str, Any]:
    """Wait until all is well; how it is then."""
    await service.checks.ready.wait()
    return await service.status()


# What follows runs on asyncio.


async def main(config_file: Path, network_directory: Path) -> None:
    """Be a host until told to stop, or until lep6 has ended."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)

    thread = lep6.ServiceThread(partial(opened, config_file, network_directory))
    await asyncio.wrap_future(thread.start())  # raises what kept it from starting
    told = asyncio.create_task(stopping.wait())
    ready = asyncio.wrap_future(thread.call(status_when_ready))
    # Shielded: who waits for the end does not ask for it.
    ended = asyncio.shield(asyncio.wrap_future(thread.ended))
    futures: list[asyncio.Future[Any]] = [told, ready, ended]
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    if ready.done():
        status = ready.result()
        tell(f"{status['account']} is ready at height {status['chain']['height']}")
        futures.remove(ready)
        await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    ready.cancel()
    await asyncio.wrap_future(thread.stop())  # raises what lep6 has ended with
    tell("stopped")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
