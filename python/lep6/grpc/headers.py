"""Header lists of HTTP/2, and what makes them well-formed (RFC 9113 §8.2 and §8.3)."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from attrs import frozen

Headers = Sequence[tuple[str, str]]

_NAME: Final = re.compile(r":?[!#$%&'*+.^_`|~0-9a-z-]+")
_CONNECTION_HEADERS: Final = frozenset({"connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"})
_FORBIDDEN: Final = re.compile(r"[\0\r\n]")


@frozen
class Pseudo:
    """The pseudo-headers of a kind of header list."""

    required: frozenset[str]
    allowed: frozenset[str]


REQUEST: Final = Pseudo(
    frozenset({":method", ":scheme", ":path"}), frozenset({":method", ":scheme", ":path", ":authority"})
)
RESPONSE: Final = Pseudo(frozenset({":status"}), frozenset({":status"}))
TRAILERS: Final = Pseudo(frozenset(), frozenset())


def texts(headers: Iterable[tuple[Any, Any]]) -> Headers:
    """Headers as h2 has decoded them. Blanks around a value do not belong to it, though some send them."""
    return [(name, value.strip(" \t")) for name, value in headers]


def is_well_formed(headers: Headers, pseudo: Pseudo) -> bool:
    """Whether names and values are legal, and the pseudo-headers are those of the kind: first, and once each."""
    seen: set[str] = set()
    in_front = True
    for name, value in headers:
        if not _NAME.fullmatch(name) or _FORBIDDEN.search(value) or name in _CONNECTION_HEADERS:
            return False
        if name.startswith(":"):
            if not in_front or name in seen or name not in pseudo.allowed:
                return False
            seen.add(name)
        else:
            in_front = False
    return pseudo.required <= seen
