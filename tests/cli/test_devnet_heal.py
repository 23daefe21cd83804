"""`lep6 devnet heal` as a stranger sees it: the command in a process of its own, its words, its files, its end."""

import json
import os
import re
import signal
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
from click.testing import CliRunner

from lep6 import _core
from lep6.cli import main
from lep6.cli.devnet import _print_report
from lep6.devnet.network import node_account
from lep6.devnet.scenario import Plan, Report
from world import noise

SIZE = 200_000
DATA = noise(SIZE)
TOTAL, NEEDED, ID_FILES = 20, 4, 100
COMMAND = [sys.executable, "-c", "from lep6.cli import main; main(prog_name='lep6')", "devnet", "heal"]
PATIENCE = 90
AT_ONCE = 6
SEEDS = (1, 2, 3)
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
    "three nodes, one of them corrupt": ("--nodes", "3", "--scenario", "corrupt-healer"),
    "seven nodes, one copy, exactly as many symbols as are needed": (
        *("--nodes", "7", "--replicas", "1"),
        *("--surviving", str(NEEDED / TOTAL)),
    ),
    "as many copies as other nodes, three quarters": ("--replicas", "4", "--surviving", "0.75"),
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
NAMES = ["-dash, a blank.bin", "Übermaß [bold][x] :smile:.bin", "back\\[slash].bin"]
NOT_UTF_8 = os.fsdecode(b"bad\xff.bin")
WRONG_USES = {
    "no file": ("does not exist", "absent"),
    "a directory": ("is a directory", "."),
    "too few nodes": ("not in the range", "file.bin", "--nodes", "2"),
    "more copies than other nodes": ("cannot hold 5 copies", "file.bin", "--replicas", "5"),
    "more survivors than leave room for a heal": ("not in the range", "file.bin", "--surviving", "0.76"),
    "less than none": ("not in the range", "file.bin", "--surviving", "-0.01"),
    "a share that is no number": ("not a number", "file.bin", "--surviving", "nan"),
    "a scenario that does not exist": ("is not one of", "file.bin", "--scenario", "happy"),
    "a seed that is no number": ("not a valid integer", "file.bin", "--seed", "x"),
}
"""Words of the last line, and the arguments."""
BAD_INPUTS = {
    "an empty file": ("at least 1 byte", "empty", "kept"),
    "a file to keep everything in": ("Not a directory", "file.bin", "file.bin"),
    "a directory to keep everything in that is not empty": ("not empty; nothing was done", "file.bin", "tmp/.."),
}
"""Words of the last line, the file, where everything is to be kept."""
PACE = "the chain: a block every 0.1 s, epochs of 7 blocks, 6 epochs for a heal op: 4.2 s"
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


def heal(directory, *arguments, file="file.bin", **variables):
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
        env={**environment(temporaries), **variables},
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
        (root / "files").mkdir()
        for name in [*NAMES, NOT_UTF_8]:
            (root / "files" / name).write_bytes(DATA)
            futures[name] = pool.submit(heal, root / str(len(futures)), file=root / "files" / name)
        place = root / str(len(futures))
        futures["ascii"] = pool.submit(heal, place, file=root / "files" / NAMES[1], PYTHONIOENCODING="ascii")
        for name, (_, file, keep) in BAD_INPUTS.items():
            futures[name] = pool.submit(heal, root / str(len(futures)), "--keep", keep, file=file)
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


def test_standard_output_is_the_object_and_nothing_else_and_the_pace_comes_first(tmp_path):
    (tmp_path / "file.bin").write_bytes(DATA)
    with subprocess.Popen(
        [*COMMAND, "file.bin", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(tmp_path),
        text=True,
    ) as process:
        output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    (line,) = output.splitlines()
    assert json.loads(line)["retrievable"]
    assert errors.splitlines()[0] == PACE
    assert "Traceback" not in errors


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
    assert ended.output.startswith(PACE + "\n")
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


def test_the_seed_draws_the_corrupt_healer_too(stories):
    healers = {
        stories("corrupt-healer" if seed == 1 else f"corrupt-healer {seed}").report["ops"][0]["healer"]
        for seed in SEEDS
    }
    assert len(healers) > 1


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


@pytest.mark.parametrize("name", ENDS)
def test_what_is_kept_has_a_network_of_all_nodes_and_ledgers_without_open_work(stories, name):
    nodes = sorted((stories(name).kept / "nodes").iterdir())
    assert [path.name for path in nodes] == ["0", "1", "2", "3", "4"]
    for node in nodes:
        assert (node / "staging").is_dir()
        connection = apsw.Connection(str(node / "ledger.db"))
        for table in ("heal_claims_submitted", "heal_verifications_submitted", "heal_intents", "publishes"):
            assert connection.execute(f"SELECT count(*) FROM {table}").get == 0  # noqa: S608 # names from above
        connection.close()
        assert (node / "network.db").is_file()
        assert [path for path in node.rglob("staging/**/*") if path.name != ".work"] == []


@pytest.mark.parametrize("name", WRONG_USES)
def test_wrong_usage_ends_with_2_and_is_named_in_a_line(name, tmp_path, monkeypatch):
    words, *arguments = WRONG_USES[name]
    (tmp_path / "file.bin").write_bytes(DATA)
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(main, ["devnet", "heal", *arguments])
    assert ended.exit_code == 2
    assert words in ended.stderr.splitlines()[-1]
    assert ended.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_bad_input_ends_with_4_and_is_named_in_a_line_and_nothing_is_kept(runs, name):
    words, _, _ = BAD_INPUTS[name]
    ended = runs(name)
    assert ended.code == 4
    assert words in ended.output.splitlines()[-1]
    assert "Traceback" not in ended.output
    assert ended.temporaries == []
    assert sorted(path.name for path in ended.kept.parent.iterdir()) == ["empty", "file.bin", "tmp"]
    assert (ended.kept.parent / "file.bin").read_bytes() == DATA


@pytest.mark.parametrize("name", NAMES)
def test_files_of_any_name_are_healed_and_named(runs, name):
    ended = runs(name)
    assert ended.code == 0
    assert "as it should end" in ended.output
    assert f"{name}, 195.3 KiB: verified" in ended.output


def test_a_name_that_is_not_utf_8_is_healed_and_shown_as_well_as_can_be(runs):
    ended = runs(NOT_UTF_8)
    assert ended.code == 0
    assert "bad?.bin, 195.3 KiB: verified" in ended.output


def test_an_encoding_without_umlauts_and_frames_is_no_trouble(runs):
    ended = runs("ascii")
    assert ended.code == 0
    assert ended.output.isascii()
    assert "[bold][x] :smile:.bin, 195.3 KiB: verified" in ended.output
    assert "Traceback" not in ended.output


def told(output):
    """A story without colours and without frames: its words."""
    return re.sub(r"[\s│┃┏━┳┓┡╇┩├┼┤└┴┘─]+", " ", plain(output))


def plain(output):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)


def first_column(output):
    return re.sub(r"\s+", " ", " ".join(re.findall(r"^│ (.{33}) │", output, flags=re.MULTILINE)))


def rows(output):
    """The rows of the table of ops: a cell may go over several lines."""
    table = output[output.rindex("┏") : output.rindex("┘")]
    found = []
    for line in table.splitlines():
        if line.startswith("│"):
            cells = [cell.strip() for cell in line.strip("│").split("│")]
            if cells[0]:
                found.append(cells)
            else:
                found[-1] = [f"{above} {cell}".strip() for above, cell in zip(found[-1], cells, strict=True)]
    return found


def test_a_person_sees_phases_a_table_and_a_verdict(runs):
    output = runs("well").output
    shown = rows(output)
    last = len(shown)
    phases = ["register", "disaster", "schedule", "op 1: verify", f"op {last}: publish", "delete all survivors"]
    assert [phase for phase in phases if phase not in first_column(output)] == []
    assert [(row[0], row[3], row[4]) for row in shown] == [
        *((str(number), "no, no", "FAILED") for number in range(1, last)),
        (str(last), "yes, yes", "VERIFIED"),
    ]
    assert last >= 2
    assert output.splitlines()[-1] == f"as it should end: the bytes are equal, BLAKE3 {HASH}"
    assert output.splitlines()[0] == PACE


def test_accounts_are_known_by_their_last_six_letters(runs):
    output = runs("well").output
    healer, verifiers = rows(output)[0][1:3]
    assert re.fullmatch(r"[0-9a-z]{6}", healer)
    assert f"healer ..{healer}, verifiers {', '.join(f'..{name}' for name in verifiers.split(', '))}" in told(output)


def test_a_person_is_told_of_a_bad_end_and_why_and_all_that_is_wrong(runs):
    ended = runs("badly")
    assert ended.code == 1
    assert "20 symbols (4 needed)" in told(ended.output)
    assert "left: 2 of 20 symbols" in told(ended.output)
    assert [(row[0], row[3], row[4], row[5]) for row in rows(ended.output)] == [("1", "-, -", "EXPIRED", "")]
    verdict, *complaints = ended.output[ended.output.rindex("┘") + 2 :].splitlines()
    assert verdict.startswith("NOT as it should end: the last heal op ended EXPIRED: ")
    assert "2 symbols of 4" in verdict
    assert "  the ops ended EXPIRED, not with one VERIFIED" in complaints
    assert "  the file cannot be read back" in complaints
    assert all(line.startswith("  ") for line in complaints)


@pytest.mark.parametrize(
    ("votes", "shown"),
    [
        ([("second", False), ("first", True)], "yes, no"),
        ([("second", True)], "-, yes"),
        ([("first", False)], "no, -"),
        ([], "-, -"),
    ],
)
def test_a_vote_stands_at_its_verifier(votes, shown, capsys, tmp_path):
    report = Report(plan=Plan())
    report.ops = [
        {"id": 1, "ticket": "1", "healer": "h", "verifiers": ["first", "second"], "status": "FAILED", "result_hash": ""}
    ]
    report.votes = [{"op": 1, "verifier": who, "verified": verified, "hash": "x"} for who, verified in votes]
    _print_report(tmp_path / "f", report)
    assert rows(capsys.readouterr().out)[0][3] == shown


INTERRUPTED = {
    # The last line before a wait, how often it comes, the scenario, the size.
    "while the file is stored": (b"compressing id files", 2, "verified", 8_000_000),
    "while it waits for the window to end": (b"availability commitment", 1, "no-quorum", 200_000),
}


@pytest.mark.parametrize("name", INTERRUPTED)
def test_an_interrupt_ends_it_with_130_and_a_line_and_leaves_nothing(tmp_path, name):
    line_wanted, times, scenario, length = INTERRUPTED[name]
    (tmp_path / "tmp").mkdir()
    (tmp_path / "file.bin").write_bytes(noise(length))
    with subprocess.Popen(
        [*COMMAND, "file.bin", "--scenario", scenario],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(tmp_path / "tmp"),
        start_new_session=True,
    ) as process:
        seen = 0
        while seen < times:
            line = process.stderr.readline()
            assert line, "it ended too early"
            seen += line_wanted in line
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, errors.decode()[-300:]
    assert (output, errors.splitlines()[-1]) == (b"", b"lep6: interrupted")
    assert b"Traceback" not in errors
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not has_processes(process.pid)


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
    assert not re.search(r"\d:\d*…", plain(output))  # no time is cut
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
