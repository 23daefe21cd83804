"""The artefact stream: a healer's rebuilt file on its way to the verifiers of its heal op.

`supernode.SelfHealingService/ServeReconstructedArtefacts` (docs/formats.md, "Artefact stream").
"""

from lep6.artefact_stream.client import ArtefactClient
from lep6.artefact_stream.server import ArtefactService

__all__ = ["ArtefactClient", "ArtefactService"]
