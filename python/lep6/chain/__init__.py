"""The real chain: queries, transactions and what its errors mean, over gRPC (chain contract §1-§3)."""

from lep6.chain.client import LumeraChain
from lep6.chain.gas import GasPolicy

__all__ = ["GasPolicy", "LumeraChain"]
