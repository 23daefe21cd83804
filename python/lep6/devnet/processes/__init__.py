"""A box whose chain and nodes are processes of the operating system, on loopback."""

from lep6.devnet.processes.ground import Processes

__all__ = ["Processes"]
