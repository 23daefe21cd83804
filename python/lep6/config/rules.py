"""What values must be, alone and together, beyond their kinds (chain contract §6.1, §7)."""

import ipaddress
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from lep6.chain.gas import DENOM
from lep6.config.configuration import absolute, price_of
from lep6.config.healing import Healing, healing
from lep6.config.keys import value_at
from lep6.config.secret import HIDDEN
from lep6.config.sections import DEVNET_CHAIN_ID, Backend, Document
from lep6.errors import InvalidAddress, InvalidKey, Problem
from lep6.grpc.dial import Address, listening_place
from lep6.keys import address_bytes

LEAST_STOP: Final = 1.0
"""Seconds."""
LEAST_PAUSE: Final = 100
"""Milliseconds between two looks at the chain."""

_PLACE: Final = re.compile(r"([A-Za-z]{1,10}://)?([^/?#]*)/?(.*)", re.DOTALL)


def problems(document: Document, base: Path) -> Iterator[Problem]:
    """All that is wrong with it."""
    for rule in _RULES:
        yield from rule(document)
    yield from _directories(document, base)


def advisories(document: Document, *, is_open: bool) -> Iterator[Problem]:
    """What is worth knowing, but stops nothing. `is_open`: others than its owner can read the file."""
    own = document.self_healing.enabled
    if healing(own, document.lep6.enabled) is Healing.UNASKED:
        yield Problem(
            "self_healing.enabled",
            "is false" if own is False else "is absent, which means false",
            "to heal, set lep6.enabled to true; without it, only what was begun is finished",
        )
    keyring = document.keyring
    if keyring.passphrase_plain and is_open:
        yield Problem("keyring.passphrase_plain", "can be read by others than the owner of the file", "chmod 600 it")
    is_told = keyring.passphrase_plain or keyring.passphrase_env or keyring.passphrase_file
    if keyring.backend is Backend.FILE and not is_told:
        yield Problem(
            "keyring.passphrase_file", "is not set, nor is another source", "set it; a service has nobody to ask"
        )


def _supernode(document: Document) -> Iterator[Problem]:
    own = document.supernode
    if not own.key_name:
        yield Problem("supernode.key_name", "is missing", "write the name of the node's key in its keyring")
    if not own.identity:
        yield Problem("supernode.identity", "is missing", "write the address of the node's key, lumera1...")
    else:
        try:
            address_bytes(own.identity)
        except InvalidKey as error:
            yield Problem("supernode.identity", f"is no account address ({error})", "write one: lumera1...")
    if not own.port:
        yield Problem("supernode.port", "is missing", "write the port that is registered on the chain, often 4444")


def _keyring(document: Document) -> Iterator[Problem]:
    match document.keyring.backend:
        case None:
            yield Problem("keyring.backend", "is missing", "write file or test")
        case Backend.OS | Backend.MEMORY as backend:
            yield Problem(
                "keyring.backend",
                f"is {backend.value}, whose keys lep6 cannot read",
                "import the key into a keyring of the backend file, and write file",
            )
        case Backend.FILE | Backend.TEST:
            pass


def _nodes(document: Document) -> Iterator[Problem]:
    if not document.lumera.chain_id:
        yield Problem("lumera.chain_id", "is missing", "write the chain's, such as the node's own network says")
    if not document.lumera.grpc_addr:
        yield Problem("lumera.grpc_addr", "is missing", "write the address of a chain node: host:port")
    else:
        yield from _address("lumera.grpc_addr", document.lumera.grpc_addr)
    for address in document.lep6.grpc_addrs:
        yield from _address("lep6.grpc_addrs", address)


def _address(key: str, text: str) -> Iterator[Problem]:
    try:
        Address.parse(text)
    except InvalidAddress:
        yield Problem(
            key, f"is {_without_secrets(text)!r:.100}, no address of a server", "write host:port or https://host:port"
        )


def _without_secrets(address: str) -> str:
    """An address to be shown: without a user and a password, and without a path, which often is a secret as well."""
    user, at, rest = address.rpartition("@")
    scheme, place, path = _PLACE.fullmatch(rest).groups()  # type: ignore[union-attr] # whatever it is
    return (HIDDEN + at if user else at) + (scheme or "") + place + (f"/{HIDDEN}" if path else "")


def _gas(document: Document) -> Iterator[Problem]:
    own = document.lumera
    if own.gas_adjustment < 1:
        yield Problem("lumera.gas_adjustment", f"is {own.gas_adjustment}; less gas than is used", "write 1 or more")
    if own.fee_denom != DENOM:
        yield Problem("lumera.fee_denom", f"is {own.fee_denom!r:.40}; the chain takes {DENOM} only", f"write {DENOM}")
    try:
        price, denom = price_of(own)
    except ValueError:
        price, denom = math.nan, ""
    if not 0 < price < math.inf:
        yield Problem("lumera.gas_price", f"is {own.gas_price!r:.40}, no price", f"write a number, or 0.025{DENOM}")
    elif denom not in ("", own.fee_denom):
        yield Problem(
            "lumera.gas_price", f"is in {denom!r:.40}, fees in {own.fee_denom!r:.40}", "write the number alone"
        )


def _challenges(document: Document) -> Iterator[Problem]:
    own, key = document.storage_challenge, "storage_challenge.lep6.recheck.enabled"
    if own.lep6.recheck.enabled and not own.enabled:
        yield Problem(key, "is true and requires storage_challenge.enabled=true", "set that, or set this to false")
    if own.lep6.recheck.enabled and not own.lep6.enabled:
        yield Problem(key, "is true and requires storage_challenge.lep6.enabled=true", "set that, or set this to false")


def _healing(document: Document) -> Iterator[Problem]:
    found = healing(document.self_healing.enabled, document.lep6.enabled)
    if found is Healing.TWICE:
        yield Problem(
            "lep6.enabled",
            f"is true, and so is self_healing.enabled: {found.value}",
            "set self_healing.enabled to false, and lep6 heals; or, if no Go supernode runs from this file,"
            " remove lep6.enabled",
        )


def _metrics(document: Document) -> Iterator[Problem]:
    own, key = document.lep6, "lep6.metrics_listen"
    if not own.metrics_listen:
        return
    try:
        host, port = listening_place(own.metrics_listen)
    except InvalidAddress as error:
        yield Problem(key, f"is no place to listen ({error})", "write host:port, or an empty text for none")
        return
    if port and port == document.supernode.port:
        yield Problem(key, f"has the port {port} of supernode.port", "write another port: others dial that one")
    elif not own.metrics_public and not _is_loopback(host):
        yield Problem(
            key, f"is {own.metrics_listen!r}, where others come in", "write 127.0.0.1, or set lep6.metrics_public"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _own(document: Document) -> Iterator[Problem]:
    own = document.lep6
    if not own.threads:
        yield Problem("lep6.threads", "is 0; nothing would ever be done", "write 1 or more")
    if own.stop_seconds < LEAST_STOP:
        yield Problem(
            "lep6.stop_seconds", f"is {own.stop_seconds:g}; nothing could end in order", f"write {LEAST_STOP:g} or more"
        )
    if own.embedded_network and document.lumera.chain_id != DEVNET_CHAIN_ID:
        yield Problem(
            "lep6.embedded_network",
            f"is for the chain {DEVNET_CHAIN_ID} only, and lumera.chain_id is {document.lumera.chain_id!r:.60};"
            " lep6 run refuses it",
            "remove it",
        )


def _pauses(document: Document) -> Iterator[Problem]:
    for key in ("self_healing.poll_interval_ms", "lep6.tx_poll_ms"):
        value = value_at(document, key)
        if value < LEAST_PAUSE:
            yield Problem(
                key,
                f"is {value}; the nodes of the chain would be asked without a pause",
                f"write {LEAST_PAUSE} or more, or 0 for the default",
            )


def _directories(document: Document, base: Path) -> Iterator[Problem]:
    if not document.lep6.data_dir:
        yield Problem("lep6.data_dir", "is empty", "write a directory of lep6's own, or remove the key")
        return
    data, staging = absolute(base, document.lep6.data_dir), absolute(base, document.self_healing.staging_dir)
    if data == staging or staging in data.parents:
        yield Problem("lep6.data_dir", f"is in {staging}, where rebuilt files go", "write another directory")


_RULES: Final[tuple[Callable[[Document], Iterator[Problem]], ...]] = (
    _supernode,
    _keyring,
    _nodes,
    _gas,
    _challenges,
    _healing,
    _metrics,
    _pauses,
    _own,
)
