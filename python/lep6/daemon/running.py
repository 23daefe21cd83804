"""A heal service that runs, with what its host and its operator may want of it."""

import time
from importlib.metadata import version
from typing import Any, Final, final

from attrs import define, field

from lep6.config import Config
from lep6.daemon.checks import Checks
from lep6.daemon.controls import Controls
from lep6.daemon.guard import Guard
from lep6.daemon.measured import MeasuredChain
from lep6.daemon.metrics import Metrics
from lep6.daemon.ops import OpsDesk
from lep6.daemon.throttle import ThrottledArtefacts
from lep6.grpc import Health
from lep6.heal.service import HealService
from lep6.secure_rpc import Dialer, Door

STATUS_VERSION: Final = 1


@final
@define(eq=False, kw_only=True)
class RunningService:
    """A heal service that runs, and what a host may want of it."""

    config: Config
    account: str
    heal: HealService
    artefacts: ThrottledArtefacts
    """What verifiers call. A host that has its own server mounts it there."""
    door: Door
    """Takes accepted connections: `door.serve_stream`."""
    health: Health
    """Tells callers whether the artefacts are served."""
    dialer: Dialer
    chain: MeasuredChain
    metrics: Metrics
    controls: Controls
    checks: Checks
    guard: Guard
    desk: OpsDesk
    """Tells of single ops, and does what an operator wants with them."""
    stuck: set[int]
    """Ops that have failed so often that somebody should look at them."""
    started_at: float = field(factory=time.time)

    async def status(self) -> dict[str, Any]:
        """How it is, as one document for people and programs; fields may be added to it at any time."""
        block, sight = self.guard.block, self.heal.sight
        return {
            "version": STATUS_VERSION,
            "lep6": version("lep6"),
            "account": self.account,
            "started_at": self.started_at,
            "healing": self.config.healing.name.lower(),
            "paused": self.controls.is_paused,
            "ready": self.checks.is_ready,
            "checks": {name: {"ok": ok, "detail": detail} for name, (ok, detail) in self.checks.results().items()},
            "chain": {
                "id": self.config.lumera.chain_id,
                "height": sight.height,
                "newest_block_at": None if block is None else block.time,
                "mode": None if sight.parameters is None else sight.parameters.mode.name,
            },
            "in_flight": [{"op": op_id, "role": role.value} for op_id, role in sorted(self.heal.in_flight.items())],
            "waiting": waiting(self.heal),
            "stuck": sorted(self.stuck),
            "rows": dict(self.guard.rows),
            "staging_bytes": self.guard.staging_bytes,
            "limits": self.controls.limits(),
            "peers_refused": {why.name.lower(): count for why, count in sorted(self.door.refused.items(), key=str)},
        }


def waiting(heal: HealService) -> dict[str, int]:
    """How many walks wait for a place, by what they are to do there."""
    return {name: slots.statistics().tasks_waiting for name, slots in heal.slots.items()}
