"""How the daemon ends, for whoever has started it (docs/operating.md, "Exit codes")."""

import enum


class Exit(enum.IntEnum):
    """Exit codes of `lep6 run`."""

    STOPPED = 0
    """Stopped in order, as it was told."""
    CANNOT_RUN = 4
    """The configuration, the key, the data or the machine is not as it must be."""
    ALREADY_RUNNING = 5
    """Another daemon has the data, the key or the port."""
    NOT_WANTED = 6
    """The chain is another one, or does not know this node."""
    BROKEN_OFF = 7
    """Stopped, but not within its time: something had to be broken off, and goes on at the next start."""
    BUG = 70
    """A bug of lep6."""
    NOT_NOW = 75
    """Something that may pass by itself is in the way, such as a full disk: another start may succeed."""
