"""What every call goes through before its handler: faults, and the height that it is about."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, final

import trio
from attrs import field, frozen
from grpclib.const import Handler, Status

from lep6.devnet.chain import Chain, QueryError
from lep6.devnet.chain.queries import View
from lep6.devnet.chain_server.asked import HEIGHT_HEADER, answering_from
from lep6.devnet.chain_server.faults import AnswerLost, Behind, Faults, Slow, Unavailable
from lep6.errors import RpcRefused
from lep6.grpc import Request, Service

_HEIGHT_DIGITS: Final = 19
"""Of the greatest int64."""


@final
@frozen(eq=False)
class Front:
    """Stands before services, and is one itself."""

    chain: Chain
    faults: Faults
    services: Sequence[Service] = field(repr=False)

    def __mapping__(self) -> dict[str, Any]:
        """See `Service`."""
        handlers = {path: handler for service in self.services for path, handler in service.__mapping__().items()}
        return {
            path: Handler(
                partial(self._answer, path, handler), handler.cardinality, handler.request_type, handler.reply_type
            )
            for path, handler in handlers.items()
        }

    async def _answer(self, path: str, handler: Handler, request: Request[Any, Any]) -> None:
        """Answer a call, as far as faults let it be answered.

        Raises:
            RpcRefused: it is refused, with the contract's status and text (chain contract §3.3).
        """
        unavailable = self.faults.take(Unavailable, path)
        if unavailable is not None:
            raise RpcRefused(Status.UNAVAILABLE, unavailable.message)
        slow = self.faults.take(Slow, path)
        if slow is not None:
            await trio.sleep(slow.seconds)
        try:
            view = self._view(path, request)
            answering_from(view)
            if self.faults.take(AnswerLost, path) is not None:
                await _carry_out_unheard(handler, request)
                return
            # Before the handler: a refusal has a height, too.
            await request.send_initial_metadata(metadata={HEIGHT_HEADER: str(view.height)})
            await handler.func(request)
        except QueryError as error:
            raise RpcRefused(error.status, error.message) from error

    def _view(self, path: str, request: Request[Any, Any]) -> View:
        """The chain at the height that a request pins, or at the newest that this node knows.

        Raises:
            QueryError: UNKNOWN, there is no such height.
        """
        behind = self.faults.take(Behind, path)
        lag = behind.blocks if behind is not None else 0
        text = str(request.metadata.get(HEIGHT_HEADER, "0"))
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= _HEIGHT_DIGITS):
            raise QueryError(Status.UNKNOWN, f"invalid height header {HEIGHT_HEADER!r}: {text!r:.40}: invalid request")
        return self.chain.at_height(int(text), lag=lag)


async def _carry_out_unheard(handler: Handler, request: Request[Any, Any]) -> None:
    try:
        await handler.func(_Unheard(request))
    finally:
        await request.cancel()


@final
@frozen(eq=False)
class _Unheard:
    """A call that hears no reply."""

    _request: Request[Any, Any]

    async def recv_message(self) -> Any:
        return await self._request.recv_message()

    async def send_message(self, message: Any) -> None:
        """Lose a reply."""
