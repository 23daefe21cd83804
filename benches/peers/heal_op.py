"""The one op of the benches, and its file out of memory."""

from pathlib import Path

from peer import CHUNK, SIZE

from lep6.artefact_stream.response import Response
from lep6.cascade.staging import MANIFEST, Manifest
from lep6.grpc import ServiceBase
from lep6.model import HealOp, HealOpStatus, Ticket
from lep6.ports import At
from lep6.wire import supernode as wire


def heal_op(healer, *verifiers, root=None):
    """Op 1; where it is staged below a root, with the claim of what lies there."""
    claimed = Manifest.from_json((Path(root) / "1" / MANIFEST).read_bytes()).manifest_hash if root else ""
    return HealOp(1, Ticket("1"), healer, verifiers, HealOpStatus.HEALER_REPORTED, claimed)


class OneOp:
    """A chain with one op."""

    def __init__(self, op):
        self.op = op

    async def heal_op(self, _, /):
        return At(self.op, 1)


class FromMemory(ServiceBase, wire.SelfHealingServiceBase):
    async def serve_reconstructed_artefacts(self, _):
        for sent in range(len(CHUNK), SIZE + 1, len(CHUNK)):
            yield Response(CHUNK, SIZE, is_last=sent == SIZE)
