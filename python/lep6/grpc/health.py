"""`grpc.health.v1.Health`, with grpclib's own messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

import trio
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from lep6.grpc.serving import Request

SERVING: Final = HealthCheckResponse.SERVING
NOT_SERVING: Final = HealthCheckResponse.NOT_SERVING
UNKNOWN: Final = HealthCheckResponse.SERVICE_UNKNOWN


@final
class Health:
    """Tells whether services are served. The empty name stands for all of them."""

    def __init__(self, services: Mapping[str, bool]) -> None:
        """Names of services, and whether each is served now."""
        self._services = dict(services)
        self._changed = trio.Event()

    def set(self, service: str, *, serving: bool) -> None:
        """Say that a service is served from now on, or is not."""
        self._services[service] = serving
        self._changed.set()
        self._changed = trio.Event()

    def _status(self, service: str) -> HealthCheckResponse.ServingStatus.ValueType | None:
        if not service:
            return SERVING if all(self._services.values()) else NOT_SERVING
        known = self._services.get(service)
        return None if known is None else SERVING if known else NOT_SERVING

    async def check(self, request: Request[HealthCheckRequest, HealthCheckResponse]) -> None:
        """The status now; NOT_FOUND for a name that is not known."""
        message = await request.recv_message()
        status = self._status(message.service if message is not None else "")
        if status is None:
            raise GRPCError(Status.NOT_FOUND, "there is no such service")
        await request.send_message(HealthCheckResponse(status=status))

    async def watch(self, request: Request[HealthCheckRequest, HealthCheckResponse]) -> None:
        """The status now, and again whenever it changes."""
        message = await request.recv_message()
        service = message.service if message is not None else ""
        told: HealthCheckResponse.ServingStatus.ValueType | None = None
        while True:
            changed, status = self._changed, self._status(service)
            status = UNKNOWN if status is None else status
            if status != told:
                await request.send_message(HealthCheckResponse(status=status))
                told = status
            await changed.wait()

    def __mapping__(self) -> dict[str, Any]:
        """See `Service`."""
        types = (HealthCheckRequest, HealthCheckResponse)
        return {
            "/grpc.health.v1.Health/Check": Handler(self.check, Cardinality.UNARY_UNARY, *types),
            "/grpc.health.v1.Health/Watch": Handler(self.watch, Cardinality.UNARY_STREAM, *types),
        }
