"""How a node heals: what an operator may set."""

import enum
from typing import final

from attrs import field, frozen, validators


class UnreachablePolicy(enum.Enum):
    """What a verifier does when its attempts to get the file are used up."""

    NEGATIVE = "negative"
    """Vote no, with the placeholder of the reason (LEP-6 §20)."""
    PATIENT = "patient"
    """Go on trying to the end of the window, with growing pauses; then abstain."""


@final
@frozen(kw_only=True)
class Settings:
    """Numbers of a heal service. Times in seconds."""

    is_enabled: bool = True
    """Off: no new op is begun; what has begun is finished."""
    tick: float = field(default=30.0, validator=validators.gt(0))
    """Between ticks, a tenth more or less by chance."""
    reconstructs: int = field(default=2, validator=validators.ge(1))
    verifications: int = field(default=4, validator=validators.ge(1))
    publishes: int = field(default=2, validator=validators.ge(1))
    """How many of each at a time."""
    query: float = field(default=10.0, validator=validators.gt(0))
    """For each answer of the chain."""
    attempt: float = field(default=900.0, validator=validators.gt(0))
    """For one attempt at a reconstruct, a fetch or a publish, from when it has its place."""
    poll: float = field(default=2.0, validator=validators.gt(0))
    """Between looks at a transaction that is on its way."""
    fetch_attempts: int = field(default=3, validator=validators.ge(1))
    """Failed fetches after which the policy below decides."""
    backoff: float = field(default=2.0, validator=validators.gt(0))
    """First pause after a failure; doubled each time."""
    longest_backoff: float = field(default=300.0, validator=validators.gt(0))
    block: float = field(default=6.0, validator=validators.gt(0))
    """Assumed time between blocks, until it could be measured."""
    drain: float = field(default=10.0, validator=validators.ge(0))
    """How long what runs may go on when the service stops."""
    verifier_unreachable_policy: UnreachablePolicy = UnreachablePolicy.NEGATIVE
