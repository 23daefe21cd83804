"""`lep6 devnet simulate` as a stranger sees it: its sums, its traces, its ends."""

import json
import os
import re
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
import trio
from click.testing import CliRunner

from lep6.cli import devnet_simulate
from lep6.devnet.simulation.run import Outcome

COMMAND = [sys.executable, "-c", "from lep6.cli import main; main(prog_name='lep6')", "devnet", "simulate"]
PATIENCE = 120
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
