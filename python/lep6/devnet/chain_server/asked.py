"""The height that a call is about (chain contract §1.1): for handlers that get only the message."""

from contextvars import ContextVar
from typing import Final

from lep6.devnet.chain.queries import View

HEIGHT_HEADER: Final = "x-cosmos-block-height"
"""Of a request: the height to answer from. Of an answer: the height that it is from."""

_VIEW: ContextVar[View] = ContextVar("lep6_devnet_chain_view")


def asked() -> View:
    """The chain as the call that is being answered sees it."""
    return _VIEW.get()


def answering_from(view: View) -> None:
    """Let what the running task answers be from a height."""
    _VIEW.set(view)
