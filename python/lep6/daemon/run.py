"""`lep6 run`: the service, its metrics, its admin socket, and the signals that stop it."""

import resource
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Final, final

import trio
from attrs import frozen

from lep6.beside import beside
from lep6.config import Config
from lep6.daemon.admin import ADMIN_SOCKET, admin_socket
from lep6.daemon.administration import Administration
from lep6.daemon.exits import Exit
from lep6.daemon.http import serve_http
from lep6.daemon.listening import listen
from lep6.daemon.notify import Notifier
from lep6.daemon.running import RunningService
from lep6.daemon.service import open_service
from lep6.observe import get_logger
from lep6.ports import Blocking, Network

log = get_logger("daemon")

STATUS_SECONDS: Final = 10.0
"""Between lines of status to the service manager."""


@final
@frozen
class Networks:
    """The network, as one node of it uses it."""

    others: Network
    survivors: Network
    """The others, and this node's own store."""


OpenNetworks = Callable[[Config, Blocking], AbstractAsyncContextManager[Networks]]


async def run_daemon(
    config: Config, blocking: Blocking, environ: Mapping[str, str], open_networks: OpenNetworks
) -> Exit:
    """Run until a signal says to stop. A second one breaks off what the first one lets end.

    Raises:
        Lep6Error, OSError: as `open_service`.
    """
    _take_all_descriptors()
    notifier = Notifier.from_environment(environ)
    stopping = trio.Event()
    with (
        trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals,
        trio.CancelScope() as everything,
    ):
        async with (
            beside(partial(_heed, signals, stopping, everything, config.lep6.stop_seconds, notifier)),
            open_networks(config, blocking) as networks,
            open_service(config, network=networks.others, survivors=networks.survivors, blocking=blocking) as service,
            _operated(config, service, notifier),
        ):
            await stopping.wait()
            # Until what runs has come to a good place, operators and monitoring see how it is.
            service.heal.stop()
            await service.heal.ended.wait()
    if everything.cancelled_caught:
        log.error("broken_off", hint="what was broken off goes on at the next start")
        return Exit.BROKEN_OFF
    return Exit.STOPPED


def _take_all_descriptors() -> None:
    """Connections that wait and those that are open may be more than the soft limit, which is often 1024, lets in."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _heed(
    signals: AsyncIterator[int],
    stopping: trio.Event,
    everything: trio.CancelScope,
    stop_seconds: float,
    notifier: Notifier,
) -> None:
    """Stop at the first signal, within the time that a stop may take; at the second one, at once."""
    async for number in signals:
        if stopping.is_set():
            everything.cancel(reason="a second signal")
            return
        log.info("stopping", signal=signal.Signals(number).name, within_seconds=stop_seconds)
        notifier.stopping()
        everything.deadline = trio.current_time() + stop_seconds
        stopping.set()


@asynccontextmanager
async def _operated(config: Config, service: RunningService, notifier: Notifier) -> AsyncIterator[None]:
    """Let operators look at a service, and lead it."""
    async with AsyncExitStack() as stack:
        place = config.metrics_place
        if place is not None:
            listeners = await listen(*place, what="lep6.metrics_listen")
            serving = partial(
                serve_http, listeners, metrics=service.metrics.render, checks=service.checks, status=service.status
            )
            await stack.enter_async_context(beside(serving))
        administration = Administration(service)
        await stack.enter_async_context(admin_socket(config.data_dir / ADMIN_SOCKET, administration))
        await stack.enter_async_context(beside(partial(_tell, service, notifier)))
        await stack.enter_async_context(beside(partial(notifier.run_watchdog, service.guard.look_at_loop)))
        yield


async def _tell(service: RunningService, notifier: Notifier) -> None:
    """Tell the service manager how it is, and once that it is ready."""
    while not service.checks.is_ready:
        notifier.status(_line(service))
        with trio.move_on_after(STATUS_SECONDS):
            await service.checks.ready.wait()
            break
    notifier.ready()
    log.info("ready", height=service.guard.block.height if service.guard.block else None)
    while True:
        notifier.status(_line(service))
        await trio.sleep(STATUS_SECONDS)


def _line(service: RunningService) -> str:
    state = "paused" if service.controls.is_paused else service.config.healing.name.lower()
    bad = [name for name, (is_well, _) in service.checks.results().items() if not is_well]
    height, ops = service.heal.sight.height, len(service.heal.in_flight)
    return f"{state}, height {height}, {ops} ops at work" + (f"; not well: {', '.join(bad)}" if bad else "")
