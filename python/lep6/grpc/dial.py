"""Addresses of gRPC servers, and connecting to them."""

import ipaddress
import re
import ssl
from typing import Final, final

import trio
from attrs import frozen

from lep6.errors import InvalidAddress

CONNECT_SECONDS: Final = 20.0
TLS_SCHEMES: Final = ("https", "grpcs", "tls")
PLAIN_SCHEMES: Final = ("http", "grpc", "tcp")
DEFAULT_TLS_PORT: Final = 443
DEFAULT_PORT: Final = 9090
LARGEST_PORT: Final = 65_535

_HOST_PORT: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?/?")
_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


@final
@frozen
class Address:
    """Where a server is, and whether TLS is spoken there."""

    host: str
    port: int
    tls: bool

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read `host`, `host:port` or `scheme://host[:port]`; https, grpcs and tls mean TLS, and so does port 443.

        Raises:
            InvalidAddress: it is none of these.
        """
        scheme, separator, rest = text.partition("://")
        if separator and scheme not in TLS_SCHEMES + PLAIN_SCHEMES:
            raise InvalidAddress(f"{text!r:.100} has an unknown scheme; https and http are known")
        host, port = host_and_port(rest if separator else text, of=text)
        tls = scheme in TLS_SCHEMES if separator else port == DEFAULT_TLS_PORT
        return cls(host, port or (DEFAULT_TLS_PORT if tls else DEFAULT_PORT), tls)

    @property
    def authority(self) -> str:
        """What a request calls the server."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def host_and_port(place: str, *, of: str | None = None) -> tuple[str, int | None]:
    """Read `host` or `host:port`; an IPv6 host stands in brackets. `of` is the text that it stood in.

    Raises:
        InvalidAddress: it is neither.
    """
    text = place if of is None else of
    found = _HOST_PORT.fullmatch(place)
    if found is None or not _is_host(found):
        raise InvalidAddress(f"{text!r:.100} is not host:port")
    port = int(found["port"]) if found["port"] else None
    if port is not None and not 1 <= port <= LARGEST_PORT:
        raise InvalidAddress(f"{text!r:.100} has no port from 1 to {LARGEST_PORT}")
    return found["v6"] or found["name"].lower(), port


def listening_place(text: str) -> tuple[str, int]:
    """Read `host:port` of where to listen; port 0 is any that is free, and an IPv6 host stands in brackets.

    Raises:
        InvalidAddress: it is not that.
    """
    found = _HOST_PORT.fullmatch(text)
    if found is None or not _is_host(found) or not found["port"] or int(found["port"]) > LARGEST_PORT:
        raise InvalidAddress(f"{text!r:.100} is not host:port")
    return found["v6"] or found["name"].lower(), int(found["port"])


async def dial(address: Address, *, context: ssl.SSLContext | None = None) -> trio.abc.Stream:
    """Connect to a server, with TLS where the address asks for it; `context` replaces the system's trust.

    Raises:
        OSError: it cannot be reached.
        trio.TooSlowError: not in time.
        trio.BrokenResourceError: it does not speak TLS, or is not trusted.
    """
    with trio.fail_after(CONNECT_SECONDS):
        stream: trio.abc.Stream = await trio.open_tcp_stream(address.host, address.port)
        if not address.tls:
            return stream
        context = context or ssl.create_default_context()
        context.set_alpn_protocols(["h2"])
        secured = trio.SSLStream(stream, context, server_hostname=address.host, https_compatible=True)
        try:
            await secured.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(secured)
            raise
        return secured


def _is_host(found: re.Match[str]) -> bool:
    """Whether it is an IPv6 address, or a name that can be looked up."""
    if found["v6"] is None:
        name = found["name"].removesuffix(".")
        return len(name) <= 253 and all(_LABEL.fullmatch(label) for label in name.split("."))  # noqa: PLR2004
    try:
        ipaddress.IPv6Address(found["v6"])
    except ValueError:
        return False
    return True
