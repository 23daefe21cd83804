"""gRPC over any `trio.abc.Stream`: grpclib's services and stubs on Trio, HTTP/2 by h2. Knows nothing of Lumera."""

from lep6.grpc.channel import Channel, ReconnectingChannel, open_channel
from lep6.grpc.client import Call
from lep6.grpc.dial import Address, dial
from lep6.grpc.health import Health
from lep6.grpc.limits import Limits
from lep6.grpc.server import Server, Service
from lep6.grpc.service import ServiceBase
from lep6.grpc.serving import Request
from lep6.grpc.stub import ServiceStub

__all__ = [
    "Address",
    "Call",
    "Channel",
    "Health",
    "Limits",
    "ReconnectingChannel",
    "Request",
    "Server",
    "Service",
    "ServiceBase",
    "ServiceStub",
    "dial",
    "open_channel",
]
