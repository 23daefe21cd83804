"""Epochs: their heights, and what the chain notes down at the beginning of each (chain contract §4.1, §4.2)."""

from collections.abc import Iterable
from typing import final

from attrs import field, frozen

from lep6 import _core
from lep6.devnet.chain.params import ChainParams
from lep6.devnet.chain.supernodes import SuperNode, SuperNodeState

_ACTIVE = frozenset({SuperNodeState.ACTIVE, SuperNodeState.STORAGE_FULL})
_TARGETS = _ACTIVE | {SuperNodeState.POSTPONED}


@final
@frozen
class Epoch:
    """An epoch and its heights, both ends included."""

    epoch_id: int
    first_height: int
    last_height: int

    @classmethod
    def of(cls, params: ChainParams, epoch_id: int) -> "Epoch":
        """The epoch of an id."""
        first = params.epoch_zero_height + epoch_id * params.epoch_length
        return cls(epoch_id, first, first + params.epoch_length - 1)

    @classmethod
    def at(cls, params: ChainParams, height: int) -> "Epoch":
        """The epoch of a height; heights before the first epoch count to it."""
        return cls.of(params, max(0, height - params.epoch_zero_height) // params.epoch_length)


@final
@frozen
class EpochAnchor:
    """`EpochAnchor`, without the commitments: the accounts of an epoch, frozen at its first block."""

    epoch: Epoch
    active: tuple[str, ...]
    """Accounts that were ACTIVE or STORAGE_FULL, sorted as bytes. Ops of this epoch's end go to these."""
    targets: tuple[str, ...]
    """`active` and those that were POSTPONED, sorted as bytes."""
    seed: bytes = field(repr=False)
    """32 bytes. The heal scheduler does not use it."""

    @classmethod
    def of(cls, epoch: Epoch, supernodes: Iterable[SuperNode]) -> "EpochAnchor":
        """The anchor of an epoch that begins with these supernodes."""
        nodes = tuple(supernodes)
        # There are no headers in the box; the height stands for the hash of one.
        header = _core.blake3(epoch.first_height.to_bytes(8, "big"))
        return cls(
            epoch=epoch,
            active=_accounts(nodes, _ACTIVE),
            targets=_accounts(nodes, _TARGETS),
            seed=_core.blake3(b"lumera:epoch-seed" + header + epoch.epoch_id.to_bytes(8, "big")),
        )


def _accounts(supernodes: Iterable[SuperNode], states: frozenset[SuperNodeState]) -> tuple[str, ...]:
    return tuple(sorted({node.account for node in supernodes if node.state in states}, key=str.encode))
