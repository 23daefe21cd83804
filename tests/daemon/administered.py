"""A service behind an admin socket that does nothing but remember what it was told."""

from contextlib import asynccontextmanager

import trio
from attrs import define, field

from lep6.daemon.admin import ADMIN_SOCKET, admin_socket
from lep6.daemon.admin_protocol import line
from lep6.errors import InvalidLimit

LOSS = {
    "op": 5,
    "role": "healer",
    "state": "accepted",
    "ticket": "7",
    "in_flight": True,
    "claim": {"state": "accepted", "manifest_hash": "aGFzaA==", "staging": "5", "submitted_at": 1.0},
    "vote": None,
    "intent": {"says": "claim", "hash": "aGFzaA==", "transaction": {"hash": "AB", "sequence": 1, "timeout_height": 9}},
    "disk": {
        "path": "/data/staging/5",
        "staged_bytes": 2048,
        "building_bytes": 0,
        "work_bytes": 1,
        "damaged_bytes": 0,
    },
    "may_be_only_copy": True,
}
LINE = {
    "op": 5,
    "role": "healer",
    "state": "accepted",
    "ticket": "7",
    "in_flight": True,
    "dropped": False,
    "stuck": True,
    "failures": 3,
    "retry_in_seconds": 12.5,
    "reason": "no room [for it]",
    "bytes": 2049,
}
STATUS = {
    "version": 1,
    "started_at": 0.0,
    "paused": False,
    "checks": {"ledger": {"ok": True, "detail": "3 rows"}, "chain": {"ok": False, "detail": "away [now]"}},
    "in_flight": [{"op": 5, "role": "healer"}],
    "rows": {"accepted": 1},
    "stuck": [],
    "staging_bytes": 2048,
}
HELD = {"reconstructs": 2, "bytes_per_second": 0}


@define(eq=False)
class Remembering:
    """An `Administered`. It knows heal op 5."""

    calls: list[tuple[str, object]] = field(factory=list)
    delay: float = 0.0
    error: BaseException | None = None
    document: dict = field(factory=lambda: dict(STATUS))
    held: dict = field(factory=lambda: dict(HELD))
    at_once: int = 0
    most_at_once: int = 0
    listed: list = field(factory=lambda: [LINE])
    begun: trio.Event = field(factory=trio.Event)

    async def _called(self, name, argument=None):
        self.calls.append((name, argument))
        self.at_once += 1
        self.begun.set()
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await trio.sleep(self.delay)
        finally:
            self.at_once -= 1
        if self.error is not None:
            raise self.error

    async def status(self):
        self.calls.append(("status", None))
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        return self.document

    async def ops(self):
        await self._called("ops")
        return self.listed

    async def op(self, op_id, /):
        await self._called("op", op_id)
        return {**LINE, "chain": {"status": "HEALER_REPORTED"}} if op_id == 5 else None

    async def retry(self, op_id, /):
        await self._called("retry", op_id)
        return op_id == 5

    async def would_lose(self, op_id, /):
        return LOSS if op_id == 5 else None

    async def drop(self, op_id, /):
        await self._called("drop", op_id)

    async def pause(self):
        await self._called("pause")

    async def resume(self):
        await self._called("resume")

    def limits(self):
        return dict(self.held)

    async def set_limits(self, limits, /):
        await self._called("set_limits", dict(limits))
        if strange := set(limits) - set(self.held):
            raise InvalidLimit(f"there is no limit {min(strange)!r}")
        self.held |= {name: HELD[name] if value is None else value for name, value in limits.items()}
        return self.limits()

    def set_log_level(self, level, /):
        self.calls.append(("log_level", level))


@define(eq=False)
class Socket:
    """The admin socket of such a service."""

    path: object
    service: Remembering

    async def connect(self):
        return await trio.open_unix_socket(str(self.path))

    async def tell(self, raw, *, most=1 << 20):
        """Send something on a connection of its own, and read all that comes until the other side closes."""
        async with await self.connect() as stream:
            await stream.send_all(raw)
            await stream.send_eof()
            return b"".join([part async for part in stream])[:most]


@asynccontextmanager
async def a_socket(directory, service=None):
    service = service or Remembering()
    path = directory / ADMIN_SOCKET
    async with admin_socket(path, service):
        yield Socket(path, service)


def request(do, **arguments):
    return line({"version": 1, "do": do, **arguments})
