"""Whether the account is a registered supernode, and where the chain says that it is."""

import ipaddress
from typing import Final

from lep6.config import DEVNET_CHAIN_ID
from lep6.doctor.finding import Findings
from lep6.doctor.patient import Patient
from lep6.errors import ChainUnavailable, InvalidAddress
from lep6.secure_rpc import DEFAULT_PORT, PeerAddress

ACTIVE: Final = "active"
READING: Final = ("postponed", "storage_full")
"""States in which a node still serves what it has."""


async def look_at_registration(patient: Patient, found: Findings) -> None:
    """Ask how the account is registered, and hold its address against the configured port."""
    account = patient.account
    async with patient.chain() as chain:
        try:
            standing = await chain.standing(account)
        except ChainUnavailable as error:
            found.warn(f"the chain does not say: {error}", "ask again, or name another node")
            return
    if standing is None:
        found.bad(f"the chain knows no supernode of {account}", "register it, or mend supernode.identity and the key")
        return
    patient.standing = standing
    why = f" ({standing.reason})" if standing.reason else ""
    said = f"{account} is a supernode, {standing.state}{why}, at {standing.address or 'no address'}"
    if standing.state == ACTIVE:
        found.ok(said)
    elif standing.state in READING:
        found.warn(said, "find out why the chain has taken its work from it; it gets no new heal ops like this")
    else:
        found.bad(said, "start the supernode on the chain again; it gets no heal ops like this")
    _look_at_address(patient, standing.address, found)


def _look_at_address(patient: Patient, text: str, found: Findings) -> None:
    own = patient.config.listen_port
    try:
        registered = PeerAddress.registered(patient.account, text, DEFAULT_PORT)
    except InvalidAddress as error:
        found.bad(f"the registered address is none ({error})", "register the host, and the port of supernode.port")
        return
    if registered.port != own:
        found.bad(
            f"others dial port {registered.port} of {registered.host}, and supernode.port is {own}",
            f"register the address with :{own} behind it, or set supernode.port to {registered.port}",
        )
    try:
        is_public = ipaddress.ip_address(registered.host).is_global
    except ValueError:
        return
    if not is_public and patient.config.lumera.chain_id != DEVNET_CHAIN_ID:
        found.warn(f"{registered.host} is no public address: others skip it", "register an address that others reach")
