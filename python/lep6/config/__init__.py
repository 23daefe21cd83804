"""What an operator sets: the Go supernode's own file, our section in it, and the environment (chain contract §7)."""

from lep6.config.configuration import Config, own_staging
from lep6.config.example import example, write_example
from lep6.config.healing import Healing, healing
from lep6.config.identity import open_key
from lep6.config.loader import load
from lep6.config.origin import Default, InEnvironment, InFile, Origin, Value
from lep6.config.secret import HIDDEN, Secret
from lep6.config.sections import (
    DEVNET_CHAIN_ID,
    Backend,
    KeyringPlace,
    LogFormat,
    LogLevel,
    Lumera,
    Own,
    P2p,
    Raptorq,
    SelfHealing,
    Supernode,
)
from lep6.errors import InvalidConfig, Problem

__all__ = [
    "DEVNET_CHAIN_ID",
    "HIDDEN",
    "Backend",
    "Config",
    "Default",
    "Healing",
    "InEnvironment",
    "InFile",
    "InvalidConfig",
    "KeyringPlace",
    "LogFormat",
    "LogLevel",
    "Lumera",
    "Origin",
    "Own",
    "P2p",
    "Problem",
    "Raptorq",
    "Secret",
    "SelfHealing",
    "Supernode",
    "Value",
    "example",
    "healing",
    "load",
    "open_key",
    "own_staging",
    "write_example",
]
