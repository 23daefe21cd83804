"""A running service as its operator leads it: what the admin socket asks of it."""

from collections.abc import Mapping
from typing import Any, final

from attrs import frozen

from lep6.config import LogLevel
from lep6.daemon.logs import write_events
from lep6.daemon.running import RunningService


@final
@frozen(eq=False)
class Administration:
    """An `Administered`."""

    service: RunningService

    async def status(self) -> dict[str, Any]:
        """See `Administered.status`."""
        return await self.service.status()

    async def ops(self) -> list[dict[str, Any]]:
        """See `Administered.ops`."""
        return await self.service.desk.ops()

    async def op(self, op_id: int, /) -> dict[str, Any] | None:
        """See `Administered.op`."""
        return await self.service.desk.op(op_id)

    async def retry(self, op_id: int, /) -> bool:
        """See `Administered.retry`."""
        return await self.service.desk.retry(op_id)

    async def would_lose(self, op_id: int, /) -> dict[str, Any] | None:
        """See `Administered.would_lose`."""
        return await self.service.desk.would_lose(op_id)

    async def drop(self, op_id: int, /) -> None:
        """See `Administered.drop`."""
        await self.service.desk.drop(op_id)

    async def pause(self) -> None:
        """See `Administered.pause`."""
        await self.service.controls.pause()

    async def resume(self) -> None:
        """See `Administered.resume`."""
        await self.service.controls.resume()

    def limits(self) -> dict[str, int]:
        """See `Administered.limits`."""
        return self.service.controls.limits()

    async def set_limits(self, limits: Mapping[str, Any], /) -> dict[str, int]:
        """See `Administered.set_limits`."""
        return await self.service.controls.set_limits(limits)

    def set_log_level(self, level: LogLevel, /) -> None:
        """See `Administered.set_log_level`."""
        write_events(self.service.config.lep6.log_format, level)
