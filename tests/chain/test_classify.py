"""What the chain's errors mean, row by row (chain contract §2.7, §3)."""

import pytest
from grpclib.const import Status

from lep6.chain.classify import IN_MEMPOOL, TRANSIENT, Answer, answer_of, expected_sequence, refusal_in, refusal_of
from lep6.transaction import Refusal

AUDIT_CODES = {
    11: ("heal op not found", Refusal.OP_UNKNOWN),
    12: ("heal op unauthorized actor", Refusal.NOT_ASSIGNED),
    13: ("heal op invalid state transition", Refusal.WRONG_STATUS),
    14: ("heal op ticket mismatch", Refusal.WRONG_TICKET),
    15: ("heal verification already submitted", Refusal.VOTE_EXISTS),
    17: ("invalid heal verification", Refusal.WRONG_HASH),
}
AUDIT_OTHERS = {
    1: "invalid signer",
    2: "invalid epoch id",
    4: "duplicate report",
    10: "invalid storage recheck evidence",
    16: "ticket artifact count mismatch",
}
SDK_CODES = {
    4: ("unauthorized", Refusal.KEY),
    5: ("insufficient funds", Refusal.FUNDS),
    9: ("unknown address", Refusal.FUNDS),
    11: ("out of gas", Refusal.GAS),
    13: ("insufficient fee", Refusal.FEE),
    20: ("mempool is full", Refusal.MEMPOOL),
    30: ("tx timeout height", Refusal.LATE),
    32: ("incorrect account sequence", Refusal.SEQUENCE),
}
SDK_OTHERS = {2: "tx parse error", 21: "tx too large"}

HASH = "61414b4c" * 11
DETAILS = [
    # Claims, in the order in which the chain checks them.
    ("heal_op_id is required", 11),
    ("ticket_id is required", 14),
    ("heal_manifest_hash is required", 13),
    ("heal op 7 not found", 11),
    ('ticket_id "41" does not match heal op ticket_id "42"', 14),
    ("creator is not assigned healer for this heal op", 12),
    ("heal op status HEAL_OP_STATUS_EXPIRED does not accept healer completion claim", 13),
    ("heal op has no independent verifier assignments", 13),
    # Votes.
    ("verification_hash is required", 13),
    ("heal op status HEAL_OP_STATUS_FAILED does not accept verification", 13),
    ("creator is not assigned verifier for this heal op", 12),
    ("verification already submitted by creator", 15),
    (f"positive attestation hash {HASH} mismatches heal-op result hash {HASH[::-1]}", 17),
]
ANTE = [
    ("signature verification failed; please verify account number (12), sequence (5) and chain-id (testing)", 4),
    ("spendable balance 12ulume is smaller than 4500ulume", 5),
    ("account lumera17w0adeg64ky0daxwd2ugyuneellmjgnxmzmf9j does not exist", 9),
    ("out of gas in location: ReadFlat; gasWanted: 100, gasUsed: 1084", 11),
    ("gas prices too low, got: 0.000100000000000000ulume required: 0.002500000000000000ulume", 13),
    ("provided fee < minimum global fee (1ulume < 450ulume). Please increase the gas price", 13),
    ("number of txs 5000", 20),
    ("block height: 120, timeout height: 119", 30),
    ("account sequence mismatch, expected 7855, got 7854", 32),
]
FILE = "lumera/x/audit/v1/keeper/msg_storage_truth.go:131"
ENDS = ["", f" [{FILE}]", " with gas used: '35369'", f" [{FILE}] with gas used: '35369'"]
HANDLER = "failed to execute message; message index: 0: "


@pytest.mark.parametrize("code", AUDIT_CODES)
def test_a_code_of_audit_is_its_refusal(code):
    assert refusal_of("audit", code) is AUDIT_CODES[code][1]
    assert AUDIT_CODES[code][1].is_about_the_op


@pytest.mark.parametrize("code", SDK_CODES)
def test_a_code_of_sdk_is_its_refusal(code):
    assert refusal_of("sdk", code) is SDK_CODES[code][1]
    assert not SDK_CODES[code][1].is_about_the_op


@pytest.mark.parametrize("code", [*AUDIT_OTHERS, 0, 3, 5, 6, 7, 8, 9, 18, 19, 20, 30, 32, 1101, 1105, 1200, 2**32 - 1])
def test_any_other_code_of_audit_is_a_refusal_as_such(code):
    assert refusal_of("audit", code) is Refusal.OTHER


@pytest.mark.parametrize("code", [*SDK_OTHERS, 0, 1, 3, 6, 7, 8, 10, 12, 14, 15, 17, 18, 22, 33, 111222])
def test_any_other_code_of_sdk_is_a_refusal_as_such(code):
    assert refusal_of("sdk", code) is Refusal.OTHER


@pytest.mark.parametrize("codespace", ["", "Audit", "AUDIT", "sdk ", "undefined", "action", "supernode", "wasm"])
def test_a_code_of_another_codespace_is_a_refusal_as_such(codespace):
    assert {refusal_of(codespace, code) for code in range(40)} == {Refusal.OTHER}


def test_only_the_sdks_19_says_that_it_waits_already():
    assert IN_MEMPOOL == ("sdk", 19)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("detail", "code"), DETAILS)
def test_a_phrase_of_audit_is_its_refusal(detail, code, end):
    description, refusal = AUDIT_CODES[code]
    assert refusal_in(f"{HANDLER}{detail}: {description}{end}") is refusal
    assert refusal_in(f"{detail}: {description}{end}") is refusal


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("detail", "code"), ANTE)
def test_a_phrase_of_the_ante_chain_is_its_refusal(detail, code, end):
    description, refusal = SDK_CODES[code]
    assert refusal_in(f"{detail}: {description}{end}") is refusal


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("description", "refusal"), [*AUDIT_CODES.values(), *SDK_CODES.values()])
def test_a_description_alone_is_its_refusal(description, refusal, end):
    assert refusal_in(f"{description}{end}") is refusal


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("description", "refusal"), [*AUDIT_CODES.values(), *SDK_CODES.values()])
def test_what_is_quoted_before_the_description_does_not_mislead(description, refusal, end):
    for quoted, _ in [*AUDIT_CODES.values(), *SDK_CODES.values()]:
        text = f'{HANDLER}ticket_id "x: {quoted}" is not "{quoted} [a.go:1]": {description}{end}'
        assert refusal_in(text) is refusal
        assert refusal_in(f"{quoted} with gas used: '1': {quoted}\n: {description}{end}") is refusal


@pytest.mark.parametrize(
    ("phrase", "refusal"),
    [
        ("heal op status HEAL_OP_STATUS_FAILED does not accept healer completion claim", Refusal.WRONG_STATUS),
        ("heal op status HEAL_OP_STATUS_FAILED does not accept verification", Refusal.WRONG_STATUS),
        ("verification already submitted by creator", Refusal.VOTE_EXISTS),
        ("positive attestation hash 61 mismatches heal-op result hash 62", Refusal.WRONG_HASH),
        ("creator is not assigned healer for this heal op", Refusal.NOT_ASSIGNED),
        ("creator is not assigned verifier for this heal op", Refusal.NOT_ASSIGNED),
        ('ticket_id "1" does not match heal op ticket_id "2"', Refusal.WRONG_TICKET),
        ("account sequence mismatch, expected 7, got 6", Refusal.SEQUENCE),
        ("wrong sequence", Refusal.SEQUENCE),
        ("out of gas in location: WriteFlat; gasWanted: 100, gasUsed: 1084", Refusal.GAS),
    ],
)
@pytest.mark.parametrize("end", ["", ": a description that is new"])
def test_where_the_description_is_another_the_phrase_tells(phrase, refusal, end):
    assert refusal_in(f"{HANDLER}{phrase}{end} [{FILE}] with gas used: '1'") is refusal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not found",
        "heal op",
        "key not found",
        "tx not found: 00",
        "account lumera1 not found",
        "block 7 not found",
        "heal op not found in the cache of the proxy",
        "unauthorized actor",
        "unauthorized: please log in",
        "deadline has passed",
        "rpc error: code = Unavailable desc = connection refused",
        "panic: runtime error: index out of range",
        *(f"creator is required: {text} [{FILE}] with gas used: '1'" for text in AUDIT_OTHERS.values()),
        *(f"errUnknownField: {text}" for text in SDK_OTHERS.values()),
    ],
)
def test_any_other_text_tells_of_no_refusal(text):
    assert refusal_in(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("account sequence mismatch, expected 7855, got 7854: incorrect account sequence", 7855),
        ("account sequence mismatch, expected 0, got 1: incorrect account sequence [a.go:1] with gas used: '3'", 0),
        ("account sequence mismatch, expected 18446744073709551615, got 1", 2**64 - 1),
        ("incorrect account sequence", None),
        ("expected, got 1", None),
        ("expected -1, got 1", None),
        ("expected seven, got 1", None),
        ("expected 7", None),
        ("", None),
    ],
)
def test_the_expected_sequence_is_read_from_the_text(text, expected):
    assert expected_sequence(text) == expected


ABSENT = [
    ("HealOp", "heal op not found"),
    ("GetAction", "failed to get action by ID"),
    ("GetTx", f"tx not found: {'AB' * 32}"),
    ("Account", "account lumera17w0adeg64ky0daxwd2ugyuneellmjgnxmzmf9j not found"),
    ("AccountInfo", "account lumera17w0adeg64ky0daxwd2ugyuneellmjgnxmzmf9j not found"),
    ("GetSuperNodeBySuperNodeAddress", "supernode not found"),
    ("MigrationRecordByNewAddress", "migration record not found"),
]


@pytest.mark.parametrize(("method", "text"), ABSENT)
def test_what_a_method_says_of_absence_is_absence(method, text):
    assert answer_of(method, Status.NOT_FOUND, text) is Answer.ABSENT


@pytest.mark.parametrize("status", [status for status in Status if status not in {Status.OK, Status.NOT_FOUND}])
@pytest.mark.parametrize(("method", "text"), ABSENT)
def test_with_another_status_it_is_none(method, text, status):
    assert answer_of(method, status, text) is Answer.NOTHING


@pytest.mark.parametrize("text", ["", "not found", "Not Found", "key not found", "block not found", "404: not found"])
@pytest.mark.parametrize("method", [method for method, _ in ABSENT if method != "MigrationRecordByNewAddress"])
def test_plain_not_found_is_no_absence(method, text):
    assert answer_of(method, Status.NOT_FOUND, text) is Answer.NOTHING


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (asked, text)
        for asked, own in ABSENT
        for _, text in ABSENT
        if asked != "MigrationRecordByNewAddress" and text != own
    ],
)
def test_the_absence_of_another_thing_is_none(method, text):
    assert answer_of(method, Status.NOT_FOUND, text) is Answer.NOTHING


@pytest.mark.parametrize(
    ("method", "status", "text"),
    [
        ("HealOp", Status.INVALID_ARGUMENT, "heal_op_id is required"),
        ("HealOpsByStatus", Status.INVALID_ARGUMENT, "status is required"),
        ("HealOpsByStatus", Status.INTERNAL, "invalid request, either offset or key is expected, got both"),
        ("HealOpsByTicket", Status.INVALID_ARGUMENT, "ticket_id is required"),
        ("HealOpsByStatus", Status.NOT_FOUND, "heal op not found"),
        ("Params", Status.NOT_FOUND, "heal op not found"),
        ("GetLatestBlock", Status.NOT_FOUND, "tx not found"),
        ("AccountInfo", Status.INVALID_ARGUMENT, "Address cannot be empty"),
        ("AccountInfo", Status.UNKNOWN, "decoding bech32 failed: invalid separator index -1"),
    ],
)
def test_any_other_refusal_says_nothing(method, status, text):
    assert answer_of(method, status, text) is Answer.NOTHING


@pytest.mark.parametrize("status", [Status.NOT_FOUND, Status.INTERNAL, Status.UNKNOWN, Status.UNAVAILABLE])
def test_a_node_without_an_index_of_transactions_says_so(status):
    assert answer_of("GetTx", status, "transaction indexing is disabled") is Answer.UNINDEXED


def test_the_transient_statuses_are_these_five():
    assert {status.value for status in TRANSIENT} == {1, 4, 8, 10, 14}
