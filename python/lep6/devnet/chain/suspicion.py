"""Suspicion of nodes, as far as it bars them from healing (chain contract §4.3, §4.9)."""

from typing import final

from attrs import frozen

_MOST_STEPS = 50
"""Epochs after which the chain does not bother to go on."""


@final
@frozen
class Suspicion:
    """`NodeSuspicionState`, the scheduler's part of it."""

    score: int
    last_updated_epoch: int


def decayed(score: int, factor: int, epochs: int) -> int:
    """A score after some epochs, each leaving `factor` per mille of it, truncated."""
    if factor >= 1000 or factor <= 0:  # noqa: PLR2004 -- per mille
        return score
    for _ in range(min(max(0, epochs), _MOST_STEPS)):
        if score == 0:
            break
        score = (1 if score > 0 else -1) * (abs(score) * factor // 1000)
    return score
