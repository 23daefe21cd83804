"""The disaster: most of what a network holds of a file is lost."""

import random
from collections.abc import Sequence
from math import ceil
from typing import final

from attrs import frozen

from lep6.devnet.network import EmbeddedNetwork
from lep6.devnet.registration import Registered
from lep6.model import Key


@final
@frozen
class Survivors:
    """What is left of a file."""

    symbols: frozenset[Key]
    layouts: frozenset[Key]
    indexes: frozenset[Key]

    @property
    def keys(self) -> frozenset[Key]:
        """All of it."""
        return self.symbols | self.layouts | self.indexes


async def destroy(
    network: EmbeddedNetwork, registered: Registered, *, symbols: int, id_files: float, rng: random.Random
) -> Survivors:
    """Lose all but so many symbols, and all but a share of the id files of each kind (of which one stays at least)."""
    half = len(registered.id_files) // 2
    layouts, indexes = registered.id_files[:half], registered.id_files[half:]
    share = max(1, ceil(half * id_files))
    survivors = Survivors(
        symbols=await _kept(network, registered.layout.symbols, symbols, rng),
        layouts=await _kept(network, layouts, share, rng),
        indexes=await _kept(network, indexes, share, rng),
    )
    await network.delete({*registered.layout.symbols, *registered.id_files} - survivors.keys)
    return survivors


async def _kept(network: EmbeddedNetwork, keys: Sequence[Key], count: int, rng: random.Random) -> frozenset[Key]:
    holders = await network.holders(keys)
    alive = [key for key in keys if holders[key]]
    return frozenset(rng.sample(alive, min(count, len(alive))))
