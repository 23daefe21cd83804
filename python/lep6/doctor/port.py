"""Whether others can reach the node's port, as far as that can be seen from the node itself."""

import errno
import socket
from typing import Final

import trio

from lep6.config import Config
from lep6.doctor.finding import Findings
from lep6.doctor.patient import Patient
from lep6.errors import HandshakeFailed, HandshakeFailure, InvalidAddress
from lep6.secure_rpc import DEFAULT_PORT, Credentials, Dialer, PeerAddress, PeerRegistry

SECONDS: Final = 8.0
"""For reaching the port."""
FORWARD: Final = "see that firewall and router let others in; some routers only hide it from inside: try from elsewhere"


async def look_at_port(patient: Patient, found: Findings) -> None:
    """See who has the port here, and who answers where the chain says that this node is."""
    await _look_here(patient, found)
    if patient.standing is None:
        found.note("not dialled: where others dial is not known", "mend the chain or the registration first")
        return
    try:
        address = PeerAddress.registered(patient.account, patient.standing.address, DEFAULT_PORT)
    except InvalidAddress:
        found.note("not dialled: the registered address is none", "mend the registration first")
        return
    await _look_there(patient, address, found)


async def _look_here(patient: Patient, found: Findings) -> None:
    config, runs = patient.config, patient.holder is not None
    for key, host, port in _places(config):
        failure = await _not_bound(host, port)
        place = f"port {port} of {host}"
        if failure is None and runs:
            found.bad(
                f"the daemon runs, and nobody listens at {place}", f"see its log; is {key} what it was started with?"
            )
        elif failure is None:
            found.ok(f"{place} is free for the daemon")
        elif failure.errno == errno.EADDRINUSE and runs:
            found.ok(f"{place} is taken, as it must be while the daemon runs")
        elif failure.errno == errno.EADDRINUSE:
            found.bad(
                f"{place} is taken, and not by a lep6 on this data",
                f"stop what has it (ss -ltnp 'sport = :{port}'), often a Go supernode, or set {key}",
            )
        else:
            found.bad(f"{place} cannot be listened at: {failure.strerror or failure}", f"set {key} to one that can")


def _places(config: Config) -> list[tuple[str, str, int]]:
    """What the daemon listens at, by the key that says so."""
    metrics = config.metrics_place
    places = [("supernode.port", config.listen_host, config.listen_port)]
    return [*places, ("lep6.metrics_listen", *metrics)] if metrics is not None and metrics[1] else places


async def _not_bound(host: str, port: int) -> OSError | None:
    """Why a port cannot be had; `None`: it can. It is bound for a moment, never listened at: in nobody's way."""
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        return error
    for family, kind, protocol, _, address in found:
        with trio.socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                tried.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                await tried.bind(address)
            except OSError as error:
                return error
    return None


async def _look_there(patient: Patient, address: PeerAddress, found: Findings) -> None:
    runs = patient.holder is not None
    try:
        with trio.fail_after(SECONDS):
            who = await _who_answers(patient, address)
    except (OSError, trio.TooSlowError) as error:
        why = f"{address.place} cannot be reached from here ({_reason(error)})"
        if runs:
            found.warn(why, FORWARD)
        else:
            found.note(f"{why}; no daemon runs that would answer", "ask again while the daemon runs")
        return
    if isinstance(who, HandshakeFailed):
        if who.why is HandshakeFailure.UNEXPECTED:
            found.bad(f"{address.place}: {who}", "register the right address: others take this one for an impostor")
        elif runs:
            found.warn(f"{address.place} answers, but {who}", "see the daemon's log for why it refuses its own account")
        else:
            found.note(f"{address.place} answers, but {who}", "find out what listens there while the daemon is down")
    elif not runs and who:
        found.warn(
            f"{address.place} answers as {patient.account}, and no daemon runs on this data",
            "only one may heal with a key: stop the other before you start this one",
        )
    elif who:
        found.ok(f"{address.place} answers as {patient.account}")
    else:
        found.note(
            f"{address.place} takes connections; without the key it was not asked who it is", "mend the key first"
        )


async def _who_answers(patient: Patient, address: PeerAddress) -> HandshakeFailed | bool:
    """Why whoever answers is not this account; or whether it was asked."""
    if patient.key is None:
        await trio.aclose_forcefully(await trio.open_tcp_stream(address.host, address.port))
        return False
    async with patient.chain() as chain:
        dialer = Dialer(Credentials(patient.key), chain, PeerRegistry(chain), patient.random)
        try:
            stream = await dialer.dial(address)
        except HandshakeFailed as error:
            return error
        await trio.aclose_forcefully(stream)
        return True


def _reason(error: OSError | trio.TooSlowError) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error) or f"nothing came within {SECONDS:g} s"
