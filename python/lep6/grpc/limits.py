"""The numbers of a connection. The defaults are those of a Go supernode's server where it has one."""

import math
from typing import final

from attrs import frozen

MIB = 1 << 20


@final
@frozen
class Limits:
    """What a side of a connection announces, bears and waits for. Sizes in bytes, times in seconds."""

    max_message: int = 16 * MIB
    """Largest message received or sent."""
    max_request: int = 16 * MIB
    """Largest message that a server takes of a client, and what it holds of a call that nobody reads."""
    stream_window: int = 16 * MIB
    """What a peer may send on one stream before it is consumed: also the bound of a stream's buffer."""
    connection_window: int = 160 * MIB
    """The same for all streams together."""
    max_frame: int = 16_384
    """Largest frame received. Between two of ours 128 KiB is best: less work a byte, and few copies of a frame."""
    max_streams: int = 20
    """Calls that a client may have open at a time on one connection."""
    max_header_list: int = 64 << 10
    """Bytes of the headers of one call."""
    backlog: int = 1 * MIB
    """Bytes queued for the transport above which senders wait."""

    ping_after_idle: float = 1800.0
    """A connection on which nothing arrived for so long is pinged."""
    ping_timeout: float = 1800.0
    """A ping that is not answered for so long ends the connection."""
    min_ping_interval: float = 300.0
    """A server bears pings this far apart, when nothing was sent meanwhile."""
    ping_strikes: int = 2
    """Violations of that which it lets pass."""
    settings_timeout: float = 20.0
    """How long a client waits for the server's first word."""

    request_timeout: float = 60.0
    """How long the one message of a call may take to come."""
    first_call: float = math.inf
    """A server ends connections whose first call does not come for so long."""
    max_idle: float = 7200.0
    """A server ends connections that have had no call for so long."""
    max_age: float = 7200.0
    """A server asks clients to go after this time, a tenth more or less by chance."""
    grace: float = 3600.0
    """How long calls may go on after that."""
