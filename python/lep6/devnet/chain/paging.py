"""Pages of listings, as the SDK makes them (chain contract §1.2)."""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar, final

from attrs import frozen
from grpclib.const import Status

from lep6.errors import Lep6Error

T = TypeVar("T")

DEFAULT_LIMIT = 100
"""Rows of a page that has no limit of its own."""


class QueryError(Lep6Error):
    """A query that the chain answers with a gRPC status (chain contract §3.3)."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(f"{status.name}: {message}")
        self.status = status
        self.message = message


@final
@frozen
class Rows(Generic[T]):
    """A page of a listing."""

    rows: tuple[T, ...]
    next_key: bytes
    """What to ask with for the next page; empty on the last one."""
    total: int | None
    """Rows of the whole listing, if they were counted."""


def page(
    rows: Iterable[T],
    cursor: Callable[[T], bytes],
    *,
    key: bytes = b"",
    limit: int = DEFAULT_LIMIT,
    offset: int = 0,
    reverse: bool = False,
    count_total: bool = False,
) -> Rows[T]:
    """A page of rows, ascending by their cursors. `key` is the cursor of the first row wanted.

    Raises:
        QueryError: INTERNAL, there is both a key and an offset.
    """
    if key and offset:
        raise QueryError(Status.INTERNAL, "invalid request, either offset or key is expected, got both")
    ordered = sorted(rows, key=cursor, reverse=reverse)
    wanted = [row for row in ordered if not key or (cursor(row) <= key if reverse else cursor(row) >= key)][offset:]
    size = limit or DEFAULT_LIMIT
    rest = wanted[size:]
    return Rows(
        rows=tuple(wanted[:size]),
        next_key=cursor(rest[0]) if rest else b"",
        total=len(ordered) if count_total and not key else None,
    )
