"""Both ends on grpclib as it comes, on asyncio."""

import asyncio

from grpclib.client import Channel
from grpclib.health.service import Health
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest
from grpclib.server import Server
from peer import CHUNK, CHUNKS, main, tell, wait_for_the_end

from lep6.wire import supernode as wire


class FromMemory(wire.SelfHealingServiceBase):
    async def serve_reconstructed_artefacts(self, _):
        for _ in range(CHUNKS):
            yield wire.ServeReconstructedArtefactsResponse(CHUNK)


def serve(_):
    async def run():
        server = Server([FromMemory(), Health()])
        # Not with a socket made here: on such ones asyncio leaves Nagle's algorithm on.
        await server.start("127.0.0.1", 0)
        tell(server._server.sockets[0].getsockname()[1])  # noqa: SLF001
        await asyncio.to_thread(wait_for_the_end)
        server.close()

    asyncio.run(run())


def stream(port, _):
    async def run():
        async with Channel("127.0.0.1", port) as channel:
            replies = wire.SelfHealingServiceStub(channel).serve_reconstructed_artefacts(
                wire.ServeReconstructedArtefactsRequest(1)
            )
            return sum([len(message.chunk) async for message in replies])

    return asyncio.run(run())


def calls(port, _, number, at_once):
    async def run():
        async with Channel("127.0.0.1", port) as channel:
            stub = HealthStub(channel)

            async def call_on():
                return sum([(await stub.Check(HealthCheckRequest())).status for _ in range(number // at_once)])

            return sum(await asyncio.gather(*[call_on() for _ in range(at_once)]))

    return asyncio.run(run())


main(serve, {"stream": stream, "calls": calls})
