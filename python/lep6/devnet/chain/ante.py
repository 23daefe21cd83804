"""What every transaction goes through before its message: time-out, fee, funds, sequence (chain contract §2.7)."""

from attrs import evolve

from lep6.devnet.chain.failures import SDK, TxFailed
from lep6.devnet.chain.gas import GasRules
from lep6.devnet.chain.state import State
from lep6.devnet.chain.transactions import Tx


def ante(state: State, tx: Tx, gas: GasRules, *, simulated: bool = False) -> State:
    """The state after a transaction was found in order: fee paid, sequence used.

    A simulated one may offer any fee and no gas.

    Raises:
        TxFailed: it is not in order. It pays nothing and uses no sequence.
    """
    if tx.is_late(state.height):
        raise TxFailed(SDK, 30, f"block height: {state.height}, timeout height: {tx.timeout_height}")
    least = 0 if simulated else gas.least_fee(tx.gas_limit)
    if tx.fee < least:
        prices = f"got: {tx.fee / tx.gas_limit:.6f}ulume required: {float(gas.base_fee):.6f}ulume"
        raise TxFailed(SDK, 13, f"gas prices too low, {prices}. Please retry using a higher gas price or a higher fee")
    account = state.accounts.get(tx.creator)
    if account is None:
        raise TxFailed(SDK, 9, f"fee payer address: {tx.creator} does not exist")
    if account.balance < tx.fee:
        raise TxFailed(SDK, 5, f"spendable balance {account.balance}ulume is smaller than {tx.fee}ulume")
    if not simulated and tx.gas_limit < gas.ante:
        raise out_of_gas(tx, gas.ante)
    if tx.sequence != account.sequence:
        raise TxFailed(SDK, 32, f"account sequence mismatch, expected {account.sequence}, got {tx.sequence}")
    return evolve(state.with_account(account.paying(tx.fee)), collected=state.collected + tx.fee)


def out_of_gas(tx: Tx, used: int) -> TxFailed:
    """The failure of a transaction that has used more gas than its limit."""
    return TxFailed(SDK, 11, f"out of gas in location: WriteFlat; gasWanted: {tx.gas_limit}, gasUsed: {used}")
