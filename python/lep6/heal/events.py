"""What a heal service tells those who watch it: one event for each thing that happened to an op."""

import enum
from collections.abc import Callable
from typing import final

from attrs import frozen


class What(enum.Enum):
    """What happened."""

    RECONSTRUCTED = "reconstructed"
    """The file is staged; `count`: symbols that were handed to the decoder."""
    SENT = "sent"
    """A transaction went out; `text`: claim, or vote."""
    ACCEPTED = "accepted"
    """The chain has accepted it; `text`: claim, or vote."""
    FETCHED = "fetched"
    """The whole file came from the healer; `count`: its bytes."""
    DECIDED = "decided"
    """A verdict is journalled; `text`: yes or no, and the reason."""
    ABSTAINED = "abstained"
    """No vote will be given."""
    PUBLISHED = "published"
    """Everything is in the network; `count`: its values."""
    CLOSED = "closed"
    """Nothing is left of the op here; `text`: how it ended."""
    DEFERRED = "deferred"
    """Something did not succeed and is tried again; `text`: why; `count`: symbols that were had, of a reconstruct."""
    STUCK = "stuck"
    """As DEFERRED, so often that somebody should look at it."""
    FAILED = "failed"
    """A bug of ours; `text`: which. Op 0: with no op in particular."""


@final
@frozen
class Event:
    """Something that happened to an op on this node."""

    what: What
    op_id: int
    text: str = ""
    count: int = 0


Watch = Callable[[Event], object]
"""Hears of every event, at once; it must not wait."""
