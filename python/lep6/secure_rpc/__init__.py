"""Lumera ALTS: connections between nodes that prove who is at either end (docs/formats.md, "Secure RPC").

What comes out is a `trio.abc.Stream`, as a `trio.SSLStream` is.
"""

from lep6.secure_rpc.dialer import Connect, Dialer
from lep6.secure_rpc.door import Door
from lep6.secure_rpc.identity import DEFAULT_PORT, Credentials, PeerAddress, PeerType
from lep6.secure_rpc.registry import PeerRegistry
from lep6.secure_rpc.seen import SeenKeys
from lep6.secure_rpc.stream import AltsStream, HandshakeIdentity

__all__ = [
    "DEFAULT_PORT",
    "AltsStream",
    "Connect",
    "Credentials",
    "Dialer",
    "Door",
    "HandshakeIdentity",
    "PeerAddress",
    "PeerRegistry",
    "PeerType",
    "SeenKeys",
]
