"""The chain in a box as a process, and what is asked of it and told to it."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, final

import trio
from attrs import frozen

from lep6.devnet.chain import ChainParams
from lep6.devnet.chronicle import Chronicle
from lep6.devnet.processes.spawn import LEP6, end, spawn
from lep6.errors import ChainUnavailable
from lep6.grpc import open_channel
from lep6.grpc.dial import host_and_port
from lep6.wire.lep6.devnet import v1 as wire

START_SECONDS: Final = 60.0
"""For a process to say where it is, on a machine that has much to do."""
LINE: Final = 4096
"""Bytes that it may need for that."""


@final
@frozen(eq=False)
class ChainProcess:
    """A chain that runs; its clock stands until it is let go."""

    address: str
    """`host:port`."""
    admin: wire.AdminStub

    @classmethod
    @asynccontextmanager
    async def open(cls, params: ChainParams, log: Path) -> AsyncIterator["ChainProcess"]:
        """A chain that knows nobody yet, while the block runs.

        Raises:
            ChainUnavailable: it did not start; the log says why.
        """
        options = {
            "--block-seconds": 0,
            "--epoch-blocks": params.epoch_length,
            "--deadline-epochs": params.deadline_epochs,
            "--probation-epochs": params.probation_epochs,
        }
        words = [word for name, value in options.items() for word in (name, str(value))]
        process = await spawn([*LEP6, "devnet", "chain", "--json", *words], log, is_heard=True)
        try:
            address = await _address(process, log)
            host, port = host_and_port(address)
            async with open_channel(await trio.open_tcp_stream(host, port or 0)) as channel:
                yield cls(address, wire.AdminStub(channel))  # type: ignore[arg-type] # ours stands in for grpclib's
        finally:
            await end(process)

    async def chronicle(self) -> Chronicle:
        """What it tells up to now."""
        return Chronicle.read(await self.admin.chronicle(wire.ChronicleRequest()))

    async def make_blocks(self, count: int) -> None:
        """Make blocks now."""
        await self.admin.make_blocks(wire.MakeBlocksRequest(count))

    async def run_clock(self, block_seconds: float) -> None:
        """Let it make blocks by itself."""
        await self.admin.set_clock(wire.SetClockRequest(block_seconds=block_seconds))

    async def stop_clock(self) -> None:
        """Let it make no blocks by itself any more."""
        await self.admin.set_clock(wire.SetClockRequest(paused=True))

    async def forgive(self) -> None:
        """Take all faults back."""
        await self.admin.cancel_faults(wire.CancelFaultsRequest())

    async def order(
        self, fault: wire.Fault, methods: str, *, count: int = 1, seconds: float = 0.0, account: str = ""
    ) -> None:
        """Order a fault; see `Faults.order`. 0 is for no end."""
        await self.admin.order_fault(
            wire.OrderFaultRequest(fault, methods=methods, count=count, seconds=seconds, account=account)
        )


async def _address(process: trio.Process, log: Path) -> str:
    """Where a chain says that it is."""
    assert process.stdout is not None  # noqa: S101 # it was asked for
    line = b""
    with _in_time(log), trio.fail_after(START_SECONDS):
        while not line.endswith(b"\n"):
            part = await process.stdout.receive_some(LINE)
            if not part:
                raise ChainUnavailable(f"the chain ended before it had begun: {log}")
            line += part
    return str(json.loads(line)["address"])


@contextmanager
def _in_time(log: Path) -> Iterator[None]:
    try:
        yield
    except trio.TooSlowError as error:
        raise ChainUnavailable(f"the chain did not begin within {START_SECONDS:g} s: {log}") from error
