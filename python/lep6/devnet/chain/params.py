"""The parameters of `x/audit` that healing depends on (chain contract §1.3)."""

from typing import final

from attrs import evolve, frozen

from lep6.errors import Lep6Error
from lep6.model import EnforcementMode, Parameters

DEFAULT_DEADLINE_EPOCHS = 3
"""What a deadline parameter of 0 stands for (chain contract §4.3)."""

DEFAULT_VERIFIER_COUNT = 2
"""What a verifier count of 0 stands for (chain contract §4.3)."""


class InvalidParams(Lep6Error):
    """A parameter has a value that the chain does not take, or one that cannot change would change."""


@final
@frozen(kw_only=True)
class ChainParams:
    """Parameters with the chain's defaults. Those of the epochs never change after genesis.

    Raises:
        InvalidParams: a value is out of the chain's limits.
    """

    epoch_length: int = 400
    """Blocks of an epoch (#1)."""
    epoch_zero_height: int = 1
    """Height of the first block of epoch 0 (#2)."""
    keep_epochs: int = 200
    """Epochs for which final ops, anchors and markers are kept (#11)."""
    max_ops_per_epoch: int = 5
    """Heal ops that one epoch's end creates at most (#26); 0 stops the scheduling."""
    probation_epochs: int = 3
    """Epochs for which a ticket is left alone after an op has ended (#27)."""
    suspicion_decay: int = 920
    """What an epoch leaves of a suspicion score, per mille (#28)."""
    ticket_decay: int = 900
    """What an epoch leaves of a ticket's score, per mille (#30). Only proofs apply it, and those are not simulated."""
    suspicion_probation_threshold: int = 50
    """Suspicion score from which an account neither heals nor verifies (#32); 0 for never."""
    heal_threshold: int = 50
    """Score from which a ticket is healed (#36)."""
    mode: EnforcementMode = EnforcementMode.SHADOW
    """#37."""
    escalation_window: int = 14
    """Epochs within which failures of a ticket add up (#39). Only proofs use it."""
    deadline_epochs: int = DEFAULT_DEADLINE_EPOCHS
    """Epochs that an op has (#46)."""
    verifier_count: int = DEFAULT_VERIFIER_COUNT
    """Verifiers of an op (#51)."""

    def __attrs_post_init__(self) -> None:
        limits = {
            "epoch_length": (1, None),
            "epoch_zero_height": (1, None),
            "keep_epochs": (1, 10_000),
            "max_ops_per_epoch": (0, None),
            "probation_epochs": (1, None),
            "suspicion_decay": (1, 1000),
            "ticket_decay": (1, 1000),
            "heal_threshold": (1, None),
            "deadline_epochs": (0, 10_000),
            "verifier_count": (0, 32),
        }
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if value < least or (most is not None and value > most):
                raise InvalidParams(f"{name} cannot be {value}")

    def changed_to(self, new: "ChainParams") -> "ChainParams":
        """The new parameters, as governance may set them.

        Raises:
            InvalidParams: the epochs would be others.
        """
        if evolve(new, epoch_length=self.epoch_length, epoch_zero_height=self.epoch_zero_height) != new:
            raise InvalidParams("the epochs' length and first height never change")
        return new

    @property
    def parameters(self) -> Parameters:
        """What lep6 reads of them."""
        return Parameters(self.mode, self.epoch_zero_height, self.epoch_length)
