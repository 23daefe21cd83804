"""The admin service, as a client reads it that shares no code with the server."""

import base64
import json

import pytest

from chainserver import FIRST, HASH, HEALER, OTHER_HASH, SECOND, chain_with_op, claim, draft, server_of, vote
from lep6.devnet.chain import Chain, SuperNodeState
from lep6.devnet.chain_server import (
    AnswerLost,
    Behind,
    CheckRefused,
    Dropped,
    FailsInBlock,
    InvalidSeed,
    Late,
    NoIndex,
    OutOfGas,
    SequenceMismatch,
    Slow,
    Unavailable,
    plant,
    read_seed,
)
from lep6.keys import KeyKind
from lep6.model import ActionState, EnforcementMode, HealOpStatus

ADMIN = "lep6.devnet.v1.Admin"
SEED = {
    "accounts": [
        {
            "address": FIRST.address,
            "balance": "5000",
            "sequence": 3,
            "account_number": 12,
            "public_key": base64.b64encode(FIRST.compressed).decode(),
            "key_kind": "secp256k1",
            "legacy_address": SECOND.address,
        },
        {"address": SECOND.address, "is_vesting": True},
    ],
    "supernodes": [
        {
            "supernode_account": FIRST.address,
            "states": [{"state": "SUPERNODE_STATE_ACTIVE"}, {"state": "SUPERNODE_STATE_POSTPONED"}],
            "prev_ip_addresses": [{"address": "a"}, {"address": "b:4444"}],
            "p2p_port": "4446",
        },
        {"supernode_account": SECOND.address},
    ],
    "actions": [{"actionID": "7", "creator": FIRST.address, "state": "ACTION_STATE_APPROVED", "metadata": "AAEC"}],
    "tickets": [
        {"ticket_id": "7", "deterioration_score": "60", "last_result_class": "STORAGE_PROOF_RESULT_CLASS_PASS"}
    ],
    "heal_ops": [
        {
            "heal_op_id": "9",
            "ticket_id": "7",
            "healer_supernode_account": FIRST.address,
            "verifier_supernode_accounts": [SECOND.address],
            "status": "HEAL_OP_STATUS_EXPIRED",
            "deadline_epoch_id": "3",
        }
    ],
}


def is_planted(chain) -> None:
    first, second = chain.at().account(FIRST.address), chain.at().account(SECOND.address)
    assert (first.number, first.sequence, first.balance, first.legacy_address) == (12, 3, 5000, SECOND.address)
    assert (first.public_key.kind, first.public_key.compressed) == (KeyKind.COSMOS, FIRST.compressed)
    assert second.is_vesting
    node = chain.at().supernode_by_account(FIRST.address)
    assert (node.state, node.host, node.p2p_port) == (SuperNodeState.POSTPONED, "b:4444", "4446")
    assert chain.at().supernode_by_account(SECOND.address).state is SuperNodeState.ACTIVE
    action = chain.at().action("7")
    assert (action.state, action.metadata, action.creator) == (ActionState.APPROVED, b"\0\1\2", FIRST.address)
    assert chain.at().ticket_state("7").deterioration_score == 60
    op = chain.at().heal_op(9)
    assert (op.status, op.verifiers, op.deadline_epoch) == (HealOpStatus.EXPIRED, (SECOND.address,), 3)
    assert chain.state.next_op_id == 10


async def test_a_seed_is_added(stranger):
    chain = Chain()
    async with server_of(chain).listening() as where:
        assert await stranger.ask(where, f"{ADMIN}/Add", SEED) == {"reply": {}, "height": None}
    is_planted(chain)


WRONG_SEEDS = [
    {"accounts": [{"address": "x"}]},
    {"accounts": [{"address": FIRST.address, "public_key": "AAAA", "key_kind": "secp256k1"}]},
    {"accounts": [{"address": FIRST.address, "public_key": base64.b64encode(FIRST.compressed).decode()}]},
    {"supernodes": [{"supernode_account": FIRST.address, "validator_address": "x"}]},
    {"supernodes": [{"supernode_account": FIRST.address, "states": [{"state": 99}]}]},
    {"actions": [{}]},
    {"actions": [{"actionID": "7", "state": 99}]},
    {"tickets": [{}]},
    {"heal_ops": [{}]},
    {"heal_ops": [{"heal_op_id": "1", "status": 99}]},
]


@pytest.mark.parametrize("seed", WRONG_SEEDS)
async def test_a_seed_that_is_none_is_refused(stranger, seed):
    async with server_of(Chain()).listening() as where:
        answer = await stranger.ask(where, f"{ADMIN}/Add", seed)
    assert answer["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"accountz": []}',
        b'{"accounts": 1}',
        b'{"accounts": [1]}',
        b'{"accounts": [{"address": 5}]}',
    ],
)
def test_a_text_that_is_no_seed_is_refused(text):
    with pytest.raises(InvalidSeed):
        read_seed(text)


def test_a_seed_is_read_from_json():
    chain = Chain()
    plant(chain, read_seed(json.dumps(SEED).encode()))
    is_planted(chain)


def test_an_account_keeps_its_number_when_it_is_given_more():
    chain = chain_with_op()
    number = chain.at().account(SECOND.address).number
    plant(chain, read_seed(json.dumps({"accounts": [{"address": SECOND.address, "balance": "7"}]}).encode()))
    account = chain.at().account(SECOND.address)
    assert (account.number, account.balance) == (number, 7)


async def test_a_server_can_listen_again(stranger):
    server = server_of(chain_with_op())
    for _ in range(2):
        async with server.listening() as where:
            assert "reply" in await stranger.ask(where, "lumera.audit.v1.Query/Params")


async def test_time_is_moved(stranger):
    chain = chain_with_op()
    server = server_of(chain, block_seconds=3600)
    async with server.listening() as where:
        assert (await stranger.ask(where, f"{ADMIN}/MakeBlocks", {"count": 20}))["reply"] == {"height": "21"}
        answer = await stranger.ask(where, f"{ADMIN}/MakeBlocks", {"count": 10**6})
        assert answer["status"] == "INVALID_ARGUMENT"
        await stranger.ask(where, f"{ADMIN}/SetClock", {"paused": True, "block_seconds": 0.01})
        assert (server.blocks.is_paused, server.blocks.seconds) == (True, 0.01)
        await stranger.ask(where, f"{ADMIN}/SetClock", {"paused": False, "block_seconds": 1800})
        assert (server.blocks.is_paused, server.blocks.seconds) == (False, 1800)
        await stranger.ask(where, f"{ADMIN}/SetClock", {"paused": False})
        assert server.blocks.seconds == 1800
        for wrong in (-1, "NaN", "Infinity"):
            answer = await stranger.ask(where, f"{ADMIN}/SetClock", {"block_seconds": wrong})
            assert answer["status"] == "INVALID_ARGUMENT"
    assert chain.height == 21


async def test_the_mode_is_set(stranger):
    chain = chain_with_op()
    async with server_of(chain).listening() as where:
        await stranger.ask(where, f"{ADMIN}/SetMode", {"mode": "STORAGE_TRUTH_ENFORCEMENT_MODE_FULL"})
        assert chain.state.params.mode is EnforcementMode.FULL
        assert (await stranger.ask(where, f"{ADMIN}/SetMode", {"mode": 9}))["status"] == "INVALID_ARGUMENT"


FAULTS = [
    ({"unavailable": {"message": "x"}}, Unavailable("x")),
    ({"unavailable": {}}, Unavailable()),
    ({"slow": {"seconds": 1.5}}, Slow(1.5)),
    ({"answer_lost": {}}, AnswerLost()),
    ({"behind": {"blocks": 3}}, Behind(3)),
    ({"no_index": {}}, NoIndex()),
    ({"dropped": {}}, Dropped()),
    ({"late": {"blocks": 2}}, Late(2)),
    ({"sequence_mismatch": {}}, SequenceMismatch()),
    ({"sequence_mismatch": {"expected": 0}}, SequenceMismatch(0)),
    ({"out_of_gas": {}}, OutOfGas()),
    ({"fails_in_block": {"code": 13, "codespace": "audit", "log": "x"}}, FailsInBlock(13, "audit", "x")),
    ({"check_refused": {"code": 5}}, CheckRefused(5)),
]


@pytest.mark.parametrize(("message", "fault"), FAULTS)
async def test_every_fault_can_be_ordered(stranger, message, fault):
    server = server_of(chain_with_op())
    order = {"fault": message, "methods": "BroadcastTx", "count": 2, "seconds": 60, "account": FIRST.address}
    async with server.listening() as where:
        assert (await stranger.ask(where, f"{ADMIN}/OrderFault", order))["reply"] == {"order_id": "1"}
        made = server.faults._orders[1]
        assert (made.fault, made.methods, made.left, made.account) == (fault, "BroadcastTx", 2, FIRST.address)
        assert (await stranger.ask(where, f"{ADMIN}/CancelFaults", {"order_id": 1}))["reply"] == {}
        assert server.faults._orders == {}


@pytest.mark.parametrize(
    "order", [{}, {"fault": {}}, {"fault": {"check_refused": {}}}, {"fault": {"slow": {"seconds": -1}}}]
)
async def test_an_order_without_a_fault_is_refused(stranger, order):
    async with server_of(chain_with_op()).listening() as where:
        assert (await stranger.ask(where, f"{ADMIN}/OrderFault", order))["status"] == "INVALID_ARGUMENT"


async def test_an_order_without_an_end_stands_until_it_is_taken_back(stranger):
    async with server_of(chain_with_op()).listening() as where:
        await stranger.ask(where, f"{ADMIN}/OrderFault", {"fault": {"unavailable": {}}})
        for _ in range(3):
            assert (await stranger.ask(where, "lumera.audit.v1.Query/Params"))["status"] == "UNAVAILABLE"
        await stranger.ask(where, f"{ADMIN}/CancelFaults")
        assert "reply" in await stranger.ask(where, "lumera.audit.v1.Query/Params")


async def test_a_lost_answer_is_a_cancelled_call_to_others(stranger):
    chain = chain_with_op()
    server = server_of(chain)
    raw = draft(HEALER, claim(HEALER.address)).raw()
    server.order(AnswerLost())
    async with server.listening() as where:
        answer = await stranger.ask(
            where, "cosmos.tx.v1beta1.Service/BroadcastTx", {"tx_bytes": base64.b64encode(raw).decode(), "mode": 2}
        )
    assert answer["status"] in ("CANCELLED", "UNKNOWN")
    assert len(chain.mempool()) == 1


async def test_ops_are_pruned_and_the_node_restarts(stranger):
    chain = chain_with_op()
    server = server_of(chain)
    raw = draft(HEALER, claim(HEALER.address)).raw()
    async with server.listening() as where:
        await stranger.ask(
            where, "cosmos.tx.v1beta1.Service/BroadcastTx", {"tx_bytes": base64.b64encode(raw).decode(), "mode": 2}
        )
        assert len(chain.mempool()) == 1
        assert (await stranger.ask(where, f"{ADMIN}/Restart", {"down_seconds": 3600}))["reply"] == {}
        assert chain.mempool() == ()
        assert (await stranger.ask(where, "lumera.audit.v1.Query/Params"))["message"] == "the node is down"
        await stranger.ask(where, f"{ADMIN}/CancelFaults")
        await stranger.ask(where, f"{ADMIN}/PruneOps", {"heal_op_ids": [1]})
        assert (await stranger.ask(where, "lumera.audit.v1.Query/HealOp", {"heal_op_id": 1}))["status"] == "NOT_FOUND"


async def test_the_chronicle_tells_ops_events_and_what_became_of_every_transaction(stranger):
    chain = chain_with_op()
    server = server_of(chain)
    async with server.listening() as where:
        for signer, message in [
            (HEALER, claim(HEALER.address)),
            (FIRST, vote(FIRST.address)),
            (SECOND, vote(SECOND.address, verified=False, hash_=OTHER_HASH)),
        ]:
            raw = base64.b64encode(draft(signer, message, chain=chain).raw()).decode()
            await stranger.ask(where, "cosmos.tx.v1beta1.Service/BroadcastTx", {"tx_bytes": raw, "mode": 2})
            server.blocks.make()
        told = (await stranger.ask(where, f"{ADMIN}/Chronicle"))["reply"]
    assert told["height"] == str(chain.height)
    assert [(op["heal_op_id"], op["healer_supernode_account"]) for op in told["heal_ops"]] == [("1", HEALER.address)]
    # What is false or 0 is not written.
    assert told["included"] == [
        {"creator": HEALER.address, "heal_op_id": "1", "hash": HASH, "is_claim": True},
        {"creator": FIRST.address, "heal_op_id": "1", "hash": HASH, "verified": True},
        {"creator": SECOND.address, "heal_op_id": "1", "hash": OTHER_HASH},
    ]
    assert [entry["event"]["type"] for entry in told["events"]] == [event.kind for event in chain.events]
