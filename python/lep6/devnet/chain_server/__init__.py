"""The chain in a box as a node that real clients can talk to: real service names, real bytes, ordered faults."""

from lep6.devnet.chain_server.block_clock import BlockClock
from lep6.devnet.chain_server.decoding import decode_tx
from lep6.devnet.chain_server.faults import (
    AnswerLost,
    Behind,
    CheckRefused,
    Dropped,
    FailsInBlock,
    Fault,
    Faults,
    Late,
    NoIndex,
    OutOfGas,
    SequenceMismatch,
    Slow,
    Unavailable,
)
from lep6.devnet.chain_server.seeding import InvalidSeed, plant, read_seed
from lep6.devnet.chain_server.server import ChainServer

__all__ = [
    "AnswerLost",
    "Behind",
    "BlockClock",
    "ChainServer",
    "CheckRefused",
    "Dropped",
    "FailsInBlock",
    "Fault",
    "Faults",
    "InvalidSeed",
    "Late",
    "NoIndex",
    "OutOfGas",
    "SequenceMismatch",
    "Slow",
    "Unavailable",
    "decode_tx",
    "plant",
    "read_seed",
]
