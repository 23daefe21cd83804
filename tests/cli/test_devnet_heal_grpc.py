"""`lep6 devnet heal --chain grpc` as a stranger sees it: the same stories with the same ends, over the wire."""

import json
import os
import subprocess
import sys
from base64 import b64encode
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from lep6 import _core
from world import noise

COMMAND = [sys.executable, "-c", "from lep6.cli import main; main(prog_name='lep6')", "devnet", "heal"]
PATIENCE = 90
AT_ONCE = 6
DATA = noise(60_000)
HASH = b64encode(_core.blake3(DATA)).decode()
ENDS = {
    "verified": ["VERIFIED"],
    "corrupt-healer": ["FAILED", "VERIFIED"],
    "unrecoverable": ["EXPIRED"],
    "no-quorum": ["EXPIRED"],
    "healer-restart": ["VERIFIED"],
}
STORIES = {f"{name} {chain}": (name, chain) for name in ENDS for chain in ("grpc", "inline")}


def heal(place, scenario, chain):
    place.mkdir()
    (place / "file.bin").write_bytes(DATA)
    return subprocess.run(
        [*COMMAND, "file.bin", "--scenario", scenario, "--chain", chain, "--json", "--keep", "kept"],
        cwd=place,
        env={**os.environ, "TMPDIR": str(place)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """All runs, some at a time: most of a story is waiting for the chain."""
    root = tmp_path_factory.mktemp("grpc")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = {name: pool.submit(heal, root / name, *story) for name, story in STORIES.items()}
        yield lambda scenario, chain="grpc": futures[f"{scenario} {chain}"].result()
        pool.shutdown(cancel_futures=True)


def report(run):
    (line,) = run.stdout.splitlines()
    return json.loads(line)


@pytest.mark.parametrize("scenario", ENDS)
def test_each_scenario_ends_over_the_wire_as_it_should(ended, scenario):
    run = ended(scenario)
    assert run.returncode == 0, run.stderr
    told = report(run)
    assert told["ended_as_expected"] is True
    first, *_, last = ENDS[scenario][0], ENDS[scenario][-1]
    assert (told["ops"][0]["status"], told["ops"][-1]["status"]) == (first, last)
    assert told["retrievable"] is told["published"] is (last == "VERIFIED")
    assert told["staging_left"] == 0
    if last == "VERIFIED":
        assert told["ops"][-1]["result_hash"] == HASH


@pytest.mark.parametrize("scenario", ENDS)
def test_the_object_has_the_form_that_it_has_inline(ended, scenario):
    wire, inline = report(ended(scenario)), report(ended(scenario, "inline"))
    assert form(wire) == form(inline)
    for field in ("scenario", "seed", "ended_as_expected", "file", "published", "retrievable", "staging_left"):
        assert wire[field] == inline[field]
    assert wire["symbols"]["surviving"] == inline["symbols"]["surviving"]
    assert same_op(wire["ops"][0]) == same_op(inline["ops"][0])


def form(told):
    """Its fields and their types, and those of its ops, votes and parts; how many there are is chance."""
    if isinstance(told, dict):
        return {name: form(value) for name, value in told.items() if name != "timings_s"}
    if isinstance(told, list):
        return [form(value) for value in told[:1]]
    return type(told)


def same_op(op):
    return {name: op[name] for name in ("id", "ticket", "healer", "verifiers", "status")}


@pytest.mark.parametrize("scenario", ENDS)
def test_no_claim_and_no_vote_is_accepted_twice(ended, scenario):
    run = ended(scenario)
    told, ops = report(run), {op["id"]: op for op in report(run)["ops"]}
    assert max(Counter((vote["op"], vote["verifier"]) for vote in told["votes"]).values(), default=1) == 1
    assert all(vote["verifier"] in ops[vote["op"]]["verifiers"] for vote in told["votes"])


@pytest.mark.parametrize("scenario", ENDS)
def test_nothing_goes_wrong_on_the_way(ended, scenario):
    errors = ended(scenario).stderr
    assert "Traceback" not in errors
    assert "level='error'" not in errors
