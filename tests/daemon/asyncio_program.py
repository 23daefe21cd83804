# ruff: noqa: T201 # what it prints is what it is run for
"""A program on asyncio that has a service in a thread; run in a process of its own."""

import asyncio
import threading
from contextlib import asynccontextmanager

import trio

from lep6 import ServiceThread


class HostError(Exception):
    """Of the program's own."""


@asynccontextmanager
async def opened():
    """In the place of `open_service`."""
    yield 7


async def main():
    thread = ServiceThread(opened)
    await asyncio.wrap_future(thread.start())
    print("started")

    async def answer(service):
        await trio.sleep(0.05)
        return service

    turns = 0

    async def turn():
        nonlocal turns
        while True:
            await asyncio.sleep(0.005)
            turns += 1

    turning = asyncio.create_task(turn())
    print("answer", await asyncio.wrap_future(thread.call(answer)))

    over = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def wait(_):
        try:
            await trio.sleep_forever()
        finally:
            loop.call_soon_threadsafe(over.set)

    waiting = asyncio.create_task(_await(thread.call(wait)))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.wait([waiting])
    await asyncio.wait_for(over.wait(), 5)
    print("cancelled there" if waiting.cancelled() else "not cancelled")

    async def fail(_):
        raise HostError("mine")

    try:
        await asyncio.wrap_future(thread.call(fail))
    except HostError as error:
        print(f"error {type(error).__name__}: {error}")
    turning.cancel()
    print("loop turned" if turns else "loop stood")
    await asyncio.wrap_future(thread.stop())
    print("stopped")


async def _await(future):
    return await asyncio.wrap_future(future)


if __name__ == "__main__":
    asyncio.run(main())
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join(5)
    print("threads", [thread.name for thread in threading.enumerate()])
