"""What a transaction does in a block, and what a simulation says it would do (chain contract §2.7)."""

from grpclib.const import Status

from lep6.devnet.chain.ante import ante, out_of_gas
from lep6.devnet.chain.failures import AUDIT, TxFailed, in_handler, in_simulation
from lep6.devnet.chain.gas import GasRules
from lep6.devnet.chain.messages import execute
from lep6.devnet.chain.paging import QueryError
from lep6.devnet.chain.state import Event, State
from lep6.devnet.chain.transactions import Tx, TxResult

# A simulation's text names a line of the chain's source; which one says nothing.
ANTE_PLACE = "cosmos/cosmos-sdk/x/auth/ante/sigverify.go:1"
_HANDLER_PLACE = "LumeraProtocol/lumera/x/audit/v1/keeper/msg_storage_truth.go:1"


def deliver(state: State, tx: Tx, gas: GasRules, forced: TxResult | None = None) -> tuple[State, TxResult]:
    """The state after a transaction in the block of the state's height. Fee and sequence go even if its message fails.

    `forced`: the failure (code, codespace, log) that it has instead of running its message.

    Raises:
        TxFailed: it is not in order, so it is not included.
    """
    paid, used = ante(state, tx, gas), gas.used(tx.message)

    def result(code: int, codespace: str, log: str, events: tuple[Event, ...] = ()) -> TxResult:
        return TxResult(code, codespace, log, state.height, tx.gas_limit, used, state.time, tx, events)

    if forced is not None:
        return paid, result(forced.code, forced.codespace, forced.log)
    try:
        if tx.gas_limit < used:
            raise out_of_gas(tx, used)
        done = execute(paid, tx.creator, tx.message, tx.details)
        return done, result(0, "", "", done.events[len(paid.events) :])
    except TxFailed as failure:
        log = in_handler(failure) if failure.codespace == AUDIT else str(failure)
        return paid, result(failure.code, failure.codespace, log)


def simulate(state: State, tx: Tx, gas: GasRules) -> int:
    """The gas that a transaction would use on a state.

    Raises:
        QueryError: UNKNOWN, it would fail; only the text tells how.
    """
    try:
        paid = ante(state, tx, gas, simulated=True)
    except TxFailed as failure:
        raise QueryError(Status.UNKNOWN, in_simulation(str(failure), ANTE_PLACE, gas.ante)) from failure
    used = gas.used(tx.message)
    try:
        execute(paid, tx.creator, tx.message, tx.details)
    except TxFailed as failure:
        raise QueryError(Status.UNKNOWN, in_simulation(in_handler(failure), _HANDLER_PLACE, used)) from failure
    return used
