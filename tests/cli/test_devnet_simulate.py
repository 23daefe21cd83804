"""`lep6 devnet simulate` as a stranger sees it: its sums, its traces, its ends."""

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from lep6.cli import devnet_simulate
from lep6.devnet.simulation.run import Outcome

COMMAND = [sys.executable, "-c", "from lep6.cli import main; main(prog_name='lep6')", "devnet", "simulate"]
PATIENCE = 120
SOON = 20
"""Seconds. It takes a second, on a machine that has nothing else to do."""
FIELDS = ["seeds", "failed", "faults_injected", "crashes", "ops", "verified", "attempts_used_up"]


def environment(hash_seed="0"):
    return {**os.environ, "PYTHONHASHSEED": hash_seed}


def simulate(*arguments, hash_seed="0"):
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(hash_seed),
        check=False,
    )


def test_many_seeds_end_with_one_line_of_integers_and_the_same_digests_as_one_alone():
    many = simulate("--seeds", "4", "--json", "--digests", hash_seed="1")
    assert (many.returncode, many.stderr) == (0, "")
    *digests, last = many.stdout.splitlines()
    sums = json.loads(last)
    assert list(sums) == FIELDS
    assert {type(value) for value in sums.values()} == {int}
    assert (sums["seeds"], sums["failed"]) == (4, 0)
    assert min(sums["faults_injected"], sums["crashes"], sums["ops"], sums["verified"]) > 0
    assert [digest.split()[0] for digest in digests] == ["0", "1", "2", "3"]
    assert all(re.fullmatch(r"\d [0-9a-f]{64}", digest) for digest in digests)

    one = simulate("--seed", "3", "--digests", hash_seed="2")
    assert (one.returncode, one.stderr) == (0, "")
    *trace, digest, told = one.stdout.splitlines()
    assert digest == digests[3]
    assert all(re.match(r" *\d+\.\d{3} (chain|node \d) ", line) for line in trace)
    assert any("status" in line or "heal_op" in line or "healer" in line for line in trace)
    assert told.startswith("1 seeds, 0 failed: ")


def outcome(seed, *violations):
    return Outcome(
        seed=seed,
        violations=violations,
        digest=f"{seed:064x}",
        faults=100 + seed,
        crashes=2,
        ops=3,
        verified=1,
        used_up=1,
        trace=(f"    6.000 node 1 is cut off in {seed}", "   12.000 chain has a [block]"),
    )


@pytest.fixture
def told(monkeypatch):
    """Runs the command with these outcomes, as if they came from its workers."""

    def run(*came, arguments=()):
        asked = []

        @asynccontextmanager
        async def outcomes(first, count):
            asked.append((first, count))
            send, receive = trio.open_memory_channel(len(came))
            async with send, receive:
                for one in came:
                    send.send_nowait(one)
                await send.aclose()
                yield receive

        monkeypatch.setattr(devnet_simulate, "outcomes", outcomes)
        ended = CliRunner().invoke(devnet_simulate.simulate, list(arguments))
        return ended, asked

    return run


def test_a_seed_that_fails_is_named_with_how_to_replay_it_and_what_it_broke(told):
    came = [outcome(9), outcome(8, "at 6 s, node 1: late [x]", "more"), outcome(7, "at 9 s, node 2: [/]", "and this")]
    ended, asked = told(*came, arguments=["--seeds", "3", "--from", "7"])
    assert asked == [(7, 3)]
    assert ended.exit_code == 1
    assert ended.stderr.splitlines() == [
        "seed 8: at 6 s, node 1: late [x]",
        "seed 7: at 9 s, node 2: [/]",
        "seed 7 fails; replay it with: lep6 devnet simulate --seed 7",
        "  at 9 s, node 2: [/]",
        "  and this",
    ]
    assert ended.stdout == (
        "3 seeds, 2 failed: 324 faults, 6 crashes, 9 heal ops, 3 verified;"
        " 3 verifiers had used up their attempts before the calm\n"
    )


def test_the_sum_for_programs_says_how_many_failed(told):
    ended, _ = told(outcome(1), outcome(0, "bad"), arguments=["--seeds", "2", "--json"])
    assert ended.exit_code == 1
    assert json.loads(ended.stdout) == dict(zip(FIELDS, (2, 1, 201, 4, 6, 2, 2), strict=True))
    assert len(ended.stdout.splitlines()) == 1


def test_the_replay_of_a_seed_prints_its_trace(told):
    ended, asked = told(outcome(5, "bad"), arguments=["--seed", "5"])
    assert asked == [(5, 1)]
    assert ended.exit_code == 1
    assert ended.stdout.splitlines()[:2] == list(outcome(5).trace)


def test_digests_come_in_the_order_of_the_seeds(told):
    ended, _ = told(outcome(2), outcome(0), outcome(1), arguments=["--seeds", "3", "--digests", "--json"])
    assert ended.stdout.splitlines()[:3] == [f"{seed} {seed:064x}" for seed in range(3)]
    assert ended.exit_code == 0


@pytest.mark.parametrize("arguments", [("--seeds", "0"), ("--seed", "-1"), ("--from", "-1"), ("--seed", "x")])
def test_what_is_no_seed_is_wrong_usage(told, arguments):
    ended, asked = told(arguments=arguments)
    assert (ended.exit_code, asked) == (2, [])


# Interrupts, and workers that die


def has_begun(directory):
    """Whether the nodes of a run are there."""
    return any(directory.glob("lep6-simulation-*/lep6-simulation-*/nodes"))


@contextmanager
def begun(directory, *arguments):
    """The command, of which a run has begun; nothing of it goes on afterwards."""
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment(), "TMPDIR": str(directory)},
        start_new_session=True,
    ) as process:
        try:
            latest = time.monotonic() + SOON
            while not has_begun(directory):
                assert time.monotonic() < latest, "no run has begun"
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.02)
                    pytest.fail("it ended too early")
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def children(pid):
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return sorted({int(child) for children in lists for child in children.read_text().split()})


def is_there(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("signal_to", [os.kill, os.killpg], ids=["by its parent", "by the terminal"])
def test_an_interrupt_ends_it_with_130_and_leaves_no_worker_and_no_directory(signal_to, tmp_path):
    with begun(tmp_path, "--seeds", "2000") as process:
        workers = children(process.pid)
        assert workers
        signal_to(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=SOON)
    assert [worker for worker in workers if is_there(worker)] == []
    assert process.returncode == 130, errors[-500:]
    assert (output, errors) == ("", "lep6: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_is_killed_is_told_at_once_as_a_failure_and_the_others_go_on(tmp_path):
    with begun(tmp_path, "--seeds", "2000") as process:
        killed, *others = children(process.pid)
        os.kill(killed, signal.SIGKILL)
        with selectors.DefaultSelector() as selector:
            selector.register(process.stderr, selectors.EVENT_READ)
            assert selector.select(SOON)
        line = process.stderr.readline()
        assert re.fullmatch(r"seed \d+: the run broke off: its process ended with -9\n", line)
        assert [worker for worker in others if is_there(worker)] == others
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=SOON)
    assert (process.returncode, output) == (130, "") or not others
    assert "Traceback" not in errors


def test_a_run_whose_worker_was_killed_has_failed(tmp_path):
    with begun(tmp_path, "--seeds", "3", "--json") as process:
        os.kill(children(process.pid)[0], signal.SIGKILL)
        output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert json.loads(output)["failed"] == 1
    assert len(output.splitlines()) == 1
    told, replay, reason = errors.splitlines()
    assert re.fullmatch(r"seed \d: the run broke off: its process ended with -9", told)
    assert re.fullmatch(r"seed (\d) fails; replay it with: lep6 devnet simulate --seed \1", replay)
    assert reason == "  the run broke off: its process ended with -9"
