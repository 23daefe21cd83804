"""Nodes that are not ours, or not honest."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final, TypeVar, final

import trio
from attrs import evolve, frozen

from lep6 import _core
from lep6.cascade.text import to_base64
from lep6.devnet.chain import Chain, ChainClient
from lep6.devnet.simulation.chance import BLOCK_SECONDS
from lep6.grpc import ServiceBase
from lep6.model import HealOpStatus
from lep6.ports import Chain as ChainPort
from lep6.transaction import Claim, Transaction, Vote
from lep6.wire import supernode as wire

T = TypeVar("T")

ANOTHER_FILE: Final = b"a file that a healer of another make has rebuilt in its own way"
NO: Final = to_base64(_core.blake3(b"no"))


@final
@frozen(eq=False)
class Foreigner(ServiceBase, wire.SelfHealingServiceBase):
    """A healer that claims and serves a file of its own: what a verifier checks is the claim."""

    account: str
    chain: Chain
    client: ChainClient
    reply_seconds: float = 60.0

    async def run(self) -> None:
        """Claim what is scheduled for it, for ever."""
        while True:
            for op in list(self.chain.state.ops.values()):
                if op.healer == self.account and op.status is HealOpStatus.SCHEDULED:
                    claim = Claim(op.op_id, op.ticket, to_base64(_core.blake3(ANOTHER_FILE)))
                    prepared = await self.client.prepare(claim, last_height=None)
                    if isinstance(prepared, Transaction):
                        await self.client.broadcast(prepared)
            await trio.sleep(2 * BLOCK_SECONDS)

    async def serve_reconstructed_artefacts(
        self,
        message: wire.ServeReconstructedArtefactsRequest,  # noqa: ARG002
    ) -> AsyncGenerator[wire.ServeReconstructedArtefactsResponse, None]:
        """Serve it to whoever asks."""
        await trio.lowlevel.checkpoint()
        yield wire.ServeReconstructedArtefactsResponse(ANOTHER_FILE, len(ANOTHER_FILE), is_last=True)


@final
@frozen(eq=False)
class Naysayer:
    """Votes no on everything. A `Between`."""

    chain: ChainPort

    async def __call__(self, name: str, argument: Any, call: Callable[[], Awaitable[T]], /) -> T:
        """Pass a call on; a vote becomes a no."""
        if name == "prepare" and isinstance(argument, Vote):
            no = evolve(argument, verified=False, hash=NO, details="because")
            answer: Any = await self.chain.prepare(no, last_height=None)
            return answer  # type: ignore[no-any-return]
        return await call()
