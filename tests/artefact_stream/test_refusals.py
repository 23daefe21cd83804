"""What the server refuses, with which status, in which order, and what a refusal says."""

import re
import shutil
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path

import pytest
import trio
from attrs import define, evolve, frozen
from grpclib.const import Status

from artefact_stream.ends import (
    ACCOUNTS,
    HEALER,
    MIB,
    OP,
    STRANGER,
    VERIFIER,
    KnownOps,
    a_node,
    ask_over,
    sealed_manifest,
    service,
    stage,
)
from lep6.cascade.staging import FILES, ID_FILES, MANIFEST, MAX_MANIFEST, RECONSTRUCTED, SYMBOLS
from lep6.grpc import open_channel
from lep6.model import HealOpStatus, Ticket
from world import noise

DATA = noise(100)
OTHER_STATUSES = [status for status in HealOpStatus if status is not HealOpStatus.HEALER_REPORTED]


@define
class Case:
    """One request to a node that has a staging, before anything is wrong."""

    root: Path
    ops: KnownOps
    op_id: int = OP.op_id
    account: str = VERIFIER
    streams: int = 16

    @property
    def directory(self):
        return self.root / "5"

    def change_op(self, **changes):
        self.ops.ops[OP.op_id] = evolve(self.ops.ops.get(OP.op_id, OP), **changes)

    async def answer(self):
        async with a_node(service(self.root, self.ops, streams=self.streams)) as node:
            return await node.ask(self.op_id, self.account)


@pytest.fixture
def case(tmp_path):
    stage(tmp_path / "staging", DATA)
    return Case(tmp_path / "staging", KnownOps.of(OP))


@frozen
class Fault:
    """Something wrong with a case, and how it is answered when nothing before it is wrong."""

    name: str
    make: Callable[[Case], object]
    status: Status
    text: str
    asks_chain: bool = True


FAULTS = [
    Fault("no op named", lambda case: setattr(case, "op_id", 0), Status.INVALID_ARGUMENT, "names no heal op", False),
    Fault("nobody", lambda case: setattr(case, "account", ""), Status.UNAUTHENTICATED, "not identified", False),
    Fault("not staged", lambda case: shutil.rmtree(case.directory), Status.NOT_FOUND, "nothing is staged", False),
    Fault("no chain", lambda case: setattr(case.ops, "is_away", True), Status.UNAVAILABLE, "does not answer"),
    Fault("unknown op", lambda case: case.ops.ops.clear(), Status.NOT_FOUND, "the chain knows no heal op 5"),
    Fault("other healer", lambda case: case.change_op(healer=STRANGER), Status.FAILED_PRECONDITION, "not the healer"),
    Fault(
        "other status",
        lambda case: case.change_op(status=HealOpStatus.VERIFIED),
        Status.FAILED_PRECONDITION,
        "heal op 5 is VERIFIED, not HEALER_REPORTED",
    ),
    Fault("no verifier", lambda case: case.change_op(verifiers=()), Status.PERMISSION_DENIED, "no verifier"),
    Fault("crowded", lambda case: setattr(case, "streams", 0), Status.RESOURCE_EXHAUSTED, "too many streams"),
    Fault("damaged", lambda case: (case.directory / MANIFEST).write_bytes(b"{"), Status.DATA_LOSS, "is damaged"),
]
"""In the order in which the server looks for them."""

BY_NAME = {fault.name: fault for fault in FAULTS}
COMPATIBLE = [
    (first, second)
    for first, second in combinations(FAULTS, 2)
    if first.name not in ("unknown op", "not staged") or second.name not in ("other healer", "other status", "damaged")
]
"""An op that the chain does not know has neither healer nor status; a staging that is not there has no damage."""


def is_answer_to(fault, answer):
    return answer.status is fault.status and fault.text in answer.text and not answer.messages


async def test_a_request_with_nothing_wrong_is_served(case, autojump_clock):
    answer = await case.answer()
    assert (answer.status, answer.data, case.ops.asked) == (Status.OK, DATA, [5])


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_each_fault_has_its_status(case, fault, autojump_clock):
    fault.make(case)
    assert is_answer_to(fault, await case.answer())


@pytest.mark.parametrize(("first", "second"), COMPATIBLE, ids=lambda fault: fault.name)
async def test_the_first_of_two_faults_is_answered(case, first, second, autojump_clock):
    second.make(case)
    first.make(case)
    answer = await case.answer()
    assert is_answer_to(first, answer), answer


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_the_chain_is_asked_once_and_only_when_the_cheap_checks_have_passed(case, fault, autojump_clock):
    fault.make(case)
    await case.answer()
    assert case.ops.asked == ([5] if fault.asks_chain else [])


# Who calls.


class Resolves:
    """A resolver with one answer, which notes what it was asked."""

    def __init__(self, account):
        self.account = account
        self.asked = []

    def resolve(self, transport, /):
        self.asked.append(transport)
        return self.account


async def test_a_caller_whom_the_resolver_does_not_know_is_refused_whatever_it_claims(case, autojump_clock):
    async with a_node(service(case.root, case.ops, Resolves(None))) as node:
        assert is_answer_to(BY_NAME["nobody"], await node.ask(account=VERIFIER))


async def test_the_resolved_account_counts_and_the_claimed_one_does_not(case, autojump_clock):
    async with a_node(service(case.root, case.ops, Resolves(STRANGER))) as node:
        assert is_answer_to(BY_NAME["no verifier"], await node.ask(account=VERIFIER))
    async with a_node(service(case.root, case.ops, Resolves(VERIFIER))) as node:
        assert (await node.ask(account=STRANGER)).data == DATA


async def test_the_resolver_is_given_the_stream_that_the_call_came_over(case, autojump_clock):
    resolver = Resolves(VERIFIER)
    async with a_node(service(case.root, case.ops, resolver)) as node:
        ours, theirs = trio.testing.memory_stream_pair()
        node.nursery.start_soon(node.server.serve_stream, theirs)
        async with open_channel(ours) as channel:
            assert (await ask_over(channel)).status is Status.OK
    (transport,) = resolver.asked
    assert transport is theirs


# What the chain says of the op.


@pytest.mark.parametrize("status", OTHER_STATUSES, ids=lambda status: status.name)
async def test_an_op_in_any_other_status_is_not_served(case, status, autojump_clock):
    case.change_op(status=status)
    answer = await case.answer()
    assert answer.status is Status.FAILED_PRECONDITION
    assert answer.text == f"heal op 5 is {status.name}, not HEALER_REPORTED"


async def test_the_largest_op_id_is_asked_for_as_it_is(case, autojump_clock):
    case.op_id = (1 << 64) - 1
    (case.root / str(case.op_id)).mkdir()
    answer = await case.answer()
    assert (answer.status, case.ops.asked) == (Status.NOT_FOUND, [(1 << 64) - 1])


NO_VERIFIERS = {
    "the healer itself": HEALER,
    "a stranger": STRANGER,
    "upper case": VERIFIER.upper(),
    "first letter": VERIFIER.capitalize(),
    "space before": f" {VERIFIER}",
    "space behind": f"{VERIFIER} ",
    "line feed behind": f"{VERIFIER}\n",
    "nul behind": f"{VERIFIER}\0",
    "a part": VERIFIER[:-1],
    "all of them": ",".join(OP.verifiers),
    "a space": " ",
}


@pytest.mark.parametrize("account", NO_VERIFIERS.values(), ids=NO_VERIFIERS)
async def test_only_the_exact_accounts_of_the_verifiers_are_served(case, account, autojump_clock):
    case.account = account
    assert is_answer_to(BY_NAME["no verifier"], await case.answer())


@pytest.mark.parametrize("account", OP.verifiers)
async def test_every_verifier_of_the_op_is_served(case, account, autojump_clock):
    case.account = account
    assert (await case.answer()).data == DATA


async def test_the_healer_is_compared_exactly(case, autojump_clock):
    for healer in (HEALER.upper(), f"{HEALER} ", ""):
        case.change_op(healer=healer)
        assert is_answer_to(BY_NAME["other healer"], await case.answer())


async def test_what_the_chain_says_counts_at_every_call(case, autojump_clock):
    async with a_node(service(case.root, case.ops)) as node:
        assert (await node.ask()).status is Status.OK
        case.change_op(status=HealOpStatus.FAILED)
        assert (await node.ask()).status is Status.FAILED_PRECONDITION
        case.ops.is_away = True
        assert (await node.ask()).status is Status.UNAVAILABLE
        case.ops.is_away = False
        case.change_op(status=HealOpStatus.HEALER_REPORTED)
        assert (await node.ask()).status is Status.OK


# What is staged.


def cut(path, size):
    with path.open("r+b") as file:
        file.truncate(size)


def replace_by_directory(path):
    path.unlink()
    path.mkdir()


def stage_for(directory, op):
    (directory / MANIFEST).write_bytes(sealed_manifest(directory, op).to_json())


DAMAGE = {
    "an empty manifest": lambda directory: (directory / MANIFEST).write_bytes(b""),
    "a manifest that is no JSON": lambda directory: (directory / MANIFEST).write_bytes(b"\xff"),
    "a manifest that is too long": lambda directory: (directory / MANIFEST).write_bytes(b" " * (MAX_MANIFEST + 1)),
    "a directory as manifest": lambda directory: replace_by_directory(directory / MANIFEST),
    "a manifest of another op": lambda directory: stage_for(directory, evolve(OP, op_id=6)),
    "a manifest of another ticket": lambda directory: stage_for(directory, evolve(OP, ticket=Ticket("8"))),
    "a shorter file": lambda directory: cut(directory / RECONSTRUCTED, len(DATA) - 1),
    "a longer file": lambda directory: cut(directory / RECONSTRUCTED, len(DATA) + 1),
    "a directory as file": lambda directory: replace_by_directory(directory / RECONSTRUCTED),
    "a shorter index": lambda directory: cut(directory / SYMBOLS[1], 47),
    "a longer pack": lambda directory: cut(directory / ID_FILES[0], 1),
    "other bytes": lambda directory: (directory / RECONSTRUCTED).write_bytes(bytes(len(DATA))),
    **{f"no {name}": partial(lambda name, directory: (directory / name).unlink(), name) for name in FILES},
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
async def test_a_damaged_staging_is_told_as_data_loss_and_left_as_it_is(case, damage, autojump_clock):
    damage(case.directory)
    before = {path.name: path.stat().st_mtime_ns for path in case.directory.iterdir()}
    answer = await case.answer()
    assert (answer.status, answer.text) == (Status.DATA_LOSS, "what is staged for heal op 5 is damaged")
    assert answer.messages == []
    assert {path.name: path.stat().st_mtime_ns for path in case.directory.iterdir()} == before


async def test_a_directory_without_a_manifest_is_no_staging(case, autojump_clock):
    (case.directory / MANIFEST).unlink()
    assert is_answer_to(BY_NAME["not staged"], await case.answer())


async def test_stagings_of_other_ops_are_not_served_in_place_of_one(case, autojump_clock):
    case.directory.rename(case.root / "50")
    stage(case.root, DATA, evolve(OP, op_id=6))
    assert is_answer_to(BY_NAME["not staged"], await case.answer())


async def test_without_a_staging_root_nothing_is_staged(case, autojump_clock):
    shutil.rmtree(case.root)
    assert is_answer_to(BY_NAME["not staged"], await case.answer())


async def test_a_root_that_is_no_directory_is_told_as_data_loss(case, autojump_clock):
    shutil.rmtree(case.root)
    case.root.write_bytes(b"")
    assert is_answer_to(BY_NAME["damaged"], await case.answer())


# What a refusal says.

ADDRESS = re.compile(r"\d+\.\d+\.\d+|[0-9a-f]*::|lumera1|:\d+")
TELLTALES = ("/", "\\", "manifest", "reconstructed", ".bin", ".pack", ".idx", "pytest", "Error", "errno")


def tells_nothing(text, root):
    return not [word for word in (str(root), root.name, *TELLTALES) if word in text] and not ADDRESS.search(text)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_no_refusal_tells_paths_file_names_or_addresses(case, fault, autojump_clock):
    fault.make(case)
    answer = await case.answer()
    assert answer.text
    assert tells_nothing(answer.text, case.root), answer.text


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
async def test_no_damage_is_told_with_paths_or_file_names(case, damage, autojump_clock):
    damage(case.directory)
    answer = await case.answer()
    assert tells_nothing(answer.text, case.root), answer.text


async def test_damage_found_in_the_middle_is_not_told_with_paths_or_file_names(tmp_path, autojump_clock):
    directory = stage(tmp_path / "staging", 3 * MIB)
    with (directory / RECONSTRUCTED).open("r+b") as file:
        file.write(b"x")
    async with a_node(service(tmp_path / "staging")) as node:
        answer = await node.ask()
    assert (answer.status, len(answer.messages)) == (Status.DATA_LOSS, 2)
    assert tells_nothing(answer.text, tmp_path / "staging"), answer.text


async def test_the_log_of_the_node_says_what_is_damaged(case, autojump_clock, capsys):
    (case.directory / SYMBOLS[0]).unlink()
    await case.answer()
    logged = capsys.readouterr().out
    assert "staging_damaged" in logged
    assert SYMBOLS[0] in logged


async def test_a_refusal_names_no_account_of_the_op(case, autojump_clock):
    case.account = STRANGER
    answer = await case.answer()
    assert not any(account in answer.text for account in ACCOUNTS)
