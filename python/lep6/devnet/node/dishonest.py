"""Makes this process serve other bytes than were rebuilt."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from lep6.artefact_stream import ArtefactService
from lep6.devnet.stand_ins import corrupted
from lep6.wire import supernode as wire


def serve_corrupt() -> None:
    """From now on every artefact service of this process changes a byte of what it serves."""
    honest = ArtefactService.serve_reconstructed_artefacts

    async def corrupt(
        self: ArtefactService, message: wire.ServeReconstructedArtefactsRequest
    ) -> AsyncGenerator[wire.ServeReconstructedArtefactsResponse, None]:
        async with aclosing(corrupted(honest(self, message))) as replies:
            async for reply in replies:
                yield reply

    setattr(ArtefactService, "serve_reconstructed_artefacts", corrupt)  # noqa: B010 # for mypy it is a method
