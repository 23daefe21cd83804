"""The chain in a box as a node that real clients can talk to (chain contract §1.1)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, final

import trio

from lep6.beside import beside
from lep6.blocking import WallClock
from lep6.devnet.chain import Chain
from lep6.devnet.chain_server.accounts import Accounts, Migrations
from lep6.devnet.chain_server.admin import Admin
from lep6.devnet.chain_server.audit import Audit
from lep6.devnet.chain_server.bank import Balances
from lep6.devnet.chain_server.block_clock import DEFAULT_SECONDS, BlockClock
from lep6.devnet.chain_server.faults import ALL, Fault, Faults, Unavailable
from lep6.devnet.chain_server.front import Front
from lep6.devnet.chain_server.node import Tendermint, Upgrades
from lep6.devnet.chain_server.registry import Actions, SuperNodes
from lep6.devnet.chain_server.transactions import Transactions
from lep6.grpc import Limits, Server, Service
from lep6.ports import Clock

LIMITS: Final = Limits(max_streams=100)
"""As a node of the chain: more calls at a time than a supernode takes."""

DRAIN_SECONDS: Final = 1.0


@final
class ChainServer:
    """Serves a chain over gRPC, makes its blocks, and makes what is ordered go wrong.

    What the chain knows is set on `chain` itself.
    """

    def __init__(
        self,
        chain: Chain,
        *,
        block_seconds: float | None = DEFAULT_SECONDS,
        clock: Clock | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        """A server that does not serve yet.

        Args:
            chain: What is served.
            block_seconds: From one block to the next; `None` for blocks on demand only.
            clock: What blocks are dated by; the system's, if none is given.
            limits: Of its connections.
        """
        self.chain = chain
        self.faults = Faults()
        self.blocks = BlockClock(
            chain,
            clock or WallClock(),
            seconds=DEFAULT_SECONDS if block_seconds is None else block_seconds,
            is_paused=block_seconds is None,
        )
        self.node = Tendermint()
        services: list[Service] = [
            Audit(),
            Actions(),
            SuperNodes(),
            Accounts(),
            Balances(),
            Migrations(),
            Transactions(chain, self.faults),
            self.node,
            Upgrades(),
        ]
        self._services: list[Service] = [Front(chain, self.faults, services), Admin(self)]
        self._limits = limits
        self._server = Server(self._services, limits=limits)
        self._connections: dict[trio.abc.Stream, trio.CancelScope] = {}

    # Serving

    async def serve_stream(self, transport: trio.abc.Stream) -> None:
        """Serve one connection until it is over, or the node restarts."""
        with trio.CancelScope() as scope:
            self._connections[transport] = scope
            try:
                await self._server.serve_stream(transport)
            finally:
                del self._connections[transport]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make blocks while the block runs. For tests that serve their own streams."""
        async with beside(self.blocks.run):
            yield

    @asynccontextmanager
    async def listening(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[tuple[str, int]]:
        """Listen and make blocks while the block runs, which gets the address. It may be done again.

        Raises:
            OSError: the address cannot be listened at.
        """
        listeners = await trio.open_tcp_listeners(port, host=host)
        address = listeners[0].socket.getsockname()

        async def serve() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.blocks.run)
                await trio.serve_listeners(self.serve_stream, listeners)

        async with beside(serve):
            yield address[0], address[1]
            await self._server.drain(DRAIN_SECONDS)
        # One that was drained takes no calls any more.
        self._server = Server(self._services, limits=self._limits)

    # What goes wrong

    def order(
        self,
        fault: Fault,
        methods: str = ALL,
        *,
        count: int | None = 1,
        seconds: float | None = None,
        account: str = "",
    ) -> int:
        """Order a fault; see `Faults.order`."""
        return self.faults.order(fault, methods, count=count, seconds=seconds, account=account)

    def restart(self, down_seconds: float = 0.0, *, keep: trio.abc.Stream | None = None) -> None:
        """Restart the node: connections break off, the mempool is lost, and all calls are refused for some seconds.

        What is in blocks stays, as do orders. `keep`: a connection that stays.
        """
        self.chain.clear_mempool()
        for transport, scope in self._connections.items():
            if transport is not keep:
                scope.cancel(reason="the node restarts")
        if down_seconds > 0:
            self.faults.order(Unavailable("the node is down"), count=None, seconds=down_seconds)
