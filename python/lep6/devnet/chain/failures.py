"""How transactions fail: codes and texts (chain contract §2.7, §3.1)."""

from typing import Final

from lep6.errors import Lep6Error

AUDIT: Final = "audit"
"""The codespace of the module that keeps heal ops."""

SDK: Final = "sdk"
"""The codespace of what every transaction goes through."""

DESCRIPTIONS: Final = {
    (AUDIT, 1): "invalid signer",
    (AUDIT, 11): "heal op not found",
    (AUDIT, 12): "heal op unauthorized actor",
    (AUDIT, 13): "heal op invalid state transition",
    (AUDIT, 14): "heal op ticket mismatch",
    (AUDIT, 15): "heal verification already submitted",
    (AUDIT, 17): "invalid heal verification",
    (SDK, 2): "tx parse error",
    (SDK, 4): "unauthorized",
    (SDK, 5): "insufficient funds",
    (SDK, 8): "invalid pubkey",
    (SDK, 9): "unknown address",
    (SDK, 10): "invalid coins",
    (SDK, 11): "out of gas",
    (SDK, 12): "memo too large",
    (SDK, 13): "insufficient fee",
    (SDK, 15): "no signatures supplied",
    (SDK, 18): "invalid request",
    (SDK, 19): "tx already in mempool",
    (SDK, 20): "mempool is full",
    (SDK, 21): "tx too large",
    (SDK, 30): "tx timeout height",
    (SDK, 31): "unknown extension options",
    (SDK, 32): "incorrect account sequence",
    (SDK, 38): "not found",
}
"""The registered description of each code."""


class TxFailed(Lep6Error):
    """A transaction fails here. No client sees it: it becomes a `TxResult` or a `QueryError`."""

    def __init__(self, codespace: str, code: int, detail: str = "") -> None:
        description = DESCRIPTIONS[codespace, code]
        super().__init__(f"{detail}: {description}" if detail else description)
        self.codespace = codespace
        self.code = code


def in_handler(failure: TxFailed) -> str:
    """The text of a failure of a message, after the transaction as such was found in order."""
    return f"failed to execute message; message index: 0: {failure}"


def in_simulation(text: str, place: str, gas_used: int) -> str:
    """The text of a failure in a simulation."""
    return f"{text} [{place}] with gas used: '{gas_used}'"
