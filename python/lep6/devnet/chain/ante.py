"""What every transaction goes through before its message (chain contract §2.3, §2.4, §2.7).

Time-out, memo, fee, funds, key, gas, sequence, signature; the first that is not in order is told.
"""

from typing import Final

from attrs import evolve

from lep6.devnet.chain.accounts import Account
from lep6.devnet.chain.failures import SDK, TxFailed
from lep6.devnet.chain.gas import GasRules
from lep6.devnet.chain.state import State
from lep6.devnet.chain.transactions import Tx

MAX_MEMO: Final = 256
"""Bytes."""


def ante(state: State, tx: Tx, gas: GasRules, *, simulated: bool = False, known: bool = False) -> State:
    """The state after a transaction was found in order: fee paid, sequence used, key shown.

    A simulated one may offer any fee, no gas, and any key and signature. The signature of one that is `known` was
    verified before.

    Raises:
        TxFailed: it is not in order. It pays nothing and uses no sequence.
    """
    if tx.is_late(state.height):
        raise TxFailed(SDK, 30, f"block height: {state.height}, timeout height: {tx.timeout_height}")
    if len(tx.memo.encode()) > MAX_MEMO:
        size = len(tx.memo.encode())
        raise TxFailed(SDK, 12, f"maximum number of characters is {MAX_MEMO} but received {size} characters")
    least = 0 if simulated else gas.least_fee(tx.gas_limit)
    if tx.fee < least:
        prices = f"got: {tx.fee / tx.gas_limit:.6f}ulume required: {float(gas.base_fee):.6f}ulume"
        raise TxFailed(SDK, 13, f"gas prices too low, {prices}. Please retry using a higher gas price or a higher fee")
    account = state.accounts.get(tx.creator)
    if account is None:
        raise TxFailed(SDK, 9, f"fee payer address: {tx.creator} does not exist")
    if account.balance < tx.fee:
        raise TxFailed(SDK, 5, f"spendable balance {account.balance}ulume is smaller than {tx.fee}ulume")
    _check_key(account, tx, simulated=simulated)
    if not simulated and tx.gas_limit < gas.ante:
        raise out_of_gas(tx, gas.ante)
    if tx.sequence != account.sequence:
        raise TxFailed(SDK, 32, f"account sequence mismatch, expected {account.sequence}, got {tx.sequence}")
    if not simulated and not known:
        _check_signature(account, tx, state.chain_id)
    account = account.paying(tx.fee).showing(tx.signed.public_key if tx.signed else None)
    return evolve(state.with_account(account), collected=state.collected + tx.fee)


def out_of_gas(tx: Tx, used: int) -> TxFailed:
    """The failure of a transaction that has used more gas than its limit."""
    return TxFailed(SDK, 11, f"out of gas in location: WriteFlat; gasWanted: {tx.gas_limit}, gasUsed: {used}")


def _check_key(account: Account, tx: Tx, *, simulated: bool) -> None:
    """Refuse a transaction that shows another's key, or none where the account has none either."""
    if tx.signed is None:
        return
    shown = tx.signed.public_key
    if shown is not None and shown.address != tx.creator and not simulated:
        raise TxFailed(SDK, 8, f"pubKey does not match signer address {tx.creator} with signer index: 0")
    if shown is None and account.public_key is None and not simulated:
        raise TxFailed(SDK, 8, "pubkey on account is not set")


def _check_signature(account: Account, tx: Tx, chain_id: str) -> None:
    """Refuse a transaction that is not signed by its account, or for another account number or chain."""
    if tx.signed is None:
        return
    key = account.public_key or tx.signed.public_key
    if key is None or not tx.signed.is_by(key, chain_id, account.number):
        signed = f"account number ({account.number}), sequence ({account.sequence}) and chain-id ({chain_id})"
        raise TxFailed(SDK, 4, f"signature verification failed; please verify {signed}")
