"""Statuses of gRPC for what HTTP/2 says."""

from typing import Final

from grpclib.const import Status
from h2.errors import ErrorCodes

RESET_STATUS: Final = {
    ErrorCodes.REFUSED_STREAM: Status.UNAVAILABLE,
    ErrorCodes.CANCEL: Status.CANCELLED,
    ErrorCodes.ENHANCE_YOUR_CALM: Status.RESOURCE_EXHAUSTED,
    ErrorCodes.INADEQUATE_SECURITY: Status.PERMISSION_DENIED,
}
"""By the code of a reset; any other is INTERNAL."""

HTTP_STATUS: Final = {
    "400": Status.INTERNAL,
    "401": Status.UNAUTHENTICATED,
    "403": Status.PERMISSION_DENIED,
    "404": Status.UNIMPLEMENTED,
    "429": Status.UNAVAILABLE,
    "502": Status.UNAVAILABLE,
    "503": Status.UNAVAILABLE,
    "504": Status.UNAVAILABLE,
}
"""By the :status of an answer that is not gRPC's; any other is UNKNOWN."""


def reset_status(code: int) -> Status:
    """The status of a stream that was reset."""
    return next((status for known, status in RESET_STATUS.items() if known == code), Status.INTERNAL)


def status_of(text: str | None) -> Status:
    """The status that a `grpc-status` header gives; UNKNOWN where it gives none."""
    try:
        return Status(int(text)) if text is not None else Status.UNKNOWN
    except ValueError:
        return Status.UNKNOWN
