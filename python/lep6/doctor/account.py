"""Whether the account is there, and can pay."""

from typing import Final

from lep6.chain.gas import DENOM
from lep6.doctor.finding import Findings
from lep6.doctor.patient import Patient
from lep6.errors import ChainUnavailable

GAS_USED: Final = 150_000
"""Of a claim or a vote, with room."""
MANY: Final = 100
"""Transactions for which the balance should last."""


async def look_at_account(patient: Patient, found: Findings) -> None:
    """Ask for the account and its balance."""
    account, gas = patient.account, patient.config.gas_policy()
    fee = gas.fee(gas.limit(GAS_USED))
    remedy = f"send {DENOM} to {account}"
    async with patient.chain() as chain:
        try:
            is_there = await chain.is_account(account)
            balance = (await chain.balance(account)).value
        except ChainUnavailable as error:
            found.warn(f"the chain does not say: {error}", "ask again, or name another node")
            return
    said = f"{account} has {balance} {DENOM}; a transaction costs about {fee}"
    if not is_there:
        found.bad(f"the chain knows no account {account}", remedy)
    elif balance < fee:
        found.bad(f"{said}: it cannot pay one", remedy)
    elif balance < MANY * fee:
        found.warn(f"{said}: enough for {balance // fee}", remedy)
    else:
        found.ok(f"{said}: enough for {balance // fee}")
