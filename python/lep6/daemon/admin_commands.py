"""What may be asked of a running daemon, and told to it, over its admin socket."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, final

from attrs import frozen

from lep6.config import LogLevel
from lep6.daemon.admin_protocol import VERSION
from lep6.errors import AdminRefusal, AdminRefused, InvalidLimit
from lep6.heal.disk import LARGEST_ID


class Administered(Protocol):
    """A running service, as its operator sees it. Documents are JSON objects; fields are added to them freely."""

    async def status(self) -> dict[str, Any]:
        """How it is."""

    async def ops(self) -> list[dict[str, Any]]:
        """The ops that it has anything of."""

    async def op(self, op_id: int, /) -> dict[str, Any] | None:
        """All that it knows of an op; `None` when it has nothing of it."""

    async def retry(self, op_id: int, /) -> bool:
        """Wait no longer with what has failed about an op; whether it has anything of it."""

    async def would_lose(self, op_id: int, /) -> dict[str, Any] | None:
        """What would be lost if an op was dropped; `None` when it has nothing of it."""

    async def drop(self, op_id: int, /) -> None:
        """Remove everything that it has of an op, and leave it alone."""

    async def pause(self) -> None:
        """Begin nothing new."""

    async def resume(self) -> None:
        """Begin new work again."""

    def limits(self) -> dict[str, int]:
        """The limits that hold now, by name."""

    async def set_limits(self, limits: Mapping[str, Any], /) -> dict[str, int]:
        """Set some limits, or with `None` what the configuration says; those that hold then.

        Raises:
            InvalidLimit: there is no such limit, or it cannot have this value. None was set.
        """

    def set_log_level(self, level: LogLevel, /) -> None:
        """Write events of this level, and worse."""


@final
@frozen
class Asked:
    """A request that is understood: something that can be done, with what it needs for that."""

    do: str
    arguments: Mapping[str, Any]

    @property
    def changes(self) -> bool:
        """Whether it is one to change something."""
        return self.do in _CHANGING or (self.do == "ops.drop" and self.arguments.get("yes") is True)

    async def carry_out(self, service: Administered) -> dict[str, Any]:
        """Do it.

        Raises:
            AdminRefused: an argument is none, or it is about something that is not there.
            Lep6Error, OSError: as the service raises them.
        """
        return await _COMMANDS[self.do].carry_out(service, dict(self.arguments))


def understood(request: Mapping[str, Any]) -> Asked:
    """What a request asks for.

    Raises:
        AdminRefused: it is not one.
    """
    if request.get("version") != VERSION:
        raise _invalid(f"this daemon takes requests of version {VERSION}, not {request.get('version')!r:.60}")
    do = request.get("do")
    command = _COMMANDS.get(do) if isinstance(do, str) else None
    if command is None:
        raise _invalid(f"there is nothing to do that is called {do!r:.60}; there are {', '.join(_COMMANDS)}")
    arguments = {name: value for name, value in request.items() if name not in ("version", "do")}
    if strange := sorted(set(arguments) - {*command.needs, *command.takes}):
        raise _invalid(f"{do} takes no {strange[0]!r:.60}")
    if missing := [name for name in command.needs if name not in arguments]:
        raise _invalid(f"{do} needs {missing[0]!r}")
    return Asked(str(do), arguments)


@final
@frozen
class _Command:
    carry_out: Callable[[Administered, dict[str, Any]], Awaitable[dict[str, Any]]]
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


async def _status(service: Administered, _: dict[str, Any]) -> dict[str, Any]:
    return await service.status()


async def _list(service: Administered, _: dict[str, Any]) -> dict[str, Any]:
    return {"ops": await service.ops()}


async def _show(service: Administered, arguments: dict[str, Any]) -> dict[str, Any]:
    op_id = _op_id(arguments)
    return _found(op_id, await service.op(op_id))


async def _retry(service: Administered, arguments: dict[str, Any]) -> dict[str, Any]:
    op_id = _op_id(arguments)
    if not await service.retry(op_id):
        raise _not_found(op_id)
    return {"op": op_id, "retried": True}


async def _drop(service: Administered, arguments: dict[str, Any]) -> dict[str, Any]:
    op_id, is_sure = _op_id(arguments), arguments.get("yes", False)
    if not isinstance(is_sure, bool):
        raise _invalid(f"yes is true or false, not {is_sure!r:.60}")
    loss = _found(op_id, await service.would_lose(op_id))
    if is_sure:
        await service.drop(op_id)
    return {"op": op_id, "dropped": is_sure, "loss": loss}


async def _pause(service: Administered, _: dict[str, Any]) -> dict[str, Any]:
    await service.pause()
    return {"paused": True}


async def _resume(service: Administered, _: dict[str, Any]) -> dict[str, Any]:
    await service.resume()
    return {"paused": False}


async def _limits(service: Administered, _: dict[str, Any]) -> dict[str, Any]:
    return {"limits": service.limits()}


async def _set_limits(service: Administered, arguments: dict[str, Any]) -> dict[str, Any]:
    limits = arguments["limits"]
    if not isinstance(limits, dict) or not limits:
        raise _invalid(f"limits is an object of names, and numbers or null, not {limits!r:.60}")
    try:
        return {"limits": await service.set_limits(limits)}
    except InvalidLimit as error:
        raise _invalid(str(error)) from error


async def _set_log_level(service: Administered, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        level = LogLevel(arguments["level"])
    except ValueError as error:
        levels = ", ".join(level.value for level in LogLevel)
        raise _invalid(f"there is no level {arguments['level']!r:.60}; there are {levels}") from error
    service.set_log_level(level)
    return {"level": level.value}


_COMMANDS: Final[Mapping[str, _Command]] = {
    "status": _Command(_status),
    "ops.list": _Command(_list),
    "ops.show": _Command(_show, needs=("op",)),
    "ops.retry": _Command(_retry, needs=("op",)),
    "ops.drop": _Command(_drop, needs=("op",), takes=("yes",)),
    "pause": _Command(_pause),
    "resume": _Command(_resume),
    "limits.show": _Command(_limits),
    "limits.set": _Command(_set_limits, needs=("limits",)),
    "log.level": _Command(_set_log_level, needs=("level",)),
}
_CHANGING: Final = ("ops.retry", "pause", "resume", "limits.set", "log.level")


def _op_id(arguments: dict[str, Any]) -> int:
    value = arguments["op"]
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LARGEST_ID:
        raise _invalid(f"op is the id of a heal op, a whole number from 1, not {value!r:.60}")
    return value


def _found(op_id: int, document: dict[str, Any] | None) -> dict[str, Any]:
    if document is None:
        raise _not_found(op_id)
    return document


def _invalid(text: str) -> AdminRefused:
    return AdminRefused(AdminRefusal.INVALID, text)


def _not_found(op_id: int) -> AdminRefused:
    return AdminRefused(AdminRefusal.NOT_FOUND, f"this node has nothing of heal op {op_id}")
