from contextlib import asynccontextmanager

import trio
from world import BLOCKING, a_world, noise

from lep6 import _core
from lep6.artefact_stream import ArtefactClient, ArtefactService
from lep6.cascade.reseed import Stage
from lep6.devnet.identity import InsecureResolver
from lep6.devnet.network import node_account
from lep6.grpc import Server, open_channel
from lep6.model import HealOp, HealOpStatus, Ticket
from lep6.ports import At

HEALER, VERIFIER = (node_account(number) for number in range(2))
OP = HealOp(5, Ticket("7"), HEALER, (VERIFIER,), HealOpStatus.HEALER_REPORTED)


class KnownOps:
    def __init__(self, *ops):
        self.ops = {op.op_id: op for op in ops}

    async def heal_op(self, op_id):
        return At(self.ops.get(op_id), 100)


def client_of(server, account=VERIFIER):
    @asynccontextmanager
    async def connect(healer):
        assert healer == HEALER
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve_stream, theirs)
            async with open_channel(ours) as channel:
                yield channel
            nursery.cancel_scope.cancel()

    return ArtefactClient(account, connect)


async def test_a_staged_file_arrives_whole(tmp_path, autojump_clock):
    async with a_world(tmp_path, noise(2_500_000)) as world:
        await world.reseeder().reseed(world.registered.action, then=Stage("5"))
        service = ArtefactService(HEALER, world.staging, KnownOps(OP), InsecureResolver(), BLOCKING)
        client = client_of(Server([service]))
        async with client.open(OP, size_bound=_core.MAX_FILE_SIZE) as chunks:
            received = [chunk async for chunk in chunks]
    assert b"".join(received) == world.data
    assert [len(chunk) for chunk in received] == [1 << 20, 1 << 20, 2_500_000 - (2 << 20)]
