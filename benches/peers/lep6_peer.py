"""Both ends on lep6. Options: the largest frame, and a staging root to serve op 1 from it in place of memory."""

from contextlib import asynccontextmanager
from pathlib import Path

import trio
from grpclib.const import Cardinality
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from heal_op import FromMemory, OneOp, heal_op
from peer import CHECK, METHOD, main, tell, wait_for_the_end

from lep6.artefact_stream import ArtefactClient, ArtefactService
from lep6.blocking import Threads
from lep6.grpc import Health, Limits, Server, open_channel
from lep6.wire import supernode as wire


class Anybody:
    def resolve(self, _, /):
        return "verifier"


def limits_of(options):
    return Limits(max_frame=int(options[0]))


def serve(options):
    if options[1:]:
        streams = ArtefactService(
            "healer", Path(options[1]), OneOp(heal_op("healer", "verifier", root=options[1])), Anybody(), Threads(2)
        )
    else:
        streams = FromMemory()

    async def run():
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = Server([streams, Health({})], limits=limits_of(options))
        async with server.serving(listeners, drain_seconds=0):
            tell(listeners[0].socket.getsockname()[1])
            await trio.to_thread.run_sync(wait_for_the_end)

    trio.run(run)


@asynccontextmanager
async def connected(port, options):
    async with open_channel(await trio.open_tcp_stream("127.0.0.1", port), limits=limits_of(options)) as channel:
        yield channel


def stream(port, options):
    async def run():
        received = 0
        types = (wire.ServeReconstructedArtefactsRequest, wire.ServeReconstructedArtefactsResponse)
        async with (
            connected(port, options) as channel,
            channel.request(METHOD, Cardinality.UNARY_STREAM, *types) as call,
        ):
            await call.send_message(wire.ServeReconstructedArtefactsRequest(1))
            async for message in call:
                received += len(message.chunk)
        return received

    return trio.run(run)


def fetch(port, options):
    async def run():
        client = ArtefactClient("verifier", lambda _: connected(port, options))
        async with client.open(heal_op("healer", "verifier"), size_bound=1 << 30) as chunks:
            return sum([len(chunk) async for chunk in chunks])

    return trio.run(run)


def calls(port, options, number, at_once):
    async def run():
        statuses = []
        async with connected(port, options) as channel:

            async def call_on():
                for _ in range(number // at_once):
                    types = (HealthCheckRequest, HealthCheckResponse)
                    async with channel.request(CHECK, Cardinality.UNARY_UNARY, *types) as call:
                        await call.send_message(HealthCheckRequest(), end=True)
                        statuses.append((await call.recv_message()).status)

            async with trio.open_nursery() as nursery:
                for _ in range(at_once):
                    nursery.start_soon(call_on)
        return sum(statuses)

    return trio.run(run)


main(serve, {"stream": stream, "fetch": fetch, "calls": calls})
