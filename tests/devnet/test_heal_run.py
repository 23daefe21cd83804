"""A heal in a box, on a clock that jumps over every wait: what the judge sees, and that it can be unhappy."""

import math
import re
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from attrs import define, field
from structlog.testing import capture_logs
from trio.testing import MockClock

from lep6.cascade.publish import Published, Publisher
from lep6.cascade.staging import discard_staged
from lep6.devnet import heal_run, loopback
from lep6.devnet.box import Box
from lep6.devnet.chain import ChainClient
from lep6.devnet.heal_run import HealRun
from lep6.devnet.inline import Inline
from lep6.devnet.network import EmbeddedNetwork
from lep6.devnet.scenario import Pace, Plan, Scenario
from lep6.devnet.stand_ins import CorruptArtefacts, DiesAfterInclusion
from lep6.errors import InvalidArtefact
from lep6.heal import verifier
from lep6.heal.disk import Disk
from lep6.heal.finalizer import Finalizer
from lep6.heal.healer import Healer
from lep6.heal.ledger import Ledger
from lep6.heal.service import HealService
from lep6.heal.submission import Submissions
from lep6.heal.verdict import NoFile, Reason, vote_on
from lep6.ports import At
from lep6.transaction import Absent, Claim, Included, Transaction, Vote
from lep6.wire import supernode as wire
from world import BLOCKING, PROGRESS, MockWallClock, noise

IDLE = 0.001
"""Seconds without anything to do after which the clock jumps: what is on its way on loopback arrives before."""
DATA = noise(100_000)
OTHER_HASH = "A" * 43 + "="
BEGIN = ["register", "disaster", "schedule"]
END = ["delete all survivors", "read back"]


def op_phases(number, *, verify=True, end="publish"):
    names = ["wait for the chain to draw a healer", "reconstruct, prove, stage, claim"]
    names += ["verify"] * verify + [end]
    return [f"op {number}: {name}" for name in names]


REMOVE = "remove what was staged"
WALKS = {
    Scenario.VERIFIED: op_phases(1),
    Scenario.CORRUPT_HEALER: [*op_phases(1, end=REMOVE), *op_phases(2)],
    Scenario.UNRECOVERABLE: op_phases(1, verify=False, end=REMOVE),
    Scenario.NO_QUORUM: op_phases(1, end=REMOVE),
    Scenario.HEALER_RESTART: op_phases(1),
}


def say_yes(op, seen):
    return Vote(op.op_id, verified=True, hash=op.result_hash, details="")


def say_no(op, seen):
    return Vote(op.op_id, verified=False, hash=OTHER_HASH, details="")


@define
class Stage:
    """Where stories are told."""

    directory: Path
    boxes: list[Box] = field(factory=list)

    def tell(self, scenario, data=DATA, place="box", **plan):
        file = self.directory / "file.bin"
        file.write_bytes(data)
        run = HealRun(self.directory / place, Plan(scenario, **plan), BLOCKING, PROGRESS)
        return trio.run(run.run, file, clock=MockClock(autojump_threshold=IDLE))

    @property
    def chain(self):
        (box,) = self.boxes
        return box.chain


@pytest.fixture
def stage(tmp_path, monkeypatch):
    stage = Stage(tmp_path)

    def box(*arguments):
        stage.boxes.append(Box(*arguments))
        return stage.boxes[-1]

    monkeypatch.setattr(heal_run, "WallClock", MockWallClock)
    monkeypatch.setattr(heal_run, "PATIENCE_WINDOWS", 2)
    monkeypatch.setattr(heal_run, "Box", box)
    return stage


@pytest.fixture
def offered(stage, monkeypatch):
    """The statuses of its ops whenever a node offered values to the network."""
    statuses = []
    store = EmbeddedNetwork.store

    async def watched(network, items):
        if network._account is not None:
            ops = stage.boxes[0].chain.state.ops.values()
            statuses.append([op.status.name for op in ops if op.healer == network._account])
        return await store(network, items)

    monkeypatch.setattr(EmbeddedNetwork, "store", watched)
    return statuses


@pytest.mark.parametrize("scenario", Scenario)
def test_every_scenario_ends_as_it_should_phase_by_phase_and_breaks_no_rule(stage, scenario, offered):
    report = stage.tell(scenario)
    assert report.complaints == []
    assert report.ended_as_expected
    assert [phase.name for phase in report.done] == [*BEGIN, *WALKS[scenario], *END]
    assert list(report.timings) == [phase.name for phase in report.done]
    assert report.retrievable is scenario.ends_verified
    # Nothing enters the network before VERIFIED.
    assert bool(offered) is scenario.ends_verified
    assert all(statuses == ["VERIFIED"] for statuses in offered)
    # One transaction of an account about an op, and the chain takes it.
    sent = [(tx.creator, tx.message.op_id) for tx, _ in stage.chain.included]
    assert len(sent) == len(set(sent))
    assert all(result.code == 0 for _, result in stage.chain.included)


@pytest.mark.parametrize("scenario", Scenario)
def test_a_file_of_one_byte_has_every_story_too(stage, scenario):
    report = stage.tell(scenario, b"x")
    assert report.ended_as_expected
    assert report.needed == 1


def test_an_empty_file_is_no_story(stage):
    with pytest.raises(InvalidArtefact):
        stage.tell(Scenario.VERIFIED, b"")


def test_a_publish_that_stores_nothing_is_found_out(stage, monkeypatch):
    async def pretend(publisher, staged):
        await trio.lowlevel.checkpoint()
        return Published(110)

    monkeypatch.setattr(Publisher, "publish", pretend)
    report = stage.tell(Scenario.VERIFIED)
    assert not report.retrievable
    assert report.published < report.total
    assert report.published == report.surviving
    assert f"{110 - report.surviving - 2 * 13} values have fewer than 2 copies" in report.complaints
    assert "the file cannot be read back" in report.complaints
    assert "cannot rebuild" in report.ending


def values_of(pack, places):
    entries = pack.entries()
    return [(entries[place][0], pack.read([place])[0]) for place in places]


def test_a_publish_of_a_part_of_the_artefacts_is_found_out(stage, monkeypatch):
    async def part(publisher, staged):
        symbols, id_files = len(staged.symbols.entries()), len(staged.id_files.entries())
        await publisher.network.store(values_of(staged.symbols, range(6)))
        await publisher.network.store(values_of(staged.id_files, [*range(40), *range(id_files - 40, id_files)]))
        return Published(symbols + id_files)

    monkeypatch.setattr(Publisher, "publish", part)
    report = stage.tell(Scenario.VERIFIED)
    assert report.retrievable
    assert report.published < report.total
    (complaint,) = report.complaints
    assert complaint.endswith("values have fewer than 2 copies")


@pytest.mark.parametrize("scenario", [Scenario.NO_QUORUM, Scenario.CORRUPT_HEALER])
def test_what_enters_the_network_before_verified_is_found_out(stage, scenario, monkeypatch):
    claim = Healer._claim

    async def eager(healer, op, says, **options):
        staged = await healer.disk.staged(op.op_id)
        await healer.finalizer.publisher.network.store(values_of(staged.symbols, range(len(staged.symbols.entries()))))
        return await claim(healer, op, says, **options)

    monkeypatch.setattr(Healer, "_claim", eager)
    report = stage.tell(scenario)
    early = report.total - report.surviving
    assert f"{early} values were published before an op was VERIFIED" in report.complaints


@pytest.mark.parametrize("name", ["remove_claim", "forget_verification"])
def test_rows_that_stay_are_found_out_and_the_story_says_that_its_time_ran_out(stage, name, monkeypatch):
    async def keep(ledger, op_id):
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(Ledger, name, keep)
    report = stage.tell(Scenario.VERIFIED)
    assert report.complaints[0] == "it did not come to its end in time"
    assert re.fullmatch(r"[12] rows and 0 directories are left", report.complaints[1])
    assert "op 1: publish" in [phase.name for phase in report.done]


def test_a_work_area_that_stays_is_found_out(stage, monkeypatch):
    async def half(disk, op_id):
        await discard_staged(disk.root, str(op_id), blocking=disk.blocking)

    monkeypatch.setattr(Disk, "clear", half)
    report = stage.tell(Scenario.UNRECOVERABLE)
    assert "0 rows and 1 directories are left" in report.complaints


def test_a_corrupt_healer_that_served_the_right_bytes_is_no_such_story(stage, monkeypatch):
    def lame(op, seen):
        return vote_on(op, NoFile(Reason.FETCH_FAILED, ("stalled",)) if op.op_id == 1 else seen)

    monkeypatch.setattr(verifier, "vote_on", lame)
    monkeypatch.setattr(Inline, "_served", lambda _, node: node.artefacts)
    report = stage.tell(Scenario.CORRUPT_HEALER)
    assert "op 1 FAILED, and not by the hash of what was served" in report.complaints


def test_an_honest_healer_whose_op_fails_is_found_out(stage, monkeypatch):
    def lame(op, seen):
        first = stage.chain.state.ops[1].healer
        return vote_on(op, seen if op.healer == first else NoFile(Reason.FETCH_FAILED, ("stalled",)))

    monkeypatch.setattr(verifier, "vote_on", lame)
    report = stage.tell(Scenario.CORRUPT_HEALER)
    (honest, *_) = [op["id"] for op in report.ops if op["healer"] != report.ops[0]["healer"]]
    assert f"op {honest} FAILED, and its healer is honest" in report.complaints


def test_a_claim_of_what_could_not_be_rebuilt_is_found_out(stage, monkeypatch):
    async def eager(healer, op_id, ticket, op, claimed):
        if op is not None and op.status.name == "SCHEDULED":
            await healer.submissions.send(op, Claim(op.op_id, op.ticket, OTHER_HASH))
        return False

    async def silent(self, op):
        await trio.lowlevel.checkpoint()
        return False

    monkeypatch.setattr(Healer, "_reconstruct", eager)
    monkeypatch.setattr(verifier.Verifier, "_verify", silent)
    report = stage.tell(Scenario.UNRECOVERABLE)
    assert report.ops[0]["result_hash"] == OTHER_HASH
    assert "1 claims were accepted, not 0" in report.complaints
    assert f"the result hash is {OTHER_HASH}" in report.complaints


@pytest.mark.parametrize(
    ("room", "name", "times"), [(verifier.Verifier, "walk", 2), (HealService, "_dispatch_verifier", 3)]
)
def test_a_bug_of_the_product_on_the_way_is_found_out(stage, room, name, times, monkeypatch):
    honest, calls = getattr(room, name), []

    async def buggy(*arguments):
        calls.append(arguments)
        if len(calls) <= times:
            raise ValueError("bug")
        await honest(*arguments)

    monkeypatch.setattr(room, name, buggy)
    with capture_logs() as logged:
        report = stage.tell(Scenario.VERIFIED)
    assert sum(entry["log_level"] == "error" for entry in logged) == times
    assert report.retrievable
    assert len(report.complaints) == times
    assert all(re.fullmatch(r"a node has a bug: .*ValueError\('bug'\)", complaint) for complaint in report.complaints)


def test_a_restart_that_loses_the_staging_and_heals_all_over_is_found_out(stage, monkeypatch):
    sweep = Disk.sweep

    async def lossy(disk):
        for name in (await disk.names()).staged:
            await discard_staged(disk.root, name, blocking=disk.blocking)
        await sweep(disk)

    monkeypatch.setattr(Disk, "sweep", lossy)
    assert stage.tell(Scenario.HEALER_RESTART).complaints == ["what was staged before the death was not used"]


@pytest.mark.parametrize("scenario", [Scenario.NO_QUORUM, Scenario.UNRECOVERABLE])
def test_a_slow_disk_changes_no_ending(stage, scenario, monkeypatch):
    clear = Disk.clear

    async def slow(disk, op_id):
        await trio.sleep(2)
        await clear(disk, op_id)

    monkeypatch.setattr(Disk, "clear", slow)
    report = stage.tell(scenario)
    assert [op["status"] for op in report.ops] == ["EXPIRED"]
    assert report.complaints == []


def test_a_healer_that_is_still_dead_is_waited_for(stage, monkeypatch):
    lookup, open_node, opened = ChainClient.lookup, loopback.open_node, []

    async def slow_lookup(client, tx_hash):
        await trio.sleep(1.0)
        return await lookup(client, tx_hash)

    @asynccontextmanager
    async def slow_start(data, *arguments):
        opened.append(data)
        await trio.sleep(2.0 if opened.count(data) > 1 else 0.0)
        async with open_node(data, *arguments) as node:
            yield node

    monkeypatch.setattr(ChainClient, "lookup", slow_lookup)
    monkeypatch.setattr(loopback, "open_node", slow_start)
    assert stage.tell(Scenario.HEALER_RESTART).complaints == []


def test_nodes_that_did_not_live_have_what_keep_promises(stage):
    stage.tell(Scenario.NO_QUORUM)
    nodes = sorted((stage.directory / "box" / "nodes").iterdir())
    assert len(nodes) == 5
    assert [node.name for node in nodes if not (node / "ledger.db").is_file()] == []
    assert [node.name for node in nodes if not (node / "staging").is_dir()] == []


@pytest.mark.parametrize("scenario", Scenario)
def test_only_a_corrupt_healer_lets_the_ticket_be_scheduled_again(stage, scenario):
    report = stage.tell(scenario)
    assert (len(report.ops) > 1) is (scenario is Scenario.CORRUPT_HEALER)


def test_the_seed_decides_the_healer_and_what_is_lost(stage):
    first = [stage.tell(Scenario.VERIFIED, seed=seed, place=str(place)) for place, seed in enumerate((1, 1, 2, 3, 4))]
    healers = [(report.ops[0]["healer"], report.ops[0]["verifiers"]) for report in first]
    assert healers[0] == healers[1]
    assert len({healer for healer, _ in healers}) > 1


def test_the_end_of_an_op_that_was_not_verified_is_told_with_its_last_reason(stage):
    report = stage.tell(Scenario.UNRECOVERABLE)
    assert report.ending.startswith("the last heal op ended EXPIRED: ")
    assert re.search(r"\b1 symbols? of 2\b", report.ending)
    assert report.fetched == 1


def test_a_publish_without_index_files_is_found_out(stage, monkeypatch):
    async def symbols_only(publisher, staged):
        keys = [key for key, _, _ in staged.symbols.entries()]
        values = staged.symbols.read(list(range(len(keys))))
        await publisher.network.store(list(zip(keys, values, strict=True)))
        return Published(110)

    monkeypatch.setattr(Publisher, "publish", symbols_only)
    report = stage.tell(Scenario.VERIFIED)
    assert report.published == report.total
    assert f"{100 - 2 * 13} values have fewer than 2 copies" in report.complaints


def test_verifiers_that_say_yes_unseen_are_found_out(stage, monkeypatch):
    monkeypatch.setattr(verifier, "vote_on", say_yes)
    report = stage.tell(Scenario.CORRUPT_HEALER)
    assert [op["status"] for op in report.ops] == ["VERIFIED"]
    assert report.complaints == ["0 ops FAILED"]
    assert not report.ended_as_expected


def test_verifiers_that_say_no_to_the_right_file_are_found_out(stage, monkeypatch):
    monkeypatch.setattr(verifier, "vote_on", say_no)
    report = stage.tell(Scenario.VERIFIED)
    assert report.ops[0]["status"] == "FAILED"
    assert not report.ended_as_expected


def test_a_healer_that_claims_another_hash_than_it_serves_is_found_out(stage, monkeypatch):
    send = Submissions.send

    async def lie(submissions, op, says):
        false = Claim(says.op_id, says.ticket, OTHER_HASH) if isinstance(says, Claim) else says
        return await send(submissions, op, false)

    monkeypatch.setattr(Submissions, "send", lie)
    report = stage.tell(Scenario.VERIFIED)
    assert "VERIFIED" not in [op["status"] for op in report.ops]
    assert not report.ended_as_expected


@pytest.mark.parametrize("scenario", [Scenario.VERIFIED, Scenario.NO_QUORUM])
def test_a_staging_that_stays_is_found_out(stage, scenario, monkeypatch):
    async def keep(disk, op_id):
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(Disk, "clear", keep)
    report = stage.tell(scenario)
    assert report.staging_left > 0
    assert not report.ended_as_expected


def test_a_file_that_is_published_twice_is_found_out(stage, monkeypatch):
    publish = Finalizer.publish

    async def twice(finalizer, row, staged):
        await publish(finalizer, row, staged)
        return await publish(finalizer, row, staged)

    monkeypatch.setattr(Finalizer, "publish", twice)
    report = stage.tell(Scenario.VERIFIED)
    assert report.publishes == 2
    assert report.complaints == ["it was published 2 times"]


def test_a_healer_that_does_not_die_is_no_restart(stage, monkeypatch):
    async def pass_on(stand_in, name, argument, call):
        return await call()

    monkeypatch.setattr(DiesAfterInclusion, "__call__", pass_on)
    report = stage.tell(Scenario.HEALER_RESTART)
    assert report.retrievable
    assert report.complaints == ["the healer died 0 times"]


def test_the_end_comes_though_no_op_ever_ends_well(stage, monkeypatch):
    monkeypatch.setattr(verifier, "vote_on", say_no)
    report = stage.tell(Scenario.CORRUPT_HEALER)
    assert {op["status"] for op in report.ops} >= {"FAILED"}
    assert not report.ended_as_expected
    assert [phase.name for phase in report.done][-2:] == END


@pytest.mark.parametrize(("surviving", "left"), [(0.0, 0), (0.2, 2), (0.21, 3), (0.7, 7)])
def test_the_disaster_leaves_the_share_that_was_asked_for(stage, surviving, left):
    report = stage.tell(Scenario.VERIFIED, surviving=surviving)
    assert (report.total, report.needed, report.surviving) == (10, 2, left)
    assert report.ended_as_expected is (left >= 2)
    assert len(report.ops) == 1


@pytest.mark.parametrize("size", [1, 200_000, 8_000_000, 1_000_000_000])
def test_the_pace_gives_a_file_its_window(size):
    pace = Pace.for_size(size)
    assert pace.window_seconds >= 4 + size / 2e6
    assert pace.window_seconds < 4 + size / 2e6 + pace.deadline_epochs * pace.block_seconds
    assert f"{pace.window_seconds:.1f} s" in str(pace)
    assert f"epochs of {pace.epoch_blocks} blocks" in str(pace)


def test_a_file_of_8_mb_has_a_window_of_less_than_half_of_20_seconds():
    assert math.ceil(Pace.for_size(8_000_000).window_seconds) <= 10


@define
class Replies:
    """An artefact service that gives these chunks."""

    chunks: list[bytes]

    async def serve_reconstructed_artefacts(self, message):
        for chunk in self.chunks:
            await trio.lowlevel.checkpoint()
            yield wire.ServeReconstructedArtefactsResponse(chunk=chunk)


async def test_the_corrupt_stand_in_changes_one_bit_of_the_first_byte_and_no_length():
    stand_in = CorruptArtefacts(Replies([b"abc", b"def"]))
    request = wire.ServeReconstructedArtefactsRequest()
    chunks = [reply.chunk async for reply in stand_in.serve_reconstructed_artefacts(request)]
    assert chunks == [b"`bc", b"def"]


CLAIM = Transaction(Claim(1, "1", OTHER_HASH), "HASH", sequence=0, timeout_height=9, raw=b"tx")


async def pass_through(stand_in, name, argument, answer):
    async def call():
        await trio.lowlevel.checkpoint()
        return answer

    with trio.move_on_after(1):
        return await stand_in(name, argument, call)
    return "never"


async def test_the_restart_comes_once_and_when_the_claim_is_in_a_block(autojump_clock):
    deaths = []
    stand_in = DiesAfterInclusion(lambda: deaths.append(trio.current_time()))
    included, absent = At(Included(5, None), 5), At(Absent(), 5)
    assert await pass_through(stand_in, "lookup", "HASH", included) == included
    assert await pass_through(stand_in, "broadcast", CLAIM, "pooled") == "pooled"
    assert await pass_through(stand_in, "lookup", "HASH", absent) == absent
    assert await pass_through(stand_in, "lookup", "OTHER", included) == included
    assert not deaths
    assert await pass_through(stand_in, "lookup", "HASH", included) == "never"
    assert await pass_through(stand_in, "lookup", "HASH", included) == included
    assert len(deaths) == 1
