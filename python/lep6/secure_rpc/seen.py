"""Ephemeral keys that were used before (secure RPC contract §10.1)."""

from collections import OrderedDict
from typing import Final, final

from attrs import define, field

REMEMBERED: Final = 1 << 15
"""Keys. Each is of a message that an account has signed which the chain knows, or of our own."""


@final
@define(eq=False)
class SeenKeys:
    """Notices a key that comes a second time: an honest side makes one for each handshake.

    The handshake itself cannot: nothing in a message names its receiver or its moment. What is held here goes with the
    process; a replay after that is found out by its first record, which the replayer cannot make.
    """

    most: int = REMEMBERED
    _keys: OrderedDict[bytes, None] = field(factory=OrderedDict)

    def __contains__(self, key: bytes) -> bool:
        """Whether a key is remembered."""
        return key in self._keys

    def add(self, key: bytes) -> bool:
        """Remember a key; whether it is new."""
        if key in self._keys:
            return False
        self._keys[key] = None
        if len(self._keys) > self.most:
            self._keys.popitem(last=False)
        return True
