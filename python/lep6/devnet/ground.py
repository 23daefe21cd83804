"""What a story needs of the chain and the nodes, wherever they run."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from lep6.devnet.chronicle import Chronicle
from lep6.heal.events import Event


class Ground(Protocol):
    """A chain that stands, and nodes that are to live."""

    @property
    def events(self) -> Sequence[tuple[str, Event]]:
        """What the nodes have told up to now, by account."""

    @property
    def deaths(self) -> int:
        """How often a node has died."""

    @property
    def is_everyone_there(self) -> bool:
        """Whether all nodes live that are to live."""

    async def schedule(self, epochs: int) -> dict[str, Any]:
        """Let the chain go on, without waiting: by some epochs, and to the end of one that makes the first op."""

    def living(self, first: dict[str, Any]) -> AbstractAsyncContextManager[None]:
        """Let time pass, and those nodes live that are to, while the block runs. `first`: the first op."""

    async def chronicle(self) -> Chronicle:
        """What the chain tells up to now."""

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait for a condition, which is looked at about once a block."""

    async def rows(self) -> int:
        """How many rows the living nodes have of heal ops."""
