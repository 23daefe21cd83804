"""Who a peer is, and where it is (secure RPC contract §2)."""

import enum
import ipaddress
from typing import Final, final
from urllib.parse import urlsplit

from attrs import frozen

from lep6.errors import InvalidAddress, InvalidKey
from lep6.grpc.dial import host_and_port
from lep6.keys import PrivateKey, address_bytes

DEFAULT_PORT: Final = 4444
"""Of the gRPC server of a supernode."""


class PeerType(enum.IntEnum):
    """As what an account presents itself, in the numbers of the wire; comments in the network's sources have others."""

    SIMPLENODE = 1
    """A plain account."""
    SUPERNODE = 2
    """An account that is registered as a supernode."""


@final
@frozen
class Credentials:
    """As whom this node presents itself."""

    key: PrivateKey
    peer_type: PeerType = PeerType.SUPERNODE

    @property
    def account(self) -> str:
        """The bech32 address of the key."""
        return self.key.public.address


@final
@frozen
class PeerAddress:
    """Where a server is, and as which account it has to prove itself."""

    identity: str
    """A bech32 account address, lower case."""
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "PeerAddress":
        """Read `identity@host:port`; an IPv6 host stands in brackets.

        Raises:
            InvalidAddress: it is not that.
        """
        identity, _, rest = (part.strip() for part in text.partition("@"))
        if not identity or not rest:
            raise InvalidAddress(f"{text!r:.200} is not identity@host:port")
        host, port = host_and_port(rest)
        if port is None:
            raise InvalidAddress(f"{text!r:.200} has no port")
        return cls(_account(identity), host, port)

    @classmethod
    def registered(cls, identity: str, text: str, default_port: int) -> "PeerAddress":
        """From what the chain has of a supernode: a host, `host:port`, or a URL whose host is used.

        Raises:
            InvalidAddress: there is no host in it.
        """
        place = _place(text.strip())
        try:
            host, port = host_and_port(place)
        except InvalidAddress:
            # Where only the port is no port, it is as if there were none.
            host, port = _only_host(place), None
        return cls(_account(identity), host, port or default_port)

    @property
    def place(self) -> str:
        """`host:port`, without the identity."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.identity}@{self.place}"


def _account(text: str) -> str:
    """An account address in its one spelling."""
    try:
        address_bytes(text)
    except InvalidKey as error:
        raise InvalidAddress(f"{text!r:.200} is not an account: {error}") from error
    if text != text.lower():
        raise InvalidAddress(f"{text!r:.200} is not in lower case, as the network writes accounts")
    return text


def _place(text: str) -> str:
    """The part of a registered text that tells host and port."""
    if "://" not in text:
        return text
    try:
        return urlsplit(text).netloc.rpartition("@")[2]
    except ValueError as error:
        raise InvalidAddress(f"{text!r:.200} is no URL: {error}") from error


def _only_host(place: str) -> str:
    try:
        address = ipaddress.IPv6Address(place)
    except ValueError:
        return host_and_port(place.rpartition(":")[0])[0]
    if address.scope_id is not None:
        raise InvalidAddress(f"{place!r:.200} names an interface of another machine")
    return str(address)
