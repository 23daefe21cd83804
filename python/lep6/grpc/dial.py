"""Addresses of gRPC servers, and connecting to them."""

import ssl
from typing import Final, final
from urllib.parse import urlsplit

import trio
from attrs import frozen

from lep6.errors import InvalidAddress

CONNECT_SECONDS: Final = 20.0
TLS_SCHEMES: Final = ("https", "grpcs", "tls")
PLAIN_SCHEMES: Final = ("http", "grpc", "tcp")
DEFAULT_TLS_PORT: Final = 443
DEFAULT_PORT: Final = 9090


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
        try:
            parts = urlsplit(f"//{rest if separator else text}")
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise InvalidAddress(f"{text!r:.100} is not an address: {error}") from error
        if separator and scheme not in TLS_SCHEMES + PLAIN_SCHEMES:
            raise InvalidAddress(f"{text!r:.100} has an unknown scheme; https and http are known")
        if not host or parts.path or parts.query or parts.username is not None:
            raise InvalidAddress(f"{text!r:.100} is not host:port")
        tls = scheme in TLS_SCHEMES if separator else port == DEFAULT_TLS_PORT
        return cls(host, port or (DEFAULT_TLS_PORT if tls else DEFAULT_PORT), tls)

    @property
    def authority(self) -> str:
        """What a request calls the server."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


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
