"""Stand-ins for parts of a node that are not honest, or not lucky. Nothing of this is in the product."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar, final

import trio
from attrs import define, field

from lep6 import _core
from lep6.artefact_stream import ArtefactService
from lep6.grpc import ServiceBase
from lep6.ports import At
from lep6.transaction import Claim, Included, Transaction
from lep6.wire import supernode as wire

T = TypeVar("T")


@final
@define(eq=False)
class CorruptArtefacts(ServiceBase, wire.SelfHealingServiceBase):
    """Serves what the honest service serves, with one byte of it changed."""

    honest: ArtefactService
    reply_seconds: float = 300.0

    async def serve_reconstructed_artefacts(
        self, message: wire.ServeReconstructedArtefactsRequest
    ) -> AsyncGenerator[wire.ServeReconstructedArtefactsResponse, None]:
        """Stream a file that is another in its first byte."""
        async with aclosing(corrupted(self.honest.serve_reconstructed_artefacts(message))) as replies:
            async for reply in replies:
                yield reply


async def corrupted(
    honest: AsyncGenerator[wire.ServeReconstructedArtefactsResponse, None],
) -> AsyncGenerator[wire.ServeReconstructedArtefactsResponse, None]:
    """The replies of an honest service, the first byte of the file changed."""
    is_first = True
    async with aclosing(honest):
        async for reply in honest:
            if is_first:
                reply.chunk = bytes([reply.chunk[0] ^ 1]) + reply.chunk[1:]
                is_first = False
            yield reply


def corrupt_digest(file: Path) -> bytes:
    """The BLAKE3 of what `CorruptArtefacts` serves of a file."""
    hasher = _core.Hasher()
    with file.open("rb") as opened:
        hasher.update(bytes([opened.read(1)[0] ^ 1]))
        while chunk := opened.read(1 << 20):
            hasher.update(chunk)
    return hasher.digest()


@final
@define(eq=False)
class DiesAfterInclusion:
    """Lets a node die once, when its claim is in a block and it is about to hear of it. A `Between`."""

    die: Callable[[], None]
    _claims: set[str] = field(factory=set)
    has_died: bool = False

    async def __call__(self, name: str, argument: Any, call: Callable[[], Awaitable[T]], /) -> T:
        """Pass the call on; see the class."""
        answer = await call()
        if isinstance(argument, Transaction) and isinstance(argument.message, Claim):
            self._claims.add(argument.tx_hash)
        is_included = isinstance(answer, At) and isinstance(answer.value, Included) and answer.value.refusal is None
        if name == "lookup" and argument in self._claims and is_included and not self.has_died:
            self.has_died = True
            self.die()
            await trio.sleep_forever()
        return answer
