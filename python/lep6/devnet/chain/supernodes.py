"""Supernodes as the chain registers them (chain contract §5.3)."""

import enum
import hashlib
from typing import final

from attrs import evolve, frozen

from lep6 import _core
from lep6.errors import InvalidArtefact, InvalidKey
from lep6.keys import address_bytes

VALIDATOR_PREFIX = "lumeravaloper"


class SuperNodeState(enum.IntEnum):
    """`lumera.supernode.v1.SuperNodeState`."""

    UNSPECIFIED = 0
    ACTIVE = 1
    DISABLED = 2
    STOPPED = 3
    PENALIZED = 4
    POSTPONED = 5
    STORAGE_FULL = 6


@final
@frozen
class StateRecord:
    """A state that a supernode came into."""

    state: SuperNodeState
    height: int
    reason: str = ""


@final
@frozen
class SuperNode:
    """`SuperNode`, with what healing reads of it."""

    validator: str
    """`lumeravaloper…`: what the registry is ordered by."""
    account: str
    host: str
    """Free text; may carry a port."""
    states: tuple[StateRecord, ...]
    """Only ever appended to; the last one counts."""
    p2p_port: str = "4445"
    """As text, and as the chain fills it in where none is given."""

    @property
    def state(self) -> SuperNodeState:
        """The current state, as the chain reads it."""
        return self.states[-1].state

    def at_host(self, host: str) -> "SuperNode":
        """The supernode after registering another address."""
        return evolve(self, host=host)

    def moved(self, state: SuperNodeState, height: int, reason: str) -> "SuperNode":
        """The supernode after coming into a state."""
        return evolve(self, states=(*self.states, StateRecord(state, height, reason)))


def validator_bytes(validator: str) -> bytes:
    """The raw bytes of a validator operator's address.

    Raises:
        InvalidKey: it is not one.
    """
    try:
        prefix, raw = _core.bech32_decode(validator)
    except InvalidArtefact as error:
        raise InvalidKey(str(error)) from error
    if prefix != VALIDATOR_PREFIX or not raw:
        raise InvalidKey(f"{validator!r} is not a {VALIDATOR_PREFIX} address")
    return raw


def validator_of(account: str) -> str:
    """A validator operator for an account that none is given for: the same bytes, if the account has an address."""
    try:
        raw = address_bytes(account)
    except InvalidKey:
        raw = hashlib.sha256(account.encode()).digest()[:20]
    return _core.bech32_encode(VALIDATOR_PREFIX, raw)
