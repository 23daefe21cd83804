"""Strict reading of generated messages.

betterproto2 reads what it can of bytes that are no message: it takes a field of another wire type as it comes, and the
rest of a cut string for the whole. So the bytes are walked first.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Final, TypeVar, cast, get_args, get_type_hints

import betterproto2
from attrs import frozen

from lep6.errors import InvalidMessage

M = TypeVar("M", bound=betterproto2.Message)

MAX_DEPTH: Final = 32
MAX_VARINT: Final = 10
"""Bytes."""
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


@frozen
class _Field:
    """How a field may stand on the wire."""

    wire_types: tuple[int, ...]
    message: type[betterproto2.Message] | None
    """The type of a field that is a message."""
    is_text: bool


def parse(message_type: type[M], data: bytes, *, knows_all: bool = False) -> M:
    """The message of these bytes. With `knows_all`, a field that the type does not have is an error, however deep.

    Raises:
        InvalidMessage: they are not one of this type: cut off, malformed, or with a field of another kind.
    """
    name = message_type.__name__
    try:
        _walk(message_type, memoryview(data), depth=0, knows_all=knows_all)
        return message_type.parse(data)
    except InvalidMessage as error:
        raise InvalidMessage(f"{len(data)} bytes are not a {name}: {error}") from error
    except (ValueError, OverflowError) as error:  # numbers and enumerations out of range
        raise InvalidMessage(f"{len(data)} bytes are not a {name}: {type(error).__name__}") from error


@functools.cache
def _fields(message_type: type[betterproto2.Message]) -> Mapping[int, _Field]:
    hints = get_type_hints(message_type)
    fields: dict[int, _Field] = {}
    for field in dataclasses.fields(cast("Any", message_type)):
        meta = betterproto2.FieldMetadata.get(field)
        if meta.proto_type in betterproto2.WIRE_VARINT_TYPES:
            own = VARINT
        elif meta.proto_type in betterproto2.WIRE_FIXED_64_TYPES:
            own = FIXED64
        elif meta.proto_type in betterproto2.WIRE_FIXED_32_TYPES:
            own = FIXED32
        else:
            own = LENGTH
        message: type[betterproto2.Message] | None = None
        if meta.proto_type == betterproto2.TYPE_MESSAGE:
            # A time is one on the wire, whatever it becomes here.
            message = meta.unwrap() if meta.unwrap is not None else _message_of(hints[field.name])
        fields[meta.number] = _Field(
            (own, LENGTH) if meta.repeated else (own,),
            message,
            meta.proto_type == betterproto2.TYPE_STRING,
        )
    return fields


def _message_of(hint: Any) -> type[betterproto2.Message] | None:
    """The message class in `M`, `M | None` or `list[M]`."""
    candidates = [hint, *get_args(hint)]
    return next(
        (found for found in candidates if isinstance(found, type) and issubclass(found, betterproto2.Message)), None
    )


def _walk(message_type: type[betterproto2.Message], data: memoryview, *, depth: int, knows_all: bool) -> None:
    if depth > MAX_DEPTH:
        raise InvalidMessage("messages are nested too deeply")
    fields = _fields(message_type)
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        field = fields.get(number)
        if not number or (field is not None and wire_type not in field.wire_types):
            raise InvalidMessage(f"field {number} has wire type {wire_type}")
        content, at = _content(data, at, wire_type)
        if field is None:
            if knows_all:
                raise InvalidMessage(f"field {number} is unknown")
            continue
        if field.message is not None:
            _walk(field.message, content, depth=depth + 1, knows_all=knows_all)
        elif field.is_text:
            _check_text(number, content)
        elif wire_type == LENGTH and field.wire_types[0] != LENGTH:
            _check_packed(field.wire_types[0], content)


def _content(data: memoryview, at: int, wire_type: int) -> tuple[memoryview, int]:
    """What a field holds, and where the next one begins."""
    if wire_type == VARINT:
        _, end = _varint(data, at)
    elif wire_type == LENGTH:
        length, at = _varint(data, at)
        end = at + length
    elif wire_type in (FIXED64, FIXED32):
        end = at + (8 if wire_type == FIXED64 else 4)
    else:
        raise InvalidMessage(f"wire type {wire_type} is not used")
    if end > len(data):
        raise InvalidMessage("a field is cut off")
    return data[at:end], end


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(data[at : at + MAX_VARINT]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:  # noqa: PLR2004
            return value, at + place + 1
    raise InvalidMessage("a number is cut off")


def _check_text(number: int, content: memoryview) -> None:
    try:
        str(content, "utf-8")
    except UnicodeDecodeError as error:
        raise InvalidMessage(f"field {number} is not UTF-8") from error


def _check_packed(wire_type: int, content: memoryview) -> None:
    """Numbers one after the other, each whole."""
    if wire_type == VARINT:
        at = 0
        while at < len(content):
            _, at = _varint(content, at)
    elif len(content) % (8 if wire_type == FIXED64 else 4):
        raise InvalidMessage("a number is cut off")
