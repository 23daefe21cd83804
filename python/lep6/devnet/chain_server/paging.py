"""Pages on the wire (chain contract §1.2)."""

from typing import Any, TypedDict

from lep6.devnet.chain import Rows
from lep6.wire.cosmos.base.query.v1beta1 import PageRequest, PageResponse


class Wanted(TypedDict):
    """Which page of a listing."""

    key: bytes
    offset: int
    limit: int
    count_total: bool
    reverse: bool


def wanted(page: PageRequest | None) -> Wanted:
    """The page that a request asks for."""
    page = page or PageRequest()
    return Wanted(
        key=page.key, offset=page.offset, limit=page.limit, count_total=page.count_total, reverse=page.reverse
    )


def page_message(rows: Rows[Any]) -> PageResponse:
    """Where a listing goes on."""
    return PageResponse(next_key=rows.next_key, total=rows.total or 0)
