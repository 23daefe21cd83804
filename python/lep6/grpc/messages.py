"""Messages on a stream: a flag, a length, and the bytes that grpclib's codec makes of them."""

from typing import Any, Final, TypeVar, cast

import betterproto2
import trio
from google.protobuf.message import DecodeError
from grpclib.const import Status
from grpclib.encoding.proto import ProtoCodec

from lep6 import protobuf
from lep6.errors import InvalidMessage, RpcRefused, RpcUnanswered
from lep6.grpc.stream import H2Stream

T = TypeVar("T")

PREFIX: Final = 5
CODEC: Final = ProtoCodec()
CONTENT_TYPE: Final = "application/grpc"


def is_grpc(content_type: str | None) -> bool:
    """Whether a content type is gRPC with protobuf messages."""
    return content_type in (CONTENT_TYPE, f"{CONTENT_TYPE}+proto")


async def receive(stream: H2Stream, message_type: type[T]) -> T | None:
    """The next message; `None` when the other side has ended. Cancelled: nothing of it was taken.

    Raises:
        RpcError: the message is compressed, too large, cut off, or not of its type.
    """
    prefix = await stream.receive_exactly(PREFIX)
    if prefix is None:
        return None
    if prefix[0]:
        raise RpcUnanswered(Status.UNIMPLEMENTED, "messages are not to be compressed")
    length = int.from_bytes(prefix[1:], "big")
    limits = stream.connection.limits
    limit = limits.max_message if stream.connection.is_client else min(limits.max_message, limits.max_request)
    if length > limit:
        raise RpcUnanswered(
            Status.RESOURCE_EXHAUSTED, f"a message of {length} bytes is larger than the {limit} allowed"
        )
    try:
        body = await stream.receive_exactly(length) if length else b""
    except trio.Cancelled:
        stream.put_back(prefix)
        raise
    if body is None:
        raise RpcUnanswered(Status.INTERNAL, "the stream ended in the middle of a message")
    return decode(body, message_type)


def decode(body: bytes, message_type: type[T]) -> T:
    """The message of these bytes.

    Raises:
        RpcError: they are not one of its type.
    """
    try:
        if issubclass(message_type, betterproto2.Message):
            return protobuf.parse(message_type, body)
        return cast("T", CODEC.decode(body, cast("Any", message_type)))
    except (InvalidMessage, DecodeError) as error:
        raise RpcUnanswered(Status.INTERNAL, str(error)) from error


async def send(stream: H2Stream, message: Any, message_type: type[Any], *, end: bool = False) -> None:
    """Send a message.

    Raises:
        RpcError: it is too large, or the stream is over.
    """
    body = CODEC.encode(message, message_type)
    limit = stream.connection.limits.max_message
    if len(body) > limit:
        raise RpcRefused(
            Status.RESOURCE_EXHAUSTED, f"a message of {len(body)} bytes is larger than the {limit} allowed"
        )
    await stream.send_data(b"".join((b"\0", len(body).to_bytes(4, "big"), body)), end=end)
