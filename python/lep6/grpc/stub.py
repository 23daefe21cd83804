"""The base of generated stubs on Trio."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any, cast

import betterproto2.grpclib
from grpclib.const import Cardinality

from lep6.grpc.channel import Channel
from lep6.grpc.client import Call


class ServiceStub(betterproto2.grpclib.ServiceStub):
    """Put before a generated stub whose service streams both ways: `class EchoStub(ServiceStub, wire.EchoStub)`.

    Sending while receiving is the one thing for which betterproto2's own base starts a task, of another event loop.
    """

    async def _stream_stream(
        self,
        route: str,
        request_iterator: Iterable[Any] | AsyncIterable[Any],
        request_type: type[Any],
        response_type: type[Any],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 # the signature that generated stubs call
        deadline: Any = None,
        metadata: Any = None,
    ) -> AsyncIterator[Any]:
        call: Call[Any, Any] = cast("Channel", self.channel).request(
            route,
            Cardinality.STREAM_STREAM,
            request_type,
            response_type,
            timeout=self.timeout if timeout is None else timeout,
            deadline=self.deadline if deadline is None else deadline,
            metadata=self.metadata if metadata is None else metadata,
        )
        async with call:
            await call.send_request()
            call.feed(request_iterator)
            async for reply in call:
                yield reply
