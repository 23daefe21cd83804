"""Every method, its refusals and its heights, as a client reads them that shares no code with the server."""

import base64

import pytest
import trio
from attrs import evolve
from grpclib.const import Cardinality

from chainbox import address, ticket
from chainserver import (
    FIRST,
    HASH,
    HEALER,
    SECOND,
    chain_with_op,
    claim,
    connected,
    draft,
    kind,
    op,
    server_of,
    tx_hash,
)
from lep6.devnet.chain import ChainParams
from lep6.devnet.chain.supernodes import validator_of
from lep6.devnet.chain_server import Slow
from lep6.keys import KeyKind, PublicKey
from lep6.model import Action, ActionState, EnforcementMode, HealOpStatus, Ticket
from lep6.wire.cosmos.base.tendermint.v1beta1 import GetLatestBlockRequest, GetLatestBlockResponse

AUDIT = "lumera.audit.v1.Query"
SUPERNODES = "lumera.supernode.v1.Query"
AUTH = "cosmos.auth.v1beta1.Query"
BANK = "cosmos.bank.v1beta1.Query"
TX = "cosmos.tx.v1beta1.Service"
NODE = "cosmos.base.tendermint.v1beta1.Service"
MOVED = address("moved")


def known_chain():
    chain = chain_with_op()
    chain.set_ticket(ticket("42", last_result_epoch=3, last_target_supernode_account=FIRST.address))
    chain.add_action(Action(Ticket("42"), HEALER.address, ActionState.DONE, b"\x0a\x03abc"))
    chain.add_account(MOVED, 5, number=7, sequence=9, legacy_address=address("old"), is_vesting=True)
    chain.add_account(
        SECOND.address, 10**9, number=2, sequence=4, public_key=PublicKey(KeyKind.ETHEREUM, SECOND.compressed)
    )
    return chain


OP = {
    "heal_op_id": "1",
    "ticket_id": "42",
    "healer_supernode_account": HEALER.address,
    "verifier_supernode_accounts": [FIRST.address, SECOND.address],
    "status": "HEAL_OP_STATUS_SCHEDULED",
    "created_height": "1",
    "updated_height": "1",
    "deadline_epoch_id": "3",
}
ACCOUNTS = sorted([HEALER.address, FIRST.address, SECOND.address])
NODE_RECORD = {
    "validator_address": validator_of(FIRST.address),
    "states": [{"state": "SUPERNODE_STATE_ACTIVE"}],
    "prev_ip_addresses": [{"address": "10.0.0.1"}],
    "supernode_account": FIRST.address,
    "p2p_port": "4445",
    "prev_supernode_accounts": [{"account": FIRST.address}],
}
SECOND_KEY = {
    "type_url": "/cosmos.evm.crypto.v1.ethsecp256k1.PubKey",
    "value": base64.b64encode(b"\x0a\x21" + SECOND.compressed).decode(),
}
PARAMS = {
    "epoch_length_blocks": "10",
    "epoch_zero_height": "1",
    "keep_last_epoch_entries": "200",
    "storage_truth_max_self_heal_ops_per_epoch": 5,
    "storage_truth_probation_epochs": 3,
    "storage_truth_node_suspicion_decay_per_epoch": "920",
    "storage_truth_ticket_deterioration_decay_per_epoch": "900",
    "storage_truth_node_suspicion_threshold_probation": "50",
    "storage_truth_ticket_deterioration_heal_threshold": "50",
    "storage_truth_enforcement_mode": "STORAGE_TRUTH_ENFORCEMENT_MODE_SHADOW",
    "storage_truth_pattern_escalation_window": 14,
    "storage_truth_heal_deadline_epochs": 3,
    "storage_truth_heal_verifier_count": 2,
}

ANSWERS = [
    (f"{AUDIT}/Params", {}, {"params": PARAMS}),
    (f"{AUDIT}/HealOp", {"heal_op_id": 1}, {"heal_op": OP}),
    (f"{AUDIT}/HealOpsByStatus", {"status": 1}, {"heal_ops": [OP], "pagination": {}}),
    (f"{AUDIT}/HealOpsByStatus", {"status": 4}, {"pagination": {}}),
    (f"{AUDIT}/HealOpsByStatus", {"status": 99}, {"pagination": {}}),
    (f"{AUDIT}/HealOpsByTicket", {"ticket_id": "42"}, {"heal_ops": [OP], "pagination": {}}),
    (f"{AUDIT}/HealOpsByTicket", {"ticket_id": "4"}, {"pagination": {}}),
    (
        f"{AUDIT}/HealOpsByTicket",
        {"ticket_id": "42", "pagination": {"offset": 1, "count_total": True}},
        {"pagination": {"total": "1"}},
    ),
    (f"{AUDIT}/CurrentEpoch", {}, {"epoch_start_height": "1", "epoch_end_height": "10"}),
    (
        f"{AUDIT}/TicketDeteriorationState",
        {"ticket_id": "42"},
        {
            "state": {
                "ticket_id": "42",
                "deterioration_score": "60",
                "last_target_supernode_account": FIRST.address,
                "last_result_epoch": "3",
                "distinct_holder_failure_count": 2,
            }
        },
    ),
    (
        "lumera.action.v1.Query/GetAction",
        {"actionID": "42"},
        {
            "action": {
                "creator": HEALER.address,
                "actionID": "42",
                "actionType": "ACTION_TYPE_CASCADE",
                "metadata": "CgNhYmM=",
                "price": "10000ulume",
                "state": "ACTION_STATE_DONE",
            }
        },
    ),
    (f"{SUPERNODES}/GetSuperNode", {"validatorAddress": validator_of(FIRST.address)}, {"supernode": NODE_RECORD}),
    (f"{SUPERNODES}/GetSuperNodeBySuperNodeAddress", {"supernodeAddress": FIRST.address}, {"supernode": NODE_RECORD}),
    (
        f"{AUTH}/AccountInfo",
        {"address": SECOND.address},
        {"info": {"address": SECOND.address, "pub_key": SECOND_KEY, "account_number": "2", "sequence": "4"}},
    ),
    (f"{AUTH}/AccountInfo", {"address": HEALER.address}, {"info": {"address": HEALER.address}}),
    (f"{AUTH}/AccountInfo", {"address": MOVED}, {"info": {"address": MOVED, "account_number": "7", "sequence": "9"}}),
    (f"{BANK}/Balance", {"address": MOVED, "denom": "ulume"}, {"balance": {"denom": "ulume", "amount": "5"}}),
    (f"{BANK}/Balance", {"address": MOVED, "denom": "uatom"}, {"balance": {"denom": "uatom", "amount": "0"}}),
    (
        f"{BANK}/Balance",
        {"address": address("nobody"), "denom": "ulume"},
        {"balance": {"denom": "ulume", "amount": "0"}},
    ),
    (
        "lumera.evmigration.Query/MigrationRecordByNewAddress",
        {"new_address": MOVED},
        {"record": {"legacy_address": address("old"), "new_address": MOVED}},
    ),
    (
        f"{NODE}/GetLatestBlock",
        {},
        {"sdk_block": {"header": {"chain_id": "lumera-devnet-1", "height": "1", "time": "2023-11-14T22:13:26Z"}}},
    ),
    (f"{NODE}/GetSyncing", {}, {}),
    (
        "cosmos.upgrade.v1beta1.Query/ModuleVersions",
        {"module_name": "evm"},
        {"module_versions": [{"name": "evm", "version": "1"}]},
    ),
]


async def told(stranger, chain, method, request=None, **metadata):
    async with server_of(chain).listening() as where:
        return await stranger.ask(where, method, request, **metadata)


@pytest.mark.parametrize(("method", "request_", "reply"), ANSWERS)
async def test_a_method_answers_with_its_height(stranger, method, request_, reply):
    assert await told(stranger, known_chain(), method, request_) == {"reply": reply, "height": "1"}


async def test_anchors_are_told_whole(stranger):
    chain = known_chain()
    anchor = {
        "epoch_start_height": "1",
        "epoch_end_height": "10",
        "epoch_length_blocks": "10",
        "seed": base64.b64encode(chain.at().current_epoch_anchor().seed).decode(),
        "active_supernode_accounts": ACCOUNTS,
        "target_supernode_accounts": ACCOUNTS,
    }
    async with server_of(chain).listening() as where:
        assert (await stranger.ask(where, f"{AUDIT}/CurrentEpochAnchor"))["reply"] == {"anchor": anchor}
        assert (await stranger.ask(where, f"{AUDIT}/EpochAnchor", {"epoch_id": 0}))["reply"] == {"anchor": anchor}


async def test_accounts_come_in_an_any_of_their_kind(stranger):
    async with server_of(known_chain()).listening() as where:
        plain = await stranger.ask(where, f"{AUTH}/Account", {"address": SECOND.address})
        vesting = await stranger.ask(where, f"{AUTH}/Account", {"address": MOVED})
    assert plain["reply"]["account"]["type_url"] == "/cosmos.auth.v1beta1.BaseAccount"
    account = kind("cosmos.auth.v1beta1.BaseAccount").FromString(value_of(plain))
    assert (account.address, account.account_number, account.sequence) == (SECOND.address, 2, 4)
    assert account.pub_key.value == b"\x0a\x21" + SECOND.compressed
    assert vesting["reply"]["account"]["type_url"] == "/cosmos.vesting.v1beta1.ContinuousVestingAccount"
    outer = kind("cosmos.vesting.v1beta1.AnyVestingAccount").FromString(value_of(vesting))
    inner = outer.base_vesting_account.base_account
    assert (inner.address, inner.account_number, inner.sequence) == (MOVED, 7, 9)
    assert not inner.HasField("pub_key")


def value_of(answer) -> bytes:
    return base64.b64decode(answer["reply"]["account"]["value"])


async def test_a_node_tells_its_chain(stranger):
    reply = (await told(stranger, known_chain(), f"{NODE}/GetNodeInfo"))["reply"]
    assert reply["default_node_info"]["network"] == "lumera-devnet-1"
    assert reply["application_version"]["app_name"] == "lumerad"


async def test_a_node_may_be_catching_up(stranger):
    server = server_of(known_chain())
    server.node.is_syncing = True
    async with server.listening() as where:
        assert (await stranger.ask(where, f"{NODE}/GetSyncing"))["reply"] == {"syncing": True}


BOTH = {"key": "AAAAAAAAAAE=", "offset": 1}
BOTH_TEXT = "invalid request, either offset or key is expected, got both"
NOBODY = address("nobody")

REFUSALS = [
    (f"{AUDIT}/HealOp", {"heal_op_id": 0}, "INVALID_ARGUMENT", "heal_op_id is required"),
    (f"{AUDIT}/HealOp", {"heal_op_id": 2}, "NOT_FOUND", "heal op not found"),
    (f"{AUDIT}/HealOpsByStatus", {"status": 0}, "INVALID_ARGUMENT", "status is required"),
    (f"{AUDIT}/HealOpsByTicket", {"ticket_id": ""}, "INVALID_ARGUMENT", "ticket_id is required"),
    (f"{AUDIT}/HealOpsByStatus", {"status": 1, "pagination": BOTH}, "INTERNAL", BOTH_TEXT),
    (f"{AUDIT}/HealOpsByTicket", {"ticket_id": "42", "pagination": BOTH}, "INTERNAL", BOTH_TEXT),
    (f"{AUDIT}/EpochAnchor", {"epoch_id": 1}, "NOT_FOUND", "epoch anchor not found"),
    (
        f"{AUDIT}/TicketDeteriorationState",
        {"ticket_id": "43"},
        "NOT_FOUND",
        "ticket deterioration state not found",
    ),
    ("lumera.action.v1.Query/GetAction", {"actionID": "43"}, "NOT_FOUND", "failed to get action by ID"),
    (f"{SUPERNODES}/GetSuperNode", {"validatorAddress": "x"}, "INVALID_ARGUMENT", "invalid validator address: "),
    (
        f"{SUPERNODES}/GetSuperNode",
        {"validatorAddress": validator_of(NOBODY)},
        "NOT_FOUND",
        f"no supernode found for validator {validator_of(NOBODY)}",
    ),
    (
        f"{SUPERNODES}/GetSuperNodeBySuperNodeAddress",
        {"supernodeAddress": NOBODY},
        "NOT_FOUND",
        "supernode not found",
    ),
    (f"{SUPERNODES}/GetSuperNodeBySuperNodeAddress", {"supernodeAddress": "?"}, "NOT_FOUND", "supernode not found"),
    (f"{AUTH}/AccountInfo", {"address": NOBODY}, "NOT_FOUND", f"account {NOBODY} not found"),
    (f"{AUTH}/Account", {"address": NOBODY}, "NOT_FOUND", f"account {NOBODY} not found"),
    (f"{AUTH}/AccountInfo", {"address": ""}, "INVALID_ARGUMENT", "address cannot be empty"),
    (f"{AUTH}/AccountInfo", {"address": "lumera1x"}, "UNKNOWN", ""),
    (f"{BANK}/Balance", {"address": "lumera1x", "denom": "ulume"}, "INVALID_ARGUMENT", "invalid address: "),
    (f"{BANK}/Balance", {"address": NOBODY, "denom": "?"}, "INVALID_ARGUMENT", "invalid denom: ?"),
    ("lumera.evmigration.Query/MigrationRecordByNewAddress", {"new_address": NOBODY}, "NOT_FOUND", "migration record"),
    ("cosmos.upgrade.v1beta1.Query/ModuleVersions", {"module_name": "x"}, "UNKNOWN", "x/upgrade: "),
    (f"{TX}/GetTx", {"hash": "ab" * 32}, "NOT_FOUND", f"tx not found: {'AB' * 32}"),
    (f"{TX}/GetTx", {"hash": ""}, "INVALID_ARGUMENT", "tx hash cannot be empty"),
    (f"{TX}/GetTx", {"hash": "xyz"}, "UNKNOWN", "encoding/hex: "),
    (f"{TX}/Simulate", {}, "INVALID_ARGUMENT", "empty txBytes is not allowed"),
    (f"{TX}/BroadcastTx", {"mode": 2}, "INVALID_ARGUMENT", "invalid empty tx"),
    (f"{TX}/BroadcastTx", {"mode": 1, "tx_bytes": "AA=="}, "UNKNOWN", "unsupported return type"),
]


@pytest.mark.parametrize(("method", "request_", "status", "text"), REFUSALS)
async def test_a_refusal_has_its_status_its_text_and_a_height(stranger, method, request_, status, text):
    answer = await told(stranger, known_chain(), method, request_)
    assert (answer["status"], answer["height"]) == (status, "1")
    assert answer["message"].startswith(text)
    if text and not text.endswith((": ", "record", "type")):
        assert answer["message"] == text


async def test_an_epoch_without_an_anchor_is_refused(stranger):
    chain = known_chain()
    chain._become(evolve(chain.state, anchors={}))
    answer = await told(stranger, chain, f"{AUDIT}/CurrentEpochAnchor")
    assert answer == {"status": "NOT_FOUND", "message": "current epoch anchor not found", "height": "1"}


async def test_a_pinned_height_is_answered_from(stranger):
    chain = known_chain()
    chain.set_op(op(status=HealOpStatus.HEALER_REPORTED))
    chain.make_block(1_700_000_012.0)
    chain.set_op(op(status=HealOpStatus.VERIFIED))
    chain.set_mode(EnforcementMode.FULL)
    async with server_of(chain).listening() as where:

        async def at(height):
            return await stranger.ask(where, f"{AUDIT}/HealOp", {"heal_op_id": 1}, x_cosmos_block_height=height)

        async def status(height):
            answer = await at(height)
            return answer["reply"]["heal_op"]["status"], answer["height"]

        assert await status("1") == ("HEAL_OP_STATUS_HEALER_REPORTED", "1")
        assert await status("2") == await status("0") == ("HEAL_OP_STATUS_VERIFIED", "2")
        for height, text in {
            "3": "cannot query with height in the future; please provide a valid height: invalid height",
            "-1": "cannot query with height < 0; please provide a valid height",
            "x": "invalid height header 'x-cosmos-block-height': 'x': invalid request",
            "9" * 20: f"invalid height header 'x-cosmos-block-height': '{'9' * 20}': invalid request",
        }.items():
            assert await at(height) == {"status": "UNKNOWN", "message": text, "height": None}


async def test_a_height_that_is_not_kept_is_refused(stranger):
    chain = chain_with_op(kept_states=2)
    chain.make_block(1_700_000_012.0)
    chain.make_block(1_700_000_018.0)
    answer = await told(stranger, chain, f"{AUDIT}/Params", x_cosmos_block_height="1")
    assert answer["message"].startswith("failed to load state at height 1; version does not exist (latest height: 3)")


async def test_250_ops_come_in_three_pages(stranger):
    chain = known_chain()
    for op_id in range(2, 251):
        chain.set_op(op(op_id, ticket=Ticket(str(op_id))))
    got, key, sizes = [], "", []
    async with server_of(chain).listening() as where:
        while True:
            pagination = {"limit": 100, "key": key}
            answer = await stranger.ask(where, f"{AUDIT}/HealOpsByStatus", {"status": 1, "pagination": pagination})
            rows = [int(row["heal_op_id"]) for row in answer["reply"]["heal_ops"]]
            got += rows
            sizes.append(len(rows))
            key = answer["reply"]["pagination"].get("next_key", "")
            if not key:
                break
            assert base64.b64decode(key) == (got[-1] + 1).to_bytes(8, "big")
        plain = (await stranger.ask(where, f"{AUDIT}/HealOpsByStatus", {"status": 1}))["reply"]
        backwards = await stranger.ask(
            where, f"{AUDIT}/HealOpsByStatus", {"status": 1, "pagination": {"reverse": True, "limit": 2}}
        )
        huge = {"limit": 2**64 - 1, "offset": 249}
        last = await stranger.ask(where, f"{AUDIT}/HealOpsByStatus", {"status": 1, "pagination": huge})
    assert sizes == [100, 100, 50]
    assert got == list(range(1, 251))
    assert len(plain["heal_ops"]) == 100
    assert "total" not in plain["pagination"]
    assert [row["heal_op_id"] for row in backwards["reply"]["heal_ops"]] == ["250", "249"]
    assert [row["heal_op_id"] for row in last["reply"]["heal_ops"]] == ["250"]


async def test_250_supernodes_come_in_pages_and_are_counted_without_one(stranger):
    chain = chain_with_op()
    for number in range(247):
        chain.add_supernode(address(f"node {number}"))
    method, got, key = f"{SUPERNODES}/ListSuperNodes", [], ""
    async with server_of(chain).listening() as where:
        plain = (await stranger.ask(where, method))["reply"]
        while key or not got:
            page = {"limit": 100, "key": key}
            reply = (await stranger.ask(where, method, {"pagination": page}))["reply"]
            got += [node["supernode_account"] for node in reply["supernodes"]]
            key = reply["pagination"].get("next_key", "")
    assert len(plain["supernodes"]) == 100
    assert plain["pagination"]["total"] == "250"
    assert len(set(got)) == len(got) == 250


async def test_a_transaction_goes_its_way(stranger):
    chain = known_chain()
    server = server_of(chain)
    raw = draft(HEALER, claim(HEALER.address, details="well")).raw()
    sent = {"tx_bytes": base64.b64encode(raw).decode()}
    simulation = draft(HEALER, claim(HEALER.address), gas=0, fee=1).raw(b"")
    async with server.listening() as where:
        simulated = await stranger.ask(where, f"{TX}/Simulate", {"tx_bytes": base64.b64encode(simulation).decode()})
        pooled = await stranger.ask(where, f"{TX}/BroadcastTx", {**sent, "mode": "BROADCAST_MODE_SYNC"})
        again = await stranger.ask(where, f"{TX}/BroadcastTx", {**sent, "mode": "BROADCAST_MODE_SYNC"})
        unheard = await stranger.ask(where, f"{TX}/BroadcastTx", {**sent, "mode": "BROADCAST_MODE_ASYNC"})
        early = await stranger.ask(where, f"{TX}/GetTx", {"hash": tx_hash(raw)})
        server.blocks.make()
        found = await stranger.ask(where, f"{TX}/GetTx", {"hash": tx_hash(raw).lower()})
        past = await stranger.ask(where, f"{TX}/GetTx", {"hash": tx_hash(raw)}, x_cosmos_block_height="1")
    assert simulated["reply"]["gas_info"] == {"gas_used": "100000"}
    assert pooled == {"reply": {"tx_response": {"txhash": tx_hash(raw)}}, "height": "1"}
    assert again["reply"]["tx_response"] == {"txhash": tx_hash(raw), "codespace": "sdk", "code": 19}
    assert unheard["reply"]["tx_response"] == {"txhash": tx_hash(raw)}
    assert early["status"] == past["status"] == "NOT_FOUND"
    response = found["reply"]["tx_response"]
    assert (response["height"], response["gas_wanted"], response["gas_used"]) == ("2", "200000", "100000")
    assert response["timestamp"].startswith("20")
    assert "code" not in response
    told = {pair["key"]: pair["value"] for pair in response["events"][0]["attributes"]}
    assert response["events"][0]["type"] == "storage_truth_heal_op_healer_reported"
    assert told == {
        "heal_op_id": "1",
        "ticket_id": "42",
        "healer_supernode_account": HEALER.address,
        "heal_manifest_hash": HASH,
        "module": "audit",
    }
    assert found["reply"]["tx"]["auth_info"]["fee"]["gas_limit"] == "200000"
    assert chain.at().heal_op(1).notes == "well"


async def test_other_numbers_are_other_parameters(stranger):
    chain = chain_with_op()
    chain.set_params(ChainParams(epoch_length=10, deadline_epochs=5, mode=EnforcementMode.UNSPECIFIED))
    reply = (await told(stranger, chain, f"{AUDIT}/Params"))["reply"]["params"]
    assert reply["storage_truth_heal_deadline_epochs"] == 5
    assert "storage_truth_enforcement_mode" not in reply


async def test_calls_beside_each_other_have_answers_of_their_own_height(autojump_clock):
    chain = known_chain()
    chain.make_block(1_700_000_012.0)
    server = server_of(chain)
    heights: dict[str, str] = {}

    async def ask(channel, height):
        call = channel.request(
            f"/{NODE}/GetLatestBlock",
            Cardinality.UNARY_UNARY,
            GetLatestBlockRequest,
            GetLatestBlockResponse,
            metadata={"x-cosmos-block-height": height},
        )
        async with call:
            await call.send_message(GetLatestBlockRequest())
            reply = await call.recv_message()
        heights[call.initial_metadata["x-cosmos-block-height"]] = str(reply.sdk_block.header.height)

    server.order(Slow(1), "GetLatestBlock")
    async with connected(server) as channel, trio.open_nursery() as nursery:
        nursery.start_soon(ask, channel, "1")
        nursery.start_soon(ask, channel, "2")
    assert heights == {"1": "1", "2": "2"}
