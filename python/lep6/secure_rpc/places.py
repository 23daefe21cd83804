"""How many connections there may be at a time, in all and from one address (secure RPC contract §10.6)."""

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, final

import trio
from attrs import define, field

from lep6.errors import HandshakeFailed, HandshakeFailure

IPV6_SITE: Final = 64
"""Bits of an IPv6 address that tell one site from another."""


def source_of(transport: trio.abc.Stream) -> str:
    """Where a connection comes from: an IPv4 address or an IPv6 network; empty where there is no such thing."""
    if not isinstance(transport, trio.SocketStream):
        return ""
    try:
        address = ipaddress.ip_address(transport.socket.getpeername()[0].partition("%")[0])
    except (OSError, ValueError, IndexError):
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ipaddress.IPv6Network((address, IPV6_SITE), strict=False))
    return str(address)


@final
@define(eq=False)
class Lobby:
    """Connections that have not said who they are: each a socket and a buffer.

    An honest peer speaks at once. So where too many wait, the one goes that has waited longest, of the address that
    has most of them: whoever keeps silent on a thousand connections pushes out only his own silence.
    """

    in_all: int
    from_one: int
    _waiting: dict[str, OrderedDict[trio.CancelScope, None]] = field(factory=dict)

    @contextmanager
    def waiting(self, source: str) -> Iterator[trio.CancelScope]:
        """Wait here. The scope is cancelled to make room for another."""
        mine = self._waiting.setdefault(source, OrderedDict())
        if len(mine) >= self.from_one:
            self._send_away(source)
        elif sum(map(len, self._waiting.values())) >= self.in_all:
            self._send_away(max(self._waiting, key=lambda each: len(self._waiting[each])))
        scope = trio.CancelScope()
        self._waiting.setdefault(source, OrderedDict())[scope] = None
        try:
            with scope:
                yield scope
        finally:
            self._forget(source, scope)

    def _send_away(self, source: str) -> None:
        oldest = next(iter(self._waiting[source]))
        oldest.cancel(reason="another connection needs its place")
        self._forget(source, oldest)

    def _forget(self, source: str, scope: trio.CancelScope) -> None:
        mine = self._waiting.get(source, OrderedDict())
        mine.pop(scope, None)
        if not mine:
            self._waiting.pop(source, None)


@final
@define(eq=False)
class Places:
    """Places for connections, some of which one address may have."""

    in_all: int
    from_one: int
    _taken: Counter[str] = field(factory=Counter)
    _left: trio.Event = field(factory=trio.Event)

    @contextmanager
    def taken(self, source: str) -> Iterator[None]:
        """A place, at once.

        Raises:
            HandshakeFailed: CROWDED, there is none.
        """
        if self._is_full(source):
            raise HandshakeFailed(HandshakeFailure.CROWDED, source or "this machine")
        self._taken[source] += 1
        with self.kept(source):
            yield

    async def take(self, source: str) -> None:
        """Take a place as soon as there is one; it is then to be `kept`. Cancelled: none was taken."""
        while self._is_full(source):
            await self._left.wait()
        self._taken[source] += 1

    @contextmanager
    def kept(self, source: str) -> Iterator[None]:
        """Keep a place that was taken until the block ends."""
        try:
            yield
        finally:
            self._leave(source)

    def _is_full(self, source: str) -> bool:
        return self._taken.total() >= self.in_all or self._taken[source] >= self.from_one

    def _leave(self, source: str) -> None:
        self._taken[source] -= 1
        if not self._taken[source]:
            del self._taken[source]
        self._left.set()
        self._left = trio.Event()
