"""`lep6 devnet heal` as a stranger sees it: the command in a process of its own, its words, its files, its end."""

import json
import os
import re
import subprocess
import sys
from base64 import b64encode
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import apsw
import pytest
from attrs import frozen

from lep6 import _core
from lep6.devnet.network import node_account
from world import noise

SIZE = 200_000
DATA = noise(SIZE)
TOTAL, NEEDED, ID_FILES = 20, 4, 100
COMMAND = [sys.executable, "-c", "from lep6.cli import main; main(prog_name='lep6')", "devnet", "heal"]
PATIENCE = 90
AT_ONCE = 6
SEEDS = range(1, 7)
ENDS = {
    "verified": ["VERIFIED"],
    "corrupt-healer": ["FAILED", "VERIFIED"],
    "unrecoverable": ["EXPIRED"],
    "no-quorum": ["EXPIRED"],
    "healer-restart": ["VERIFIED"],
}
HEALED = [name for name, statuses in ENDS.items() if statuses[-1] == "VERIFIED"]
LOST = [name for name in ENDS if name not in HEALED]
SEEDED = ["corrupt-healer", "healer-restart"]
VARIED = {
    "three nodes": ("--nodes", "3"),
    "three nodes, one of them corrupt": ("--nodes", "3", "--scenario", "corrupt-healer"),
    "seven nodes, one copy each": ("--nodes", "7", "--replicas", "1"),
    "as many copies as other nodes": ("--replicas", "4"),
    "exactly as many symbols as are needed": ("--surviving", str(NEEDED / TOTAL)),
    "three quarters": ("--surviving", "0.75"),
}
STORIES = {
    **{name: ("--scenario", name) for name in ENDS},
    **{f"{name} {seed}": ("--scenario", name, "--seed", str(seed)) for name in SEEDED for seed in SEEDS if seed != 1},
    **VARIED,
    "again": ("--seed", "1"),
    "another seed": ("--seed", "2"),
    "too little": ("--surviving", "0.1"),
}
SHOWN = {"well": ("--scenario", "corrupt-healer"), "badly": ("--surviving", "0.1")}
"""Runs for people."""
NAMES = ["with a blank.bin", "Übermaß.bin", "-dash.bin", "a (copy).bin", "a [bold][x].bin"]
BAD_INPUTS = {
    "an empty file": (4, "at least 1 byte", "empty", ()),
    "no file": (2, "does not exist", "absent", ()),
    "a directory": (2, "is a directory", ".", ()),
    "too few nodes": (2, "not in the range", "file.bin", ("--nodes", "2")),
    "more copies than other nodes": (2, "cannot hold 5 copies", "file.bin", ("--replicas", "5")),
    "more survivors than symbols": (2, "not in the range", "file.bin", ("--surviving", "1.5")),
    "a scenario that does not exist": (2, "is not one of", "file.bin", ("--scenario", "happy")),
    "a seed that is no number": (2, "not a valid integer", "file.bin", ("--seed", "x")),
    "a file to keep everything in": (4, "Not a directory", "file.bin", ("--keep", "file.bin")),
}
"""The exit code, words of the last line, the file, the options."""
FIELDS = {
    "scenario": str,
    "seed": int,
    "ended_as_expected": bool,
    "file": dict,
    "ops": list,
    "votes": list,
    "symbols": dict,
    "published": bool,
    "retrievable": bool,
    "staging_left": int,
    "timings_s": dict,
}
OP_FIELDS = {"id": int, "ticket": str, "healer": str, "verifiers": list, "status": str, "result_hash": str}
VOTE_FIELDS = {"op": int, "verifier": str, "verified": bool, "hash": str}
SYMBOL_FIELDS = ("total", "needed", "surviving", "fetched", "published")


def blake3_text(data):
    return b64encode(_core.blake3(data)).decode()


HASH = blake3_text(DATA)
SERVED_HASH = blake3_text(bytes([DATA[0] ^ 1]) + DATA[1:])
"""Of what the corrupt healer's stand-in serves."""


@frozen
class Ended:
    """A run of the command that is over."""

    code: int
    output: str
    """Both streams, as they came."""
    kept: Path
    temporaries: list[str]
    """What it left in its directory for temporary files."""
    processes_left: bool

    @property
    def report(self):
        return json.loads(self.output.splitlines()[-1])

    @property
    def held(self):
        """The keys that each node holds in the end, by account."""
        return {node_account(int(path.name)): held_in(path / "network.db") for path in (self.kept / "nodes").iterdir()}


def held_in(path):
    connection = apsw.Connection(str(path))
    try:
        return frozenset(key for (key,) in connection.execute("SELECT key FROM held"))
    finally:
        connection.close()


def environment(temporaries):
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    return {**kept, "TMPDIR": str(temporaries), "TERM": "xterm"}


def has_processes(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def heal(directory, *arguments, file="file.bin"):
    """Run the command in a directory, where a good and an empty file are; both of its streams in one pipe."""
    temporaries = directory / "tmp"
    temporaries.mkdir(parents=True)
    (directory / "file.bin").write_bytes(DATA)
    (directory / "empty").touch()
    with subprocess.Popen(
        [*COMMAND, str(file), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=directory,
        env=environment(temporaries),
        start_new_session=True,
    ) as process:
        output = process.communicate(timeout=PATIENCE)[0].decode()
    left = sorted(path.name for path in temporaries.iterdir())
    return Ended(process.returncode, output, directory / "kept", left, has_processes(process.pid))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All runs, some at a time: most of a story is waiting for the chain."""
    root = tmp_path_factory.mktemp("runs")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = {}
        for name, arguments in STORIES.items():
            place = root / str(len(futures))
            futures[name] = pool.submit(heal, place, *arguments, "--json", "--keep", place / "kept")
        for name, arguments in SHOWN.items():
            futures[name] = pool.submit(heal, root / str(len(futures)), *arguments)
        for name in NAMES:
            (root / "files").mkdir(exist_ok=True)
            (root / "files" / name).write_bytes(DATA)
            futures[name] = pool.submit(heal, root / str(len(futures)), file=root / "files" / name)
        for name, (_, _, file, arguments) in BAD_INPUTS.items():
            futures[name] = pool.submit(heal, root / str(len(futures)), *arguments, file=file)
        yield lambda name: futures[name].result()
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def stories(runs):
    """Those with `--json --keep`."""
    return runs


def is_exactly(value, kind):
    return type(value) is kind


@pytest.mark.parametrize("name", ENDS)
def test_each_scenario_ends_with_0_and_as_it_should(stories, name):
    ended = stories(name)
    assert ended.code == 0, ended.output
    assert ended.report["scenario"] == name
    assert ended.report["ended_as_expected"] is True


@pytest.mark.parametrize("name", STORIES)
def test_the_last_line_is_one_object_of_exactly_the_fields_that_are_promised(stories, name):
    report = stories(name).report
    assert list(report) == list(FIELDS)
    assert [field for field, kind in FIELDS.items() if not is_exactly(report[field], kind)] == []
    assert list(report["file"]) == ["size", "blake3_b64"]
    for entry, fields in [
        *((op, OP_FIELDS) for op in report["ops"]),
        *((vote, VOTE_FIELDS) for vote in report["votes"]),
    ]:
        assert list(entry) == list(fields)
        assert [field for field, kind in fields.items() if not is_exactly(entry[field], kind)] == []
    assert list(report["symbols"]) == list(SYMBOL_FIELDS)
    assert all(is_exactly(count, int) for count in report["symbols"].values())
    assert all(is_exactly(seconds, float) and seconds >= 0 for seconds in report["timings_s"].values())


def test_standard_output_is_the_object_and_nothing_else(tmp_path):
    (tmp_path / "file.bin").write_bytes(DATA)
    ended = subprocess.run(
        [*COMMAND, "file.bin", "--json"],
        capture_output=True,
        cwd=tmp_path,
        env=environment(tmp_path),
        check=True,
        timeout=PATIENCE,
    )
    (line,) = ended.stdout.splitlines()
    assert json.loads(line)["retrievable"]
    assert "Traceback" not in ended.stderr.decode()


@pytest.mark.parametrize("name", STORIES)
def test_no_story_leaves_a_process_or_a_temporary_file_or_a_traceback(stories, name):
    ended = stories(name)
    assert ended.temporaries == []
    assert not ended.processes_left
    assert "Traceback" not in ended.output
    assert "level='error'" not in ended.output


@pytest.mark.parametrize("name", STORIES)
def test_the_object_names_the_file_and_its_geometry(stories, name):
    report = stories(name).report
    assert report["file"] == {"size": SIZE, "blake3_b64": HASH}
    assert (report["symbols"]["total"], report["symbols"]["needed"]) == (TOTAL, NEEDED)


@pytest.mark.parametrize("name", [name for name in STORIES if name != "too little"])
def test_every_op_is_of_nodes_of_the_box_and_ends_as_the_scenario_says(stories, name):
    report, held = stories(name).report, stories(name).held
    statuses = [op["status"] for op in report["ops"]]
    expected = ENDS[report["scenario"]]
    assert statuses[-1] == expected[-1]
    assert set(statuses[:-1]) == set(expected[:-1])
    assert [op["id"] for op in report["ops"]] == list(range(1, len(statuses) + 1))
    for op in report["ops"]:
        assert op["ticket"] == "1"
        assert len(op["verifiers"]) == 2
        assert len({op["healer"], *op["verifiers"]} & held.keys()) == 3


@pytest.mark.parametrize("name", STORIES)
def test_votes_are_of_the_ops_own_verifiers_and_at_most_one_of_each(stories, name):
    report = stories(name).report
    verifiers = {op["id"]: op["verifiers"] for op in report["ops"]}
    assert all(vote["verifier"] in verifiers[vote["op"]] for vote in report["votes"])
    assert max(Counter((vote["op"], vote["verifier"]) for vote in report["votes"]).values(), default=1) == 1


@pytest.mark.parametrize("name", [name for name in STORIES if name not in ("too little", *LOST)])
def test_what_is_verified_is_the_hash_of_the_file_and_two_yes_votes_carry_it(stories, name):
    report = stories(name).report
    op = report["ops"][-1]
    assert (op["status"], op["result_hash"]) == ("VERIFIED", HASH)
    votes = [(vote["verified"], vote["hash"]) for vote in report["votes"] if vote["op"] == op["id"]]
    assert votes == [(True, HASH)] * 2


@pytest.mark.parametrize("name", [name for name in STORIES if name not in ("too little", *LOST)])
def test_a_healed_file_comes_back_from_what_was_published_alone(stories, name):
    ended = stories(name)
    report, symbols = ended.report, ended.report["symbols"]
    assert ended.code == 0
    assert (report["published"], report["retrievable"], report["staging_left"]) == (True, True, 0)
    assert symbols["published"] == TOTAL
    assert symbols["fetched"] >= NEEDED
    assert (ended.kept / "healed.bin").read_bytes() == DATA


@pytest.mark.parametrize("name", HEALED)
def test_what_was_published_lies_with_two_other_nodes_and_the_survivors_are_gone(stories, name):
    ended = stories(name)
    copies = Counter(key for keys in ended.held.values() for key in keys)
    assert len(copies) == TOTAL + ID_FILES - ended.report["symbols"]["surviving"] - 2 * 13
    assert set(copies.values()) == {2}
    assert not ended.held[ended.report["ops"][-1]["healer"]]


@pytest.mark.parametrize("name", [*LOST, "too little"])
def test_what_was_not_verified_puts_nothing_new_into_the_network(stories, name):
    ended = stories(name)
    assert set(ended.held.values()) == {frozenset()}
    assert (ended.report["published"], ended.report["retrievable"]) == (False, False)
    assert ended.report["symbols"]["published"] == ended.report["staging_left"] == 0
    assert not (ended.kept / "healed.bin").exists()


def test_the_unrecoverable_file_lacks_one_symbol_and_is_never_claimed(stories):
    report = stories("unrecoverable").report
    assert report["symbols"]["surviving"] == NEEDED - 1
    assert report["symbols"]["fetched"] < NEEDED
    assert [op["result_hash"] for op in report["ops"]] == [""]
    assert report["votes"] == []
    assert claims(stories("unrecoverable")) == 0


def test_without_a_quorum_there_is_a_claim_of_the_right_hash_and_no_vote(stories):
    ended = stories("no-quorum")
    assert ended.report["ops"][0]["result_hash"] == HASH
    assert ended.report["votes"] == []
    assert ended.report["symbols"]["fetched"] >= NEEDED
    assert claims(ended) == 1


def claims(ended):
    """Claims that the chain of a story has accepted."""
    events = json.loads((ended.kept / "chain.json").read_text())["events"]
    return sum(event["type"].endswith("healer_reported") for event in events)


@pytest.mark.parametrize("name", [name for name in STORIES if "corrupt" in name])
def test_every_op_of_the_corrupt_healer_fails_by_two_votes_with_the_hash_of_what_it_served(stories, name):
    report = stories(name).report
    *failed, last = report["ops"]
    assert failed
    assert {op["healer"] for op in failed} == {failed[0]["healer"]}
    assert last["healer"] != failed[0]["healer"]
    for op in failed:
        votes = [vote for vote in report["votes"] if vote["op"] == op["id"]]
        assert op["status"] == "FAILED"
        assert {vote["verifier"] for vote in votes} == set(op["verifiers"])
        assert [(vote["verified"], vote["hash"]) for vote in votes] == [(False, SERVED_HASH)] * 2


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SEEDED)
def test_the_stories_with_a_fault_end_as_expected_whatever_the_seed(stories, name, seed):
    ended = stories(name if seed == 1 else f"{name} {seed}")
    assert ended.code == 0
    assert (ended.report["seed"], ended.report["ended_as_expected"]) == (seed, True)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_healer_that_dies_before_it_writes_down_its_claim_claims_once_and_publishes_once(stories, seed):
    ended = stories("healer-restart" if seed == 1 else f"healer-restart {seed}")
    assert claims(ended) == 1
    assert len(ended.report["ops"]) == 1
    assert ended.output.count(": publishing ") == 1
    assert ended.report["symbols"]["fetched"] == ended.report["symbols"]["surviving"]


def test_the_same_seed_loses_the_same_symbols_and_draws_the_same_healer(stories):
    first, again, other = stories("verified"), stories("again"), stories("another seed")
    assert first.held == again.held
    assert first.held != other.held
    assert first.report["ops"][0]["healer"] == again.report["ops"][0]["healer"]
    assert first.report["ops"][0]["verifiers"] == again.report["ops"][0]["verifiers"]


@pytest.mark.parametrize("name", VARIED)
def test_other_networks_heal_too(stories, name):
    ended = stories(name)
    arguments = VARIED[name]
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert ended.report["ended_as_expected"]
    assert len(ended.held) == int(options.get("--nodes", 5))
    copies = Counter(key for keys in ended.held.values() for key in keys)
    assert set(copies.values()) == {int(options.get("--replicas", 2))}
    assert ended.report["symbols"]["surviving"] == round(TOTAL * float(options.get("--surviving", 0.25)))


def test_too_few_survivors_end_with_1_and_an_expired_op(stories):
    ended = stories("too little")
    assert ended.code == 1
    assert ended.report["ended_as_expected"] is False
    assert [(op["status"], op["result_hash"]) for op in ended.report["ops"]] == [("EXPIRED", "")]
    assert ended.report["symbols"]["surviving"] == ended.report["symbols"]["fetched"] == 2
    assert ended.report["votes"] == []


@pytest.mark.parametrize("name", STORIES)
def test_the_kept_chain_says_the_same_as_the_object(stories, name):
    ended = stories(name)
    chain = json.loads((ended.kept / "chain.json").read_text())
    assert (chain["ops"], chain["votes"]) == (ended.report["ops"], ended.report["votes"])


@pytest.mark.parametrize("name", HEALED)
def test_what_is_kept_has_a_network_of_all_nodes_and_ledgers_without_open_work(stories, name):
    nodes = sorted((stories(name).kept / "nodes").iterdir())
    assert [path.name for path in nodes] == ["0", "1", "2", "3", "4"]
    for node in nodes:
        connection = apsw.Connection(str(node / "ledger.db"))
        for table in ("heal_claims_submitted", "heal_verifications_submitted", "heal_intents", "publishes"):
            assert connection.execute(f"SELECT count(*) FROM {table}").get == 0  # noqa: S608 # names from above
        connection.close()
        assert (node / "network.db").is_file()
        assert [path for path in node.rglob("staging/**/*") if path.name != ".work"] == []


def test_a_directory_to_keep_that_is_not_empty_is_refused_and_untouched(tmp_path):
    (tmp_path / "run" / "kept").mkdir(parents=True)
    (tmp_path / "run" / "kept" / "precious").write_text("!")
    ended = heal(tmp_path / "run", "--keep", tmp_path / "run" / "kept")
    assert ended.code == 4
    assert "not empty" in ended.output
    assert [(path.name, path.read_text()) for path in ended.kept.iterdir()] == [("precious", "!")]


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_bad_input_is_named_in_a_line(runs, name):
    code, words, _, _ = BAD_INPUTS[name]
    ended = runs(name)
    assert ended.code == code
    assert words in ended.output.splitlines()[-1]
    assert "Traceback" not in ended.output
    assert ended.temporaries == []


@pytest.mark.parametrize("name", NAMES)
def test_files_of_any_name_are_healed(runs, name):
    assert runs(name).code == 0
    assert "as it should end" in runs(name).output


@pytest.mark.parametrize("name", [name for name in NAMES if "[" not in name])
def test_the_table_names_the_file(runs, name):
    assert f"{name}, 195.3 KiB: verified" in runs(name).output


def told(output):
    """A story without colours and without frames: its words."""
    return re.sub(r"[\s│┃┏━┳┓┡╇┩├┼┤└┴┘─]+", " ", plain(output))


def plain(output):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)


def test_a_person_sees_phases_a_table_and_a_verdict(runs):
    output = runs("well").output
    first_column = re.sub(r"\s+", " ", " ".join(re.findall(r"^│ (.{33}) │", output, flags=re.MULTILINE)))
    for phase in ("register", "disaster", "schedule", "op 1: verify", "op 2: publish", "delete all survivors"):
        assert phase in first_column
    assert re.search(r"│ 1 .*│ no, no .*│ FAILED", output)
    assert re.search(r"│ 2 .*│ yes, yes .*│ VERIFIED", output)
    assert f"as it should end: the bytes are equal, BLAKE3 {HASH}" in output
    assert "NOT as" not in output
    assert "a block every" in told(output)


def test_a_person_is_told_of_a_bad_end(runs):
    ended = runs("badly")
    assert ended.code == 1
    assert "NOT as it should end: cannot rebuild" in ended.output
    assert "20 symbols (4 needed)" in told(ended.output)
    assert "left: 2 of 20 symbols" in told(ended.output)
    assert "EXPIRED" in ended.output


def test_without_a_terminal_there_are_no_colours_and_the_tables_have_80_columns(runs):
    output = runs("well").output
    tables = [line for line in output.splitlines() if line[:1] in tuple("┏┃┡│└")]
    assert "\x1b" not in output
    assert tables
    assert max(map(len, tables)) <= 80


def test_on_a_terminal_of_80_columns_the_tables_fit_and_have_their_words(tmp_path):
    (tmp_path / "file.bin").write_bytes(DATA)
    leader, follower = os.openpty()
    environ = {**environment(tmp_path), "COLUMNS": "80", "LINES": "24"}
    with subprocess.Popen([*COMMAND, "file.bin"], stdout=follower, stderr=follower, cwd=tmp_path, env=environ) as run:
        os.close(follower)
        output = b"".join(iter(partial(read_or_end, leader), b"")).decode()
    os.close(leader)
    assert run.returncode == 0
    tables = output[output.index("┏") :]
    assert "a sample read back" in told(tables)
    assert "result hash" in told(tables)
    assert "as it should end: the bytes are equal" in told(tables)
    assert max(len(line) for line in plain(tables).splitlines() if line[:1] in tuple("┏┃┡│└")) <= 80


def read_or_end(terminal):
    try:
        return os.read(terminal, 65_536)
    except OSError:  # the other end is closed
        return b""
