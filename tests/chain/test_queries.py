"""Questions to the chain: what their answers are, what absence is, and what is no answer (chain contract §1, §3.3)."""

from datetime import UTC, datetime

import pytest
import trio
from grpclib.const import Status
from structlog.testing import capture_logs

from chain_wire import KEY, ME, NOON, Encoded, Node, a_block, a_chain, hang, in_turn, refused, slowly
from lep6.chain.queries import PAGE_ROWS, AccountInfo
from lep6.chain.records import Standing
from lep6.errors import ChainUnavailable
from lep6.keys import KeyKind, PublicKey
from lep6.model import Action, ActionState, Block, EnforcementMode, HealOp, HealOpStatus, Page, Parameters, Ticket
from lep6.ports import At
from lep6.transaction import Absent, Included, Refusal
from lep6.wire.cosmos.auth import v1beta1 as auth
from lep6.wire.cosmos.bank import v1beta1 as bank
from lep6.wire.cosmos.base import v1beta1 as base
from lep6.wire.cosmos.base.abci import v1beta1 as abci
from lep6.wire.cosmos.base.query import v1beta1 as paging
from lep6.wire.cosmos.base.tendermint import v1beta1 as tendermint
from lep6.wire.cosmos.tx import v1beta1 as tx
from lep6.wire.cosmos.vesting import v1beta1 as vesting
from lep6.wire.google import protobuf
from lep6.wire.lumera import evmigration
from lep6.wire.lumera.action import v1 as action
from lep6.wire.lumera.audit import v1 as audit
from lep6.wire.lumera.supernode import v1 as registry

HASH = "AB" * 32
NOT_FOUND = Status.NOT_FOUND


def an_op(op_id=7, **options):
    fields = {"ticket_id": "42", "healer_supernode_account": "lumera1h", "status": audit.HealOpStatus.SCHEDULED}
    return audit.HealOp(heal_op_id=op_id, **{**fields, **options})


def read_op(op_id=7):
    return HealOp(op_id, Ticket("42"), "lumera1h", (), HealOpStatus.SCHEDULED)


def an_action(**options):
    fields = {"action_type": action.ActionType.CASCADE, "state": action.ActionState.DONE, "metadata": b"m"}
    return action.Action(**{"creator": ME, "action_id": "42", **fields, **options})


PARAMS = audit.QueryParamsResponse(
    audit.Params(400, 17, storage_truth_enforcement_mode=audit.StorageTruthEnforcementMode.FULL)
)
KEY_ANY = protobuf.Any("/cosmos.evm.crypto.v1.ethsecp256k1.PubKey", b"\x0a\x21" + KEY.public.compressed)
ACCOUNT = auth.BaseAccount(ME, KEY_ANY, 12, 5)
PACKED = protobuf.Any("/cosmos.auth.v1beta1.BaseAccount", bytes(ACCOUNT))


def a_tx(height=90, code=0, codespace=""):
    return tx.GetTxResponse(
        tx_response=abci.TxResponse(height=height, txhash=HASH, code=code, codespace=codespace, raw_log="why")
    )


def a_supernode(*states, account=ME):
    addresses = [registry.IpAddressHistory("old", 3), registry.IpAddressHistory("10.0.0.1:4444", 9)]
    record = registry.SuperNode(
        states=[registry.SuperNodeStateRecord(*state) for state in states],
        prev_ip_addresses=addresses,
        supernode_account=account,
    )
    return registry.QueryGetSuperNodeBySuperNodeAddressResponse(record)


def a_balance(amount, denom="ulume"):
    return bank.QueryBalanceResponse(base.Coin(denom, amount))


ACTIVE, POSTPONED = registry.SuperNodeState.ACTIVE, registry.SuperNodeState.POSTPONED


def a_page(*ops, next_key=b""):
    return audit.QueryHealOpsByStatusResponse(list(ops), paging.PageResponse(next_key))


ASKING = {
    "GetLatestBlock": lambda chain: chain.latest_block(),
    "Params": lambda chain: chain.parameters(),
    "HealOp": lambda chain: chain.heal_op(7),
    "HealOpsByStatus": lambda chain: chain.heal_ops(HealOpStatus.SCHEDULED),
    "GetAction": lambda chain: chain.action(Ticket("42")),
    "Account": lambda chain: chain.public_key(ME),
    "AccountInfo": lambda chain: chain.queries.account_info(ME),
    "Balance": lambda chain: chain.queries.balance(ME),
    "GetSuperNodeBySuperNodeAddress": lambda chain: chain.queries.standing(ME),
    "MigrationRecordByNewAddress": lambda chain: chain.legacy_address(ME),
    "GetTx": lambda chain: chain.lookup(HASH),
}

ANSWERS = [
    ("GetLatestBlock", a_block(100), Block(100, NOON.timestamp())),
    ("Params", PARAMS, At(Parameters(EnforcementMode.FULL, 17, 400), 100)),
    ("HealOp", audit.QueryHealOpResponse(an_op()), At(read_op(), 100)),
    ("HealOpsByStatus", a_page(an_op(1), an_op(2)), At(Page((read_op(1), read_op(2)), b""), 100)),
    ("HealOpsByStatus", audit.QueryHealOpsByStatusResponse(), At(Page((), b""), 100)),
    (
        "GetAction",
        action.QueryGetActionResponse(an_action()),
        At(Action(Ticket("42"), ME, ActionState.DONE, b"m"), 100),
    ),
    ("Account", auth.QueryAccountResponse(PACKED), KEY.public),
    ("Account", auth.QueryAccountResponse(), None),
    ("AccountInfo", auth.QueryAccountInfoResponse(ACCOUNT), At(AccountInfo(12, 5), 100)),
    ("AccountInfo", auth.QueryAccountInfoResponse(auth.BaseAccount(ME)), At(AccountInfo(0, 0), 100)),
    ("Balance", a_balance("0"), At(0, 100)),
    ("Balance", a_balance("9" * 78), At(int("9" * 78), 100)),
    (
        "GetSuperNodeBySuperNodeAddress",
        a_supernode((ACTIVE, 3, ""), (POSTPONED, 9, "late"), (ACTIVE, 9, "back")),
        Standing("10.0.0.1:4444", "active", "back"),
    ),
    (
        "GetSuperNodeBySuperNodeAddress",
        a_supernode((registry.SuperNodeState(99), 3, "")),
        Standing("10.0.0.1:4444", "state 99", ""),
    ),
    ("GetSuperNodeBySuperNodeAddress", a_supernode(), Standing("10.0.0.1:4444", "unspecified", "")),
    ("GetSuperNodeBySuperNodeAddress", a_supernode((ACTIVE, 3, ""), account="lumera1other"), None),
    (
        "MigrationRecordByNewAddress",
        evmigration.QueryMigrationRecordByNewAddressResponse(evmigration.MigrationRecord("lumera1old", ME, 1, 2)),
        "lumera1old",
    ),
    ("MigrationRecordByNewAddress", evmigration.QueryMigrationRecordByNewAddressResponse(), None),
    ("GetTx", a_tx(), At(Included(90, None), 100)),
    ("GetTx", a_tx(height=105), At(Included(105, None), 105)),
    ("GetTx", a_tx(code=11, codespace="sdk"), At(Included(90, Refusal.GAS), 100)),
    ("GetTx", a_tx(code=15, codespace="audit"), At(Included(90, Refusal.VOTE_EXISTS), 100)),
    ("GetTx", a_tx(code=12, codespace="bank"), At(Included(90, Refusal.OTHER), 100)),
    ("GetTx", a_tx(height=0), At(Absent(), 100)),
]


@pytest.mark.parametrize(("method", "answer", "value"), ANSWERS)
async def test_an_answer_is_its_value_and_the_height_of_its_node(method, answer, value, autojump_clock):
    async with a_chain(Node(answers={method: answer})) as chain:
        assert await ASKING[method](chain) == value


@pytest.mark.parametrize(("method", "answer", "value"), ANSWERS)
async def test_an_answer_without_a_height_is_as_high_as_the_newest_block(method, answer, value, autojump_clock):
    async with a_chain(Node(answers={method: answer}, tells=False)) as chain:
        assert await ASKING[method](chain) == value


ABSENCES = [
    ("HealOp", "heal op not found", At(None, 100)),
    ("GetAction", "failed to get action by ID", At(None, 100)),
    ("Account", f"account {ME} not found", None),
    ("AccountInfo", f"account {ME} not found", At(None, 100)),
    ("GetSuperNodeBySuperNodeAddress", "supernode not found", None),
    ("MigrationRecordByNewAddress", "not found", None),
    ("GetTx", f"tx not found: {HASH}", At(Absent(), 100)),
]


@pytest.mark.parametrize(("tells", "is_terse"), [(True, False), (True, True), (False, False), (False, True)])
@pytest.mark.parametrize("absence", ABSENCES, ids=[method for method, *_ in ABSENCES])
async def test_what_is_not_there_is_not_there_at_a_height(absence, tells, is_terse, autojump_clock):
    method, text, value = absence
    one = Node(answers={method: refused(NOT_FOUND, text)}, tells=tells, is_terse=is_terse)
    async with a_chain(one) as chain:
        assert await ASKING[method](chain) == value


@pytest.mark.parametrize("method", [method for method in ASKING if method != "MigrationRecordByNewAddress"])
@pytest.mark.parametrize("text", ["", "not found", "service not found", "block is pruned"])
async def test_plain_not_found_is_no_answer(method, text, autojump_clock):
    async with a_chain(Node(answers={method: refused(NOT_FOUND, text)})) as chain:
        with pytest.raises(ChainUnavailable):
            await ASKING[method](chain)


@pytest.mark.parametrize("method", ASKING)
@pytest.mark.parametrize("status", [status for status in Status if status not in {Status.OK, NOT_FOUND}])
async def test_any_other_refusal_is_no_answer(method, status, autojump_clock):
    async with a_chain(Node(answers={method: refused(status, "heal op not found")})) as chain:
        with pytest.raises(ChainUnavailable, match="heal op not found"):
            await ASKING[method](chain)


@pytest.mark.parametrize("method", ASKING)
@pytest.mark.parametrize("rubbish", [b"\xff\xff", b"\x0a\x7fab", b"\x0d", b"\x0a\x03\x0a\x05a", b"\x12\x02\x0a\x09"])
async def test_rubbish_is_no_answer(method, rubbish, autojump_clock):
    async with a_chain(Node(answers={method: Encoded(rubbish)})) as chain:
        try:
            answer = await ASKING[method](chain)
        except ChainUnavailable:
            return
        # What is a message all the same, with fields that lep6 does not know, is an empty one.
        assert answer in (None, At(None, 100), At(Page((), b""), 100), At(Absent(), 100))


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("GetLatestBlock", tendermint.GetLatestBlockResponse()),
        ("GetLatestBlock", tendermint.GetLatestBlockResponse(tendermint.Block())),
        ("GetLatestBlock", tendermint.GetLatestBlockResponse(tendermint.Block(tendermint.Header(height=5)))),
        ("Params", audit.QueryParamsResponse()),
        ("Params", audit.QueryParamsResponse(audit.Params())),
        ("HealOp", audit.QueryHealOpResponse()),
        ("HealOp", audit.QueryHealOpResponse(an_op(8))),
        ("HealOp", audit.QueryHealOpResponse(an_op(0))),
        ("HealOp", audit.QueryHealOpResponse(an_op(healer_supernode_account=""))),
        ("GetAction", action.QueryGetActionResponse()),
        ("GetAction", action.QueryGetActionResponse(an_action(action_id="43"))),
        ("GetAction", action.QueryGetActionResponse(an_action(action_id=""))),
        ("GetAction", action.QueryGetActionResponse(an_action(action_type=action.ActionType.SENSE))),
        ("Balance", bank.QueryBalanceResponse()),
        ("Balance", a_balance("7", "uatom")),
        ("Balance", a_balance("")),
        ("Balance", a_balance("-7")),
        ("Balance", a_balance("7.5")),
        ("Balance", a_balance("9" * 79)),
        ("Account", auth.QueryAccountResponse(protobuf.Any(PACKED.type_url, b"\xff"))),
        ("Account", auth.QueryAccountResponse(protobuf.Any("/cosmos.vesting.v1beta1.X", b"\x0a\x02\x0a"))),
    ],
)
async def test_an_answer_that_makes_no_sense_is_none(method, answer, autojump_clock):
    async with a_chain(Node(answers={method: answer})) as chain:
        with pytest.raises(ChainUnavailable):
            await ASKING[method](chain)


@pytest.mark.parametrize("is_syncing", [False, True])
async def test_a_node_tells_whether_it_is_catching_up(is_syncing, autojump_clock):
    async with a_chain(Node(answers={"GetSyncing": tendermint.GetSyncingResponse(is_syncing)})) as chain:
        assert await chain.queries.is_syncing() is is_syncing


@pytest.mark.parametrize("seconds", [-(2**63), -(10**12), 253_402_300_800, 2**63 - 1])
async def test_a_clock_that_is_mad_is_no_answer(seconds, autojump_clock):
    time = bytes(protobuf.Timestamp(seconds=seconds))
    header = b"\x18\x64\x22" + bytes([len(time)]) + time
    block = b"\x0a" + bytes([len(header)]) + header
    answer = Encoded(b"\x1a" + bytes([len(block)]) + block)
    async with a_chain(Node(answers={"GetLatestBlock": answer})) as chain:
        with pytest.raises(ChainUnavailable):
            await chain.latest_block()


async def test_a_block_before_the_epoch_of_unix_is_a_block(autojump_clock):
    header = tendermint.Header(height=3, time=datetime(1969, 1, 1, tzinfo=UTC))
    answer = tendermint.GetLatestBlockResponse(tendermint.Block(header))
    async with a_chain(Node(answers={"GetLatestBlock": answer})) as chain:
        assert await chain.latest_block() == Block(3, -365 * 86_400.0)


async def test_each_is_asked_for_what_is_wanted(autojump_clock):
    one = Node(answers={method: answer for method, answer, _ in ANSWERS})
    async with a_chain(one) as chain:
        for method, ask in ASKING.items():
            if method != "HealOpsByStatus":
                await ask(chain)
        await chain.heal_ops(HealOpStatus.HEALER_REPORTED, page=b"\0\x07")
    assert one.asked("HealOp") == [audit.QueryHealOpRequest(7)]
    assert one.asked("GetAction") == [action.QueryGetActionRequest("42")]
    assert one.asked("Account") == [auth.QueryAccountRequest(ME)]
    assert one.asked("AccountInfo") == [auth.QueryAccountInfoRequest(ME)]
    assert one.asked("Balance") == [bank.QueryBalanceRequest(ME, "ulume")]
    assert one.asked("MigrationRecordByNewAddress") == [evmigration.QueryMigrationRecordByNewAddressRequest(ME)]
    assert one.asked("GetTx") == [tx.GetTxRequest(HASH)]
    (listing,) = one.asked("HealOpsByStatus")
    assert listing.status == audit.HealOpStatus.HEALER_REPORTED
    assert listing.pagination == paging.PageRequest(key=b"\0\x07", limit=PAGE_ROWS)


async def test_all_pages_follow_each_other(autojump_clock):
    def page(request):
        at = int.from_bytes(request.pagination.key or b"\1", "big")
        following = at + request.pagination.limit
        ops = [an_op(op_id) for op_id in range(at, min(following, 251))]
        return a_page(*ops, next_key=following.to_bytes(8, "big") if following < 251 else b"")

    seen, key = [], b""
    async with a_chain(Node(answers={"HealOpsByStatus": page})) as chain:
        while True:
            listed = await chain.heal_ops(HealOpStatus.SCHEDULED, page=key)
            seen += [op.op_id for op in listed.value.ops]
            key = listed.value.next_page
            if not key:
                break
    assert seen == list(range(1, 251))


async def test_malformed_records_do_not_hide_the_others_and_are_told_of(autojump_clock):
    answer = a_page(an_op(1), an_op(2, healer_supernode_account=""), audit.HealOp(), an_op(4), next_key=b"5")
    async with a_chain(Node(answers={"HealOpsByStatus": answer})) as chain:
        with capture_logs() as logs:
            listed = await chain.heal_ops(HealOpStatus.SCHEDULED)
    assert listed == At(Page((read_op(1), read_op(4)), b"5"), 100)
    assert [log["event"] for log in logs] == ["heal_op_refused"] * 2


@pytest.mark.parametrize("status", [Status.NOT_FOUND, Status.INTERNAL, Status.UNKNOWN])
async def test_a_node_without_an_index_has_no_transaction_and_it_is_told_of(status, autojump_clock):
    text = "transaction indexing is disabled"
    async with a_chain(Node(answers={"GetTx": refused(status, text)})) as chain:
        with capture_logs() as logs:
            assert await chain.lookup(HASH) == At(Absent(), 100)
    assert [log["event"] for log in logs] == ["transactions_not_indexed"]


@pytest.mark.parametrize("kind", ["Continuous", "Delayed", "Periodic"])
async def test_the_key_of_a_vesting_account_is_its_accounts(kind, autojump_clock):
    value = bytes(vesting.AnyVestingAccount(vesting.BaseVestingAccount(ACCOUNT)))
    answer = auth.QueryAccountResponse(protobuf.Any(f"/cosmos.vesting.v1beta1.{kind}VestingAccount", value))
    async with a_chain(Node(answers={"Account": answer})) as chain:
        assert await chain.public_key(ME) == KEY.public


async def test_keys_of_both_kinds_are_found(autojump_clock):
    key = protobuf.Any("/cosmos.crypto.secp256k1.PubKey", KEY_ANY.value)
    packed = protobuf.Any(PACKED.type_url, bytes(auth.BaseAccount(ME, key, 12, 5)))
    answers = in_turn(auth.QueryAccountResponse(PACKED), auth.QueryAccountResponse(packed))
    async with a_chain(Node(answers={"Account": answers})) as chain:
        assert await chain.public_key(ME) == KEY.public
        assert await chain.public_key(ME) == PublicKey(KeyKind.COSMOS, KEY.public.compressed)


@pytest.mark.parametrize(
    "packed",
    [
        protobuf.Any("/ibc.applications.interchain_accounts.v1.InterchainAccount", bytes(ACCOUNT)),
        protobuf.Any("/cosmos.auth.v1beta1.ModuleAccount", bytes(ACCOUNT)),
        protobuf.Any(PACKED.type_url, bytes(auth.BaseAccount(ME, None, 12, 0))),
        protobuf.Any(PACKED.type_url, bytes(auth.BaseAccount(ME, protobuf.Any("/a.MultisigKey", b"x"), 12, 0))),
    ],
)
async def test_an_account_that_has_shown_no_key_of_ours_has_none(packed, autojump_clock):
    async with a_chain(Node(answers={"Account": auth.QueryAccountResponse(packed)})) as chain:
        assert await chain.public_key(ME) is None


@pytest.mark.parametrize("method", ASKING)
async def test_deadlines_are_the_callers(method, autojump_clock):
    answer = next(answer for asked, answer, _ in ANSWERS if asked == method)
    async with a_chain(Node(answers={method: slowly(3000, answer)})) as chain:
        await ASKING[method](chain)
        assert trio.current_time() == pytest.approx(3000)
        with trio.move_on_after(7) as scope:
            await ASKING[method](chain)
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(3007)


@pytest.mark.parametrize("method", ASKING)
async def test_a_question_that_was_given_up_leaves_nothing_behind(method, autojump_clock):
    answer, value = next((answer, value) for asked, answer, value in ANSWERS if asked == method)
    async with a_chain(Node(answers={method: in_turn(hang, answer)})) as chain:
        with trio.move_on_after(1):
            await ASKING[method](chain)
        assert await ASKING[method](chain) == value


async def test_an_answer_of_another_node_is_taken_where_the_first_has_none(autojump_clock):
    one = Node("one", answers={"HealOp": refused(Status.UNAVAILABLE)})
    two = Node("two", 105, {"HealOp": audit.QueryHealOpResponse(an_op())})
    async with a_chain(one, two) as chain:
        assert await chain.heal_op(7) == At(read_op(), 105)
