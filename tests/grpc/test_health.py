"""The health service, asked as others ask it."""

import pytest
import trio
import trio.testing
from grpclib.const import Cardinality, Status
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from echo_wire.ends import Echo, connected
from lep6.errors import RpcRefused
from lep6.grpc import Health

SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING
UNKNOWN = HealthCheckResponse.SERVICE_UNKNOWN


async def test_a_check_tells_the_status_of_a_service_and_of_all_of_them(autojump_clock):
    health = Health({"echo.Echo": True, "other": True})

    async with connected(health, Echo()) as channel:

        async def status(name):
            return (await HealthStub(channel).Check(HealthCheckRequest(service=name))).status

        assert [await status(name) for name in ("", "echo.Echo", "other")] == [SERVING] * 3
        health.set("other", serving=False)
        assert [await status(name) for name in ("", "echo.Echo", "other")] == [NOT_SERVING, SERVING, NOT_SERVING]
        health.set("other", serving=True)
        assert [await status(name) for name in ("", "other")] == [SERVING] * 2


async def test_a_check_of_an_unknown_service_is_not_found(autojump_clock):
    async with connected(Health({"echo.Echo": True})) as channel:
        with pytest.raises(RpcRefused) as refused:
            await HealthStub(channel).Check(HealthCheckRequest(service="nothing"))
        assert refused.value.status is Status.NOT_FOUND


async def test_a_watch_tells_the_status_now_and_every_change_of_it(autojump_clock):
    health = Health({"echo.Echo": True})
    told = {"": [], "echo.Echo": [], "later": []}

    async with connected(health) as channel, trio.open_nursery() as nursery:

        async def watch(name):
            types = (HealthCheckRequest, HealthCheckResponse)
            async with channel.request("/grpc.health.v1.Health/Watch", Cardinality.UNARY_STREAM, *types) as call:
                await call.send_message(HealthCheckRequest(service=name))
                async for reply in call:
                    told[name].append(reply.status)

        for name in told:
            nursery.start_soon(watch, name)
        for service, serving in (
            (None, None),
            ("echo.Echo", False),
            ("echo.Echo", False),
            ("echo.Echo", True),
            ("later", False),
            ("later", True),
        ):
            if service is not None:
                health.set(service, serving=serving)
            await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert told["echo.Echo"] == [SERVING, NOT_SERVING, SERVING]
    assert told["later"] == [UNKNOWN, NOT_SERVING, SERVING]
    assert told[""] == [SERVING, NOT_SERVING, SERVING, NOT_SERVING, SERVING]
