"""The self-healing runtime of the Lumera storage network (LEP-6).

A host embeds it with `open_service` on Trio, or with `ServiceThread` beside any other loop (docs/operating.md).
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from lep6.config import load as load_config
    from lep6.daemon.running import RunningService
    from lep6.daemon.service import open_service
    from lep6.daemon.thread import ServiceThread

__all__ = ["RunningService", "ServiceThread", "load_config", "open_service"]

_HOMES: Final = {
    "RunningService": ("lep6.daemon.running", "RunningService"),
    "ServiceThread": ("lep6.daemon.thread", "ServiceThread"),
    "load_config": ("lep6.config", "load"),
    "open_service": ("lep6.daemon.service", "open_service"),
}
"""Loaded when they are asked for: the command line does without most of them."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room, original = _HOMES[name]
    return getattr(importlib.import_module(room), original)
