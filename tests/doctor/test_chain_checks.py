"""What the doctor asks of the chain: its nodes, the clock, the account, the registration."""

import time

import pytest

from lep6.chain.gas import GasPolicy
from lep6.devnet.chain.supernodes import SuperNodeState
from lep6.devnet.chain_server import Behind, ChainServer, Unavailable
from lep6.doctor import Level
from lep6.doctor.account import GAS_USED
from patients import CHAIN_ID, ME, Shifted, a_house, free_port, levels, only

FEE = GasPolicy().fee(GasPolicy().limit(GAS_USED))


async def test_a_node_of_another_chain_is_bad(tmp_path):
    async with a_house(tmp_path, chain_id="another-1") as house:
        found = await house.findings()
    assert f"is a node of 'another-1', not of {CHAIN_ID}" in only(found, "chain", Level.BAD).what
    for name in ("clock", "account", "registration"):
        assert only(found, name, Level.NOTE).what.startswith("not looked at: no node of the chain answers")


async def test_nobody_at_the_only_address_is_bad(tmp_path):
    async with a_house(tmp_path) as house:
        house.tree["lumera"]["grpc_addr"] = f"127.0.0.1:{await free_port()}"
        found = await house.findings()
    assert "does not answer" in only(found, "chain", Level.BAD).what


async def test_one_of_several_nodes_that_is_silent_is_only_to_be_looked_at(tmp_path):
    async with a_house(tmp_path) as house:
        gone = f"127.0.0.1:{await free_port()}"
        house.tree["lep6"]["grpc_addrs"] = [gone]
        found = await house.findings()
    assert levels(found, "chain") == ["ok", "warn"]
    assert only(found, "chain", Level.WARN).what.startswith(f"{gone} does not answer")
    assert levels(found, "account") == levels(found, "registration") == ["ok"]


async def test_a_node_that_is_catching_up_or_behind_is_told(tmp_path):
    async with a_house(tmp_path) as house:
        for _ in range(10):
            house.chain.make_block(time.time())
        late = ChainServer(house.chain, block_seconds=None)
        late.order(Behind(8), count=None)
        house.server.node.is_syncing = True
        async with late.listening() as (host, port):
            house.tree["lep6"]["grpc_addrs"] = [f"{host}:{port}"]
            found = await house.findings()
    assert [each.what.partition("; ")[2] for each in found if each.name == "chain"] == [
        "it is still catching up",
        "8 blocks behind another",
    ]


@pytest.mark.parametrize(("seconds", "words"), [(-30, "before the time of the newest block"), (300, "it is fast")])
async def test_a_clock_that_is_not_the_chain_s_is_bad(tmp_path, seconds, words):
    async with a_house(tmp_path) as house:
        found = await house.findings(clock=Shifted(seconds))
    assert words in only(found, "clock", Level.BAD).what


async def test_an_account_that_the_chain_does_not_know_is_bad(tmp_path):
    async with a_house(tmp_path) as house:
        house.chain._become(type(house.chain.state)(**{**_fields(house.chain.state), "accounts": {}}))
        found = await house.findings()
    assert only(found, "account", Level.BAD).what == f"the chain knows no account {ME}"


def _fields(state):
    return {name: getattr(state, name) for name in type(state).__slots__ if name != "__weakref__"}


@pytest.mark.parametrize(
    ("balance", "level", "words"),
    [
        (FEE - 1, "bad", "it cannot pay one"),
        (FEE, "warn", "enough for 1"),
        (100 * FEE - 1, "warn", "enough for 99"),
        (100 * FEE, "ok", "enough for 100"),
    ],
)
async def test_a_balance_is_told_in_transactions(tmp_path, balance, level, words):
    async with a_house(tmp_path, balance=balance) as house:
        found = await house.findings()
    assert only(found, "account", Level(level)).what.endswith(words)


async def test_a_chain_that_does_not_tell_of_balances_is_no_fault_of_the_node(tmp_path):
    async with a_house(tmp_path) as house:
        house.server.order(Unavailable(), "/cosmos.bank.v1beta1.Query/Balance", count=None)
        found = await house.findings()
    assert levels(found, "account") == ["warn"]


async def test_a_node_that_is_not_registered_is_bad(tmp_path):
    async with a_house(tmp_path) as house:
        house.chain._become(type(house.chain.state)(**{**_fields(house.chain.state), "supernodes": {}}))
        found = await house.findings()
    assert only(found, "registration", Level.BAD).what == f"the chain knows no supernode of {ME}"


@pytest.mark.parametrize(
    ("state", "level"),
    [
        (SuperNodeState.POSTPONED, "warn"),
        (SuperNodeState.STORAGE_FULL, "warn"),
        (SuperNodeState.STOPPED, "bad"),
        (SuperNodeState.DISABLED, "bad"),
    ],
)
async def test_a_supernode_that_gets_no_ops_is_told_with_the_reason(tmp_path, state, level):
    async with a_house(tmp_path) as house:
        house.chain.set_supernode_state(ME, state, "missed reports")
        found = await house.findings()
    assert f"{state.name.lower()} (missed reports)" in only(found, "registration", Level(level)).what


async def test_an_address_with_another_port_than_the_configured_one_is_bad(tmp_path):
    async with a_house(tmp_path) as house:
        house.chain.set_supernode_host(ME, "127.0.0.1:1234")
        found = await house.findings()
    assert f"others dial port 1234 of 127.0.0.1, and supernode.port is {house.port}" in [each.what for each in found]


async def test_an_address_without_a_port_is_dialled_at_4444(tmp_path):
    async with a_house(tmp_path) as house:
        house.chain.set_supernode_host(ME, "127.0.0.1")
        found = await house.findings()
    assert only(found, "registration", Level.BAD).what.startswith("others dial port 4444 of 127.0.0.1")


async def test_a_registered_address_that_is_none_is_bad(tmp_path):
    async with a_house(tmp_path) as house:
        house.chain.set_supernode_host(ME, "no such host?")
        found = await house.findings()
    assert only(found, "registration", Level.BAD).what.startswith("the registered address is none")
    assert "not dialled: the registered address is none" in [each.what for each in found]


async def test_a_private_address_is_told_but_on_the_devnet(tmp_path):
    async with a_house(tmp_path, chain_id="lumera-testnet-2") as house:
        house.tree["lumera"]["chain_id"] = "lumera-testnet-2"
        found = await house.findings()
    assert only(found, "registration", Level.WARN).what == "127.0.0.1 is no public address: others skip it"
