"""`lep6.devnet.v1.Admin`: what a chain in a box can be told, over the wire."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, final

import betterproto2
from grpclib.const import Status

from lep6.devnet.chain.failures import SDK
from lep6.devnet.chain_server.chronicle import chronicle_message
from lep6.devnet.chain_server.faults import (
    ALL,
    AnswerLost,
    Behind,
    CheckRefused,
    Dropped,
    FailsInBlock,
    Fault,
    Late,
    NoIndex,
    OutOfGas,
    SequenceMismatch,
    Slow,
    Unavailable,
)
from lep6.devnet.chain_server.seeding import InvalidSeed, plant
from lep6.errors import RpcRefused
from lep6.grpc import Request, ServiceBase
from lep6.model import EnforcementMode
from lep6.wire.lep6.devnet import v1 as wire

if TYPE_CHECKING:
    from lep6.devnet.chain_server.server import ChainServer

MOST_BLOCKS: Final = 100_000
"""Blocks that one request may ask for."""


@final
class Admin(ServiceBase, wire.AdminBase):
    """Gives a chain what it is to know, moves its time, and orders its faults."""

    def __init__(self, server: "ChainServer") -> None:
        super().__init__()
        self._server = server

    async def add(self, message: wire.Seed) -> wire.SeedResponse:
        """Add what a seed holds."""
        try:
            plant(self._server.chain, message)
        except InvalidSeed as error:
            raise RpcRefused(Status.INVALID_ARGUMENT, str(error)) from error
        return wire.SeedResponse()

    async def make_blocks(self, message: wire.MakeBlocksRequest) -> wire.MakeBlocksResponse:
        """Make blocks now."""
        if message.count > MOST_BLOCKS:
            raise RpcRefused(Status.INVALID_ARGUMENT, f"at most {MOST_BLOCKS} blocks at a time")
        return wire.MakeBlocksResponse(self._server.blocks.make(message.count))

    async def set_clock(self, message: wire.SetClockRequest) -> wire.SetClockResponse:
        """Pause or resume the block clock."""
        seconds = _seconds(message.block_seconds)
        if message.paused:
            self._server.blocks.seconds = seconds or self._server.blocks.seconds
            self._server.blocks.pause()
        else:
            self._server.blocks.resume(seconds)
        return wire.SetClockResponse()

    async def set_mode(self, message: wire.SetModeRequest) -> wire.SetModeResponse:
        """Set the enforcement mode, as governance does."""
        try:
            self._server.chain.set_mode(EnforcementMode(message.mode))
        except ValueError as error:
            raise RpcRefused(Status.INVALID_ARGUMENT, str(error)) from error
        return wire.SetModeResponse()

    async def prune_ops(self, message: wire.PruneOpsRequest) -> wire.PruneOpsResponse:
        """Forget heal ops."""
        self._server.chain.prune_ops(message.heal_op_ids)
        return wire.PruneOpsResponse()

    async def restart(self, message: wire.RestartRequest) -> wire.RestartResponse:
        """Restart the node. The connection of this call is the only one that stays."""
        self._server.restart(_seconds(message.down_seconds) or 0.0, keep=Request.current().transport)
        return wire.RestartResponse()

    async def order_fault(self, message: wire.OrderFaultRequest) -> wire.OrderFaultResponse:
        """Order a fault."""
        order_id = self._server.faults.order(
            fault_of(message.fault or wire.Fault()),
            message.methods or ALL,
            count=message.count or None,
            seconds=_seconds(message.seconds),
            account=message.account,
        )
        return wire.OrderFaultResponse(order_id)

    async def cancel_faults(self, message: wire.CancelFaultsRequest) -> wire.CancelFaultsResponse:
        """Take orders back."""
        self._server.faults.cancel(message.order_id or None)
        return wire.CancelFaultsResponse()

    async def chronicle(self, message: wire.ChronicleRequest) -> wire.ChronicleResponse:  # noqa: ARG002
        """Tell of all that has happened."""
        return chronicle_message(self._server.chain)


def fault_of(message: wire.Fault) -> Fault:
    """The fault that a message orders.

    Raises:
        RpcRefused: INVALID_ARGUMENT, it orders none.
    """
    _, what = betterproto2.which_one_of(message, "what")
    if type(what) not in _FAULTS:
        raise RpcRefused(Status.INVALID_ARGUMENT, "no fault is ordered")
    return _FAULTS[type(what)](what)


_FAULTS: Final[Mapping[type, Callable[[Any], Fault]]] = {
    wire.Unavailable: lambda what: Unavailable(what.message) if what.message else Unavailable(),
    wire.Slow: lambda what: Slow(_seconds(what.seconds) or 0.0),
    wire.AnswerLost: lambda _: AnswerLost(),
    wire.Behind: lambda what: Behind(what.blocks),
    wire.NoIndex: lambda _: NoIndex(),
    wire.Dropped: lambda _: Dropped(),
    wire.Late: lambda what: Late(what.blocks),
    wire.SequenceMismatch: lambda what: SequenceMismatch(what.expected),
    wire.OutOfGas: lambda _: OutOfGas(),
    wire.FailsInBlock: lambda what: FailsInBlock(_code(what.code), what.codespace or SDK, what.log),
    wire.CheckRefused: lambda what: CheckRefused(_code(what.code), what.codespace or SDK, what.log),
}


def _code(code: int) -> int:
    if not code:
        raise RpcRefused(Status.INVALID_ARGUMENT, "code 0 is no refusal")
    return code


def _seconds(value: float) -> float | None:
    """A time; `None` for 0, which stands for none."""
    if not math.isfinite(value) or value < 0:
        raise RpcRefused(Status.INVALID_ARGUMENT, f"{value} is no number of seconds")
    return value or None
