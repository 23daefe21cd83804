"""`lep6 devnet heal --processes` as a stranger sees it: the same stories with the same ends, each node a process."""

import json
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor

import pytest

from lep6 import _core
from lep6.config import load
from lep6.devnet.network import node_account
from world import noise

COMMAND = [sys.executable, "-c", "from lep6.cli import main; main(prog_name='lep6')", "devnet", "heal"]
NODES = 4
PATIENCE = 120
AT_ONCE = 2
DATA = noise(60_000)
HASH = b64encode(_core.blake3(DATA)).decode()
ENDS = {
    "unrecoverable": ["EXPIRED"],
    "no-quorum": ["EXPIRED"],
    "corrupt-healer": ["FAILED", "VERIFIED"],
    "healer-restart": ["VERIFIED"],
    "verified": ["VERIFIED"],
}
FIELDS = [
    *("scenario", "seed", "ended_as_expected", "file", "ops", "votes"),
    *("symbols", "published", "retrievable", "staging_left", "timings_s"),
]


def begin(place, *arguments):
    place.mkdir()
    (place / "file.bin").write_bytes(DATA)
    return subprocess.Popen(
        [*COMMAND, "file.bin", "--processes", "--nodes", str(NODES), "--json", "--keep", "kept", *arguments],
        cwd=place,
        # A daemon's own settings, which are not meant for the nodes of a box.
        env={**os.environ, "TMPDIR": str(place), "LEP6_CONFIG": "nowhere", "LEP6_LEP6__ENABLED": "false"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def has_processes(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def heal(place, scenario):
    process = begin(place, "--scenario", scenario)
    output, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, output, errors, place / "kept", has_processes(process.pid)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """All stories, two at a time: the longest first, which mostly wait."""
    root = tmp_path_factory.mktemp("processes")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = {name: pool.submit(heal, root / name, name) for name in ENDS}
        yield lambda name: futures[name].result()
        pool.shutdown(cancel_futures=True)


def logs(kept):
    """The lines of each node, by account; a node that was away has none."""
    return {
        node_account(number): [json.loads(line) for line in log.read_text().splitlines()]
        for number in range(NODES)
        if (log := kept / "nodes" / str(number) / "log.jsonl").exists()
    }


@pytest.mark.parametrize("scenario", ENDS)
def test_each_scenario_ends_with_0_and_tells_the_same_fields(ended, scenario):
    code, output, errors, _, _ = ended(scenario)
    assert code == 0, errors
    (line,) = output.splitlines()
    report = json.loads(line)
    assert list(report) == FIELDS
    assert report["ended_as_expected"] is True
    statuses = [op["status"] for op in report["ops"]]
    assert (set(statuses), statuses[-1]) == (set(ENDS[scenario]), ENDS[scenario][-1])
    assert report["retrievable"] is (statuses[-1] == "VERIFIED")
    assert report["staging_left"] == 0
    if report["retrievable"]:
        assert report["ops"][-1]["result_hash"] == HASH


@pytest.mark.parametrize("scenario", ENDS)
def test_no_process_and_no_temporary_file_is_left(ended, scenario):
    _, _, errors, kept, has_left = ended(scenario)
    assert not has_left
    assert "Traceback" not in errors
    assert sorted(path.name for path in kept.parent.iterdir()) == ["file.bin", "kept"]


@pytest.mark.parametrize("scenario", ENDS)
def test_each_node_begins_by_itself_and_stops_in_order(ended, scenario):
    _, output, _, kept, _ = ended(scenario)
    first = json.loads(output)["ops"][0]
    away = first["verifiers"] if scenario == "no-quorum" else []
    counts = {
        account: tuple(sum(line["event"] == event for line in lines) for event in ("started", "stopped"))
        for account, lines in logs(kept).items()
    }
    expected = {node_account(number): (1, 1) for number in range(NODES) if node_account(number) not in away}
    if scenario == "healer-restart":
        expected[first["healer"]] = (2, 1)
    assert counts == expected


def test_each_node_has_a_configuration_and_a_keyring_of_its_own(ended):
    _, _, _, kept, _ = ended("verified")
    configs = [load(kept / "nodes" / str(number) / "config.yml", {}) for number in range(NODES)]
    assert [config.supernode.identity for config in configs] == [node_account(number) for number in range(NODES)]
    assert len({config.listen_port for config in configs}) == NODES
    for config in configs:
        assert config.data_dir.is_relative_to(config.base)
        assert config.keyring_source().private_key("node").public.address == config.supernode.identity


def test_sigterm_ends_it_and_all_its_processes(tmp_path):
    with begin(tmp_path / "box") as process:
        deadline = time.monotonic() + PATIENCE
        while not list((tmp_path / "box").glob("kept/nodes/*/data/ledger.db")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "lep6: interrupted"
    assert not has_processes(process.pid)
