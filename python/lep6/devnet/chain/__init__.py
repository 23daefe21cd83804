"""The chain in a box: a pure state machine that schedules, takes claims and votes, and answers as the chain does."""

from lep6.devnet.chain.accounts import Account
from lep6.devnet.chain.chain import Chain
from lep6.devnet.chain.client import ChainClient
from lep6.devnet.chain.epochs import Epoch, EpochAnchor
from lep6.devnet.chain.gas import GasRules
from lep6.devnet.chain.ops import OpRecord
from lep6.devnet.chain.paging import QueryError, Rows
from lep6.devnet.chain.params import ChainParams, InvalidParams
from lep6.devnet.chain.queries import View
from lep6.devnet.chain.state import Event, State
from lep6.devnet.chain.supernodes import SuperNode, SuperNodeState
from lep6.devnet.chain.tickets import TicketState
from lep6.devnet.chain.transactions import Tx, TxResult

__all__ = [
    "Account",
    "Chain",
    "ChainClient",
    "ChainParams",
    "Epoch",
    "EpochAnchor",
    "Event",
    "GasRules",
    "InvalidParams",
    "OpRecord",
    "QueryError",
    "Rows",
    "State",
    "SuperNode",
    "SuperNodeState",
    "TicketState",
    "Tx",
    "TxResult",
    "View",
]
