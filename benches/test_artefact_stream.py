"""Streams and calls over loopback, both ends as processes: lep6 against grpclib and grpcio at the same work."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from lep6 import _core
from lep6.cascade.staging import ID_FILES, MANIFEST, RECONSTRUCTED, SYMBOLS, VERSION, Manifest
from lep6.cascade.text import to_base64
from lep6.model import Ticket

PEERS = Path(__file__).parent / "peers"
MIB = 1 << 20
SIZE = 256 * MIB
CALLS = 1600
AT_ONCE = 16
ROUNDS = 3
TICKS = os.sysconf("SC_CLK_TCK")

KINDS = {
    "lep6": ("lep6", 16 << 10),
    "lep6, frames of 128 KiB": ("lep6", 128 << 10),
    "lep6, frames of a chunk": ("lep6", MIB + 64),
    "grpclib": ("grpclib",),
    "grpcio": ("grpcio",),
}
"""Ours first with the frames that everybody takes, then with larger ones, which two of ours may agree upon."""
OTHERS = ("grpclib", "grpcio")
STREAM = f"stream of {SIZE // MIB} MiB in chunks of 1 MiB"
ONE_BY_ONE = f"{CALLS} calls, one at a time"
MANY = f"{CALLS} calls, {AT_ONCE} at a time"
FETCH = f"artefact stream of {SIZE // MIB} MiB from disk"


class Peers:
    """A server and a client, each in a process of its own."""

    def __init__(self, server, client):
        self._processes = (server, client)

    def do(self, *words):
        """Let the client do something and wait for its answer."""
        client = self._processes[1]
        client.stdin.write(" ".join(map(str, words)) + "\n")
        client.stdin.flush()
        return json.loads(client.stdout.readline())

    def processor(self):
        """Processor seconds that both have used until now."""
        stats = [Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2] for process in self._processes]
        return sum(int(number) for stat in stats for number in stat.split()[11:13]) / TICKS


@contextmanager
def a_peer(kind, *arguments):
    command = [sys.executable, str(PEERS / f"{kind}_peer.py"), *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def peers(kind, *options):
    with ExitStack() as stack:
        server, port = stack.enter_context(a_peer(kind, "serve", *options))
        client, _ = stack.enter_context(a_peer(kind, "call", port, *options))
        yield Peers(server, client)


@pytest.fixture(scope="module")
def measured(request):
    """The best seconds by job and kind; printed as ratios when all is done."""
    measured = {}
    yield measured
    if measured and request.config.getoption("benchmark_enable"):
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            sys.stdout.write(f"\n{table(measured)}\n")


def table(measured):
    """A line for each job and kind of ours, with what it is to the others."""
    lines = [f"{'':<60}{'lep6':>14}{'to grpclib':>12}{'to grpcio':>12}"]
    for job in dict.fromkeys(job for job, _ in measured):
        seconds = {kind: best for (its_job, kind), best in measured.items() if its_job == job}
        amount, unit = (CALLS, "calls/s") if "calls" in job else (SIZE // MIB, "MiB/s")
        for kind in (kind for kind in seconds if kind.startswith("lep6")):
            ratios = [
                f"{seconds[other] / seconds[kind]:>12.2f}" if other in seconds else f"{'':>12}" for other in OTHERS
            ]
            rate = f"{amount / seconds[kind]:.0f} {unit}"
            lines.append(f"{job + kind.removeprefix('lep6'):<60}{rate:>14}{''.join(ratios)}")
        rates = {other: f"{amount / seconds[other]:.0f} {unit}" for other in OTHERS if other in seconds}
        lines += [f"    {other:<56}{rate:>14}" for other, rate in rates.items()]
    return "\n".join(lines)


@pytest.fixture
def measure(benchmark, measured):
    def measure(job, kind, pair, *words):
        benchmark.group = job
        processor = []

        def timed():
            begun = pair.processor()
            result = pair.do(*words)
            processor.append(pair.processor() - begun)
            return result

        result = benchmark.pedantic(timed, rounds=ROUNDS, warmup_rounds=1)
        benchmark.extra_info.update(by=kind, processor=min(processor))
        if benchmark.enabled:
            measured[job, kind] = benchmark.stats.stats.min
        return result

    return measure


@pytest.fixture(scope="module")
def pair(request):
    with peers(*KINDS[request.param]) as pair:
        yield request.param, pair


ALL = pytest.mark.parametrize("pair", KINDS, indirect=True)
ONE_OF_OURS = pytest.mark.parametrize("pair", ["lep6", *OTHERS], indirect=True)


@ALL
def test_a_stream(measure, pair):
    assert measure(STREAM, *pair, "stream") == SIZE


@ONE_OF_OURS
def test_calls_one_at_a_time(measure, pair):
    assert measure(ONE_BY_ONE, *pair, "calls", CALLS, 1) == CALLS


@ONE_OF_OURS
def test_calls_at_once(measure, pair):
    assert measure(MANY, *pair, "calls", CALLS, AT_ONCE) == CALLS


@pytest.fixture(scope="module")
def staging(tmp_path_factory):
    """The root of a staging whose file has the size of the streams."""
    root = tmp_path_factory.mktemp("staging")
    directory = root / "1"
    directory.mkdir()
    file = directory / RECONSTRUCTED
    with file.open("wb") as output:
        for number in range(SIZE // MIB):
            output.write(number.to_bytes(8, "big") * (MIB // 8))
    for values, index in (SYMBOLS, ID_FILES):
        _core.PackWriter(directory / values).finish(directory / index)
    digest = to_base64(_core.hash_file(file, _core.Job()))
    manifest = Manifest(VERSION, "1", Ticket("1"), SIZE, digest, 0, 0, 0, (), "0" * 16)
    (directory / MANIFEST).write_bytes(manifest.to_json())
    return root


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in OTHERS])
def test_a_file_from_disk(measure, staging, kind):
    with peers(*KINDS[kind], staging) as pair:
        assert measure(FETCH, kind, pair, "fetch") == SIZE
