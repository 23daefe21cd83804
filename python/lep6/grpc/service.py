"""The base of generated services on Trio."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import betterproto2.grpclib
import grpclib.server


class ServiceBase(betterproto2.grpclib.ServiceBase):
    """Put before a generated base whose methods stream: `class Echo(ServiceBase, wire.EchoBase)`.

    The replies are closed when the call ends, however it ends: what they hold is given back at once, not when they are
    collected.
    """

    async def _call_rpc_handler_server_stream(
        self,
        handler: Callable[[Any], AsyncGenerator[Any, None]],
        stream: grpclib.server.Stream[Any, Any],
        request: Any,
    ) -> None:
        async with aclosing(handler(request)) as replies:
            async for reply in replies:
                await stream.send_message(reply)
