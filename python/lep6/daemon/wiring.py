"""From opened parts to a running service: who is given what. Nothing here waits, or fails."""

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Final, final

from attrs import evolve, frozen

from lep6.artefact_stream import ArtefactClient, ArtefactService
from lep6.config import Config
from lep6.daemon.checks import Checks
from lep6.daemon.controls import FILE, Controls
from lep6.daemon.guard import Guard
from lep6.daemon.hearing import Hearing
from lep6.daemon.measured import MeasuredChain, MeasuredNetwork, MeasuredProgress, WholeChain
from lep6.daemon.metrics import Metrics, Readings
from lep6.daemon.ops import OpsDesk
from lep6.daemon.running import RunningService, waiting
from lep6.daemon.throttle import Throttle, ThrottledArtefacts, ThrottledNetwork, ThrottledSource
from lep6.grpc import Health, Server
from lep6.heal.disk import Disk
from lep6.heal.events import Watch
from lep6.heal.ledger import Ledger
from lep6.heal.rows import Role
from lep6.heal.service import HealService
from lep6.keys import PrivateKey
from lep6.observe import Progress
from lep6.ports import Blocking, Clock, Network
from lep6.secure_rpc import Connect, Credentials, Dialer, Door, HandshakeIdentity, PeerRegistry

ARTEFACTS: Final = "supernode.SelfHealingService"
"""As the health service calls it."""
DRAIN_PART: Final = 0.5
"""Of the time that a stop may take, what open heal ops have to come to a good place."""


@final
@frozen(kw_only=True)
class Parts:
    """What a service is made of: opened for it, or a host's own."""

    config: Config
    key: PrivateKey
    chain: WholeChain
    network: Network
    survivors: Network
    ledger: Ledger
    metrics: Metrics
    connect: Connect
    blocking: Blocking
    progress: Progress
    clock: Clock
    random: Random
    watch: Watch | None

    def moving(self, network: Network, throttle: Throttle) -> Network:
        """A network whose bytes are throttled, and counted."""
        return MeasuredNetwork(ThrottledNetwork(network, throttle), self.metrics)


def wire(parts: Parts) -> RunningService:
    """Make a service of its parts."""
    config, blocking, clock = parts.config, parts.blocking, parts.clock
    throttle = Throttle()
    chain = MeasuredChain(parts.chain, parts.metrics, clock)
    dialer = Dialer(
        Credentials(parts.key),
        chain,
        PeerRegistry(chain),
        parts.random,
        port=config.listen_port,
        connect=parts.connect,
    )
    hearing = Hearing(parts.metrics, [parts.watch] if parts.watch else [])
    heal = _heal(parts, chain, dialer, throttle, hearing)
    desk = OpsDesk(heal, hearing.stuck)
    hearing.in_flight = heal.in_flight
    hearing.others.append(desk.hears)
    served = ArtefactService(
        heal.ledger.account, heal.disk.root, heal.sight, HandshakeIdentity(), blocking, damaged=heal.suspect
    )
    artefacts = ThrottledArtefacts(served, throttle, lambda count: parts.metrics.moved("served", count))
    health = Health({ARTEFACTS: True})
    checks = Checks()
    service = RunningService(
        config=config,
        account=heal.ledger.account,
        heal=heal,
        artefacts=artefacts,
        door=Door(Server([artefacts, health]), dialer.credentials, dialer.registry, dialer.seen),
        dialer=dialer,
        chain=chain,
        metrics=parts.metrics,
        controls=Controls(config.data_dir / FILE, heal, throttle, blocking),
        checks=checks,
        guard=Guard(
            heal=heal,
            chain=chain,
            registrations=chain,
            checks=checks,
            clock=clock,
            blocking=blocking,
            data_dir=config.data_dir,
        ),
        health=health,
        desk=desk,
        stuck=hearing.stuck,
    )
    parts.metrics.gauges(_readings(service))
    return service


def _heal(parts: Parts, chain: MeasuredChain, dialer: Dialer, throttle: Throttle, hearing: Hearing) -> HealService:
    config = parts.config
    progress = MeasuredProgress(parts.progress, parts.metrics)
    client = ArtefactClient(parts.ledger.account, dialer.channel, config.fetch_seconds)
    return HealService(
        ledger=parts.ledger,
        disk=Disk(config.staging_dir, parts.blocking, progress),
        chain=chain,
        accounts=chain,
        network=parts.moving(parts.network, throttle),
        survivors=parts.moving(parts.survivors, throttle),
        source=ThrottledSource(client, throttle),
        blocking=parts.blocking,
        progress=progress,
        clock=parts.clock,
        random=parts.random,
        settings=evolve(config.settings(), drain=config.lep6.stop_seconds * DRAIN_PART),
        watch=hearing,
    )


def _readings(service: RunningService) -> Readings:
    heal = service.heal
    return Readings(
        in_flight=lambda: _by_role(heal),
        waiting=lambda: waiting(heal),
        stuck=lambda: len(service.stuck),
        rows=lambda: service.guard.rows,
        staging_bytes=lambda: service.guard.staging_bytes,
        paused=lambda: service.controls.is_paused,
        refused=lambda: service.door.refused,
        checks=service.checks.well,
        last_tick=lambda: heal.last_tick,
    )


def _by_role(heal: HealService) -> Mapping[Role, int]:
    return Counter(heal.in_flight.values())
