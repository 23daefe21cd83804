"""The exception family of lep6.

An expected bad ending (a file that cannot be rebuilt, a peer that is away) is a value, not an exception: see the
outcome classes of each step. An exception says that something handed in is wrong, that the system refused a read or a
write (`OSError` as it is), or that lep6 has a bug.
"""


class Lep6Error(Exception):
    """The base of everything that lep6 raises itself."""


class InvalidArtefact(Lep6Error):
    """A layout, symbol, id file, manifest, pack or size is not what the format says. Nothing was lost by it."""


class InvalidAction(Lep6Error):
    """The chain's record of an action cannot be healed from: its state, metadata or index is not that of a file."""


class InvalidKey(Lep6Error):
    """An address, key or signature is malformed."""


class NoSpace(Lep6Error):
    """The disk has not the room that the work needs. Nothing was begun; free space and try again."""


class OutputExists(Lep6Error):
    """There is something already where output was to go; it is kept."""


class StagingExists(Lep6Error):
    """A complete staging of this op is there already; it is kept."""


class StoreDamaged(Lep6Error):
    """A database of ours is damaged, newer than this lep6, or someone else's. It was not changed."""


class JobCancelled(Lep6Error):
    """A job of the core was cancelled by its owner."""


class CoreBug(Lep6Error):
    """The core failed in a way that it never should. Please report it with the message."""
