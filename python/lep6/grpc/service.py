"""The base of generated services on Trio."""

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import betterproto2.grpclib
import grpclib.server
import trio
from grpclib.const import Status

from lep6.errors import RpcRefused


class ServiceBase(betterproto2.grpclib.ServiceBase):
    """Put before a generated base whose methods stream: `class Echo(ServiceBase, wire.EchoBase)`.

    The replies are closed when the call ends, however it ends: what they hold is given back at once, not when they are
    collected.
    """

    reply_seconds = math.inf
    """How long a client may leave a streamed reply waiting before its call is broken off."""

    async def _call_rpc_handler_server_stream(
        self,
        handler: Callable[[Any], AsyncGenerator[Any, None]],
        stream: grpclib.server.Stream[Any, Any],
        request: Any,
    ) -> None:
        async with aclosing(handler(request)) as replies:
            async for reply in replies:
                with trio.move_on_after(self.reply_seconds) as scope:
                    await stream.send_message(reply)
                if scope.cancelled_caught:
                    raise RpcRefused(Status.ABORTED, f"no reply was read for {self.reply_seconds:g} s")
