import pytest
from attrs import evolve
from grpclib.const import Status

from chainbox import EPOCH, address, chain_of, claim, claimed, run, run_to, scheduled, send, ticket
from lep6.devnet.chain import ChainParams, InvalidParams, QueryError, SuperNodeState
from lep6.devnet.chain.supernodes import validator_bytes
from lep6.errors import InvalidKey
from lep6.keys import KeyKind, PrivateKey
from lep6.model import Action, ActionState, Block, EnforcementMode, HealOpStatus, Parameters, Ticket

NOBODY = address("nobody")

ERRORS = [
    ("heal_op", (0,), Status.INVALID_ARGUMENT, "heal_op_id is required"),
    ("heal_op", (9,), Status.NOT_FOUND, "heal op not found"),
    ("heal_ops_by_status", (HealOpStatus.UNSPECIFIED,), Status.INVALID_ARGUMENT, "status is required"),
    ("heal_ops_by_ticket", ("",), Status.INVALID_ARGUMENT, "ticket_id is required"),
    ("epoch_anchor", (1,), Status.NOT_FOUND, "epoch anchor not found"),
    ("current_epoch_anchor", (), Status.NOT_FOUND, "current epoch anchor not found"),
    ("ticket_state", ("9",), Status.NOT_FOUND, "ticket deterioration state not found"),
    ("action", ("9",), Status.NOT_FOUND, "failed to get action by ID"),
    ("supernode_by_account", ("what",), Status.NOT_FOUND, "supernode not found"),
    ("account", (NOBODY,), Status.NOT_FOUND, f"account {NOBODY} not found"),
    ("account", ("",), Status.INVALID_ARGUMENT, "address cannot be empty"),
    ("account", ("what",), Status.UNKNOWN, None),
    ("tx", ("ab",), Status.NOT_FOUND, "tx not found: AB"),
    ("supernode", ("what",), Status.INVALID_ARGUMENT, None),
]


@pytest.mark.parametrize(("query", "arguments", "status", "message"), ERRORS)
def test_errors_are_the_contracts(query, arguments, status, message):
    with pytest.raises(QueryError) as caught:
        getattr(chain_of().at(), query)(*arguments)
    assert caught.value.status is status
    assert message in (None, caught.value.message)


def test_supernodes_are_found_by_validator_and_account():
    chain = chain_of()
    node = chain.at().supernode_by_account(address("node 2"))
    assert (node.account, node.host, node.state) == (address("node 2"), "10.0.0.3", SuperNodeState.ACTIVE)
    assert chain.at().supernode(node.validator) == node
    stranger = chain.add_supernode("not an address")
    assert chain.at().supernode(stranger.validator) == stranger
    missing = chain_of(0).at()
    with pytest.raises(QueryError) as caught:
        missing.supernode(node.validator)
    assert caught.value.message == f"no supernode found for validator {node.validator}"
    with pytest.raises(QueryError) as caught:
        missing.supernode(address("node 2"))
    assert caught.value.message.startswith("invalid validator address: ")
    with pytest.raises(InvalidKey):
        chain.add_supernode(NOBODY, validator=NOBODY)


@pytest.mark.parametrize("listing", ["status", "ticket"])
def test_both_key_and_offset_are_refused(listing):
    view = chain_of().at()
    query = view.heal_ops_by_status if listing == "status" else view.heal_ops_by_ticket
    with pytest.raises(QueryError) as caught:
        query(HealOpStatus.SCHEDULED if listing == "status" else "42", key=bytes(8), offset=1)
    assert caught.value.status is Status.INTERNAL
    assert caught.value.message == "invalid request, either offset or key is expected, got both"


@pytest.fixture(scope="module")
def many():
    chain = chain_of(tickets=[ticket(str(n)) for n in range(250)], max_ops_per_epoch=250)
    run_to(chain, EPOCH)
    return chain


def test_250_ops_are_three_pages(many):
    pages, key = [], b""
    while not pages or key:
        rows = many.at().heal_ops_by_status(HealOpStatus.SCHEDULED, key=key)
        pages.append([op.op_id for op in rows.rows])
        assert rows.total is None
        key = rows.next_key
        assert key == (pages[-1][-1] + 1).to_bytes(8, "big") or not key
    assert [len(page) for page in pages] == [100, 100, 50]
    assert [op_id for page in pages for op_id in page] == list(range(1, 251))


def test_pages_by_offset_reverse_and_limit(many):
    def ids(**request):
        return [op.op_id for op in many.at().heal_ops_by_status(HealOpStatus.SCHEDULED, **request).rows]

    assert ids(offset=248) == [249, 250]
    assert ids(offset=999) == []
    assert ids(limit=0) == list(range(1, 101))
    assert ids(limit=2, reverse=True) == [250, 249]
    assert ids(limit=2, reverse=True, key=(248).to_bytes(8, "big")) == [248, 247]
    rows = many.at().heal_ops_by_status(HealOpStatus.SCHEDULED, limit=1, count_total=True)
    assert (rows.total, rows.next_key) == (250, (2).to_bytes(8, "big"))
    rows = many.at().heal_ops_by_status(HealOpStatus.SCHEDULED, key=rows.next_key, count_total=True)
    assert rows.total is None
    assert many.at().heal_ops_by_status(HealOpStatus.FAILED).rows == ()


def test_a_page_goes_on_where_it_was_when_ops_leave_the_status(many):
    first = many.at().heal_ops_by_status(HealOpStatus.SCHEDULED, limit=10)
    for op in first.rows:
        send(many, op.healer, claim(op))
    run(many, 1)
    rest = many.at().heal_ops_by_status(HealOpStatus.SCHEDULED, key=first.next_key)
    assert rest.rows[0].op_id == 11


def test_ops_of_a_ticket():
    chain, op = scheduled()
    chain.set_op(evolve(op, op_id=9, status=HealOpStatus.FAILED))
    assert [op.op_id for op in chain.at().heal_ops_by_ticket("42").rows] == [1, 9]
    assert chain.at().heal_ops_by_ticket("43").rows == ()


def test_supernodes_are_listed_by_validator():
    chain = chain_of(7)
    rows = chain.at().list_supernodes(limit=5)
    rest = chain.at().list_supernodes(limit=5, key=rows.next_key)
    nodes = [*rows.rows, *rest.rows]
    assert [len(rows.rows), len(rest.rows), rest.next_key, rows.total] == [5, 2, b"", None]
    assert nodes == sorted(nodes, key=lambda node: validator_bytes(node.validator))
    assert chain.at().list_supernodes().total == 7


def test_an_anchor_exists_from_its_epochs_first_block():
    chain = chain_of()
    run_to(chain, EPOCH)
    assert chain.at().epoch_anchor(0).epoch.last_height == EPOCH
    assert chain.at().current_epoch().epoch_id == 0
    with pytest.raises(QueryError, match="epoch anchor not found"):
        chain.at().epoch_anchor(1)
    run(chain, 1)
    anchor = chain.at().epoch_anchor(1)
    assert anchor == chain.at().current_epoch_anchor()
    assert (anchor.epoch.first_height, anchor.epoch.last_height, len(anchor.seed)) == (11, 20, 32)
    assert anchor.seed != chain.at().epoch_anchor(0).seed
    assert chain.at().current_epoch() == anchor.epoch


def test_a_chain_can_begin_before_its_epochs():
    chain = chain_of(epoch_zero_height=20, tickets=[ticket()], chain={"genesis_height": 5})
    run_to(chain, 19)
    assert chain.at().current_epoch().first_height == 20
    assert not chain.state.anchors
    run_to(chain, 29)
    assert chain.at().heal_op(1).created_height == 29


def test_a_node_that_is_behind_answers_from_then():
    chain, _ = claimed()
    assert chain.at().heal_op(1).status is HealOpStatus.HEALER_REPORTED
    behind = chain.at(1)
    assert (behind.height, behind.latest_block()) == (EPOCH, Block(EPOCH, 60.0))
    assert behind.heal_op(1).status is HealOpStatus.SCHEDULED
    assert chain.at(2).heal_ops_by_status(HealOpStatus.SCHEDULED).rows == ()
    assert (chain.at(-1).height, chain.at(999).height) == (EPOCH + 1, 0)
    run(chain, 100)
    assert chain.at(999).height == chain.height - 63
    assert behind.heal_op(1).status is HealOpStatus.SCHEDULED


def test_a_node_that_is_behind_does_not_know_a_transaction_yet():
    chain, op = scheduled()
    sent = send(chain, op.healer, claim(op))
    run(chain, 3)
    assert chain.at(2).tx(sent.tx_hash.lower()).height == EPOCH + 1
    with pytest.raises(QueryError, match=f"tx not found: {sent.tx_hash}"):
        chain.at(3).tx(sent.tx_hash)


def test_accounts_and_actions_are_answered():
    chain = chain_of(1)
    key = PrivateKey(KeyKind.ETHEREUM, b"\x01" * 32).public
    account = chain.add_account(key.address, 5, public_key=key, sequence=3, legacy_address=NOBODY)
    assert chain.at().account(key.address) == account
    assert (account.number, account.balance, account.sequence) == (1, 5, 3)
    action = Action(Ticket("42"), key.address, ActionState.DONE, b"x")
    chain.add_action(action)
    assert chain.at().action("42") is action


def test_parameters_change_by_governance_but_not_the_epochs():
    chain = chain_of()
    chain.set_params(evolve(chain.at().params(), mode=EnforcementMode.FULL, verifier_count=5))
    assert chain.at().params().verifier_count == 5
    assert chain.at().params().parameters == Parameters(EnforcementMode.FULL, 1, EPOCH)
    assert chain.at().params().parameters.last_height(3) == 40
    for changes in ({"epoch_length": 11}, {"epoch_zero_height": 2}):
        with pytest.raises(InvalidParams):
            chain.set_params(evolve(chain.at().params(), **changes))


@pytest.mark.parametrize(
    "values",
    [
        {"epoch_length": 0},
        {"keep_epochs": 10_001},
        {"verifier_count": 33},
        {"deadline_epochs": -1},
        {"heal_threshold": 0},
    ],
)
def test_parameters_have_limits(values):
    with pytest.raises(InvalidParams):
        ChainParams(**values)


def test_the_defaults_are_the_contracts():
    assert ChainParams() == ChainParams(
        epoch_length=400,
        epoch_zero_height=1,
        keep_epochs=200,
        max_ops_per_epoch=5,
        probation_epochs=3,
        suspicion_decay=920,
        ticket_decay=900,
        suspicion_probation_threshold=50,
        heal_threshold=50,
        mode=EnforcementMode.SHADOW,
        escalation_window=14,
        deadline_epochs=3,
        verifier_count=2,
    )
