"""What the benches work on, and the table of ratios at their end."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import blake3
import pytest
import trio
from attrs import frozen

from lep6 import _core
from lep6.cascade.staging import ID_FILES, MANIFEST, RECONSTRUCTED, SYMBOLS, VERSION, Manifest
from lep6.cascade.text import to_base64
from lep6.model import Ticket
from world import noise

SIZE = 64 << 20
STREAM_CHUNKS = 256
"""Of a MiB each: what goes between two processes."""
ROUNDS = 3
PEERS = Path(__file__).parent / "peers"
TICKS = os.sysconf("SC_CLK_TCK")
RESULTS = pytest.StashKey[list]()


@frozen
class Material:
    """A file of noise, all its symbols, and a spool of some of them."""

    data: bytes
    source: Path
    keys: bytes
    digest: bytes
    spool: _core.Spool
    spool_file: Path
    packets: list[bytes]
    """Those in the spool: two more than needed, at random."""

    @property
    def geometry(self):
        return _core.Geometry(SIZE)


@pytest.fixture(scope="session")
def material(tmp_path_factory):
    directory = tmp_path_factory.mktemp("material")
    source, pack, index = (directory / name for name in ("source", "pack", "index"))
    data = noise(SIZE)
    source.write_bytes(data)
    encoded = _core.encode(source, pack, index, 1, _core.Job())
    geometry = _core.Geometry(SIZE)
    chosen = random.Random(1).sample(range(geometry.total_symbols), geometry.source_symbols + 2)
    packets = _core.Pack(pack, index).read(chosen)
    spool = _core.Spool(directory / "spool", SIZE, encoded.symbols, _core.Job())
    spool.append([(blake3.blake3(packet).digest(), packet) for packet in packets])
    return Material(data, source, encoded.symbols, encoded.file, spool, directory / "spool", packets)


@pytest.fixture
def measure(benchmark, tmp_path):
    """Times a job in a few rounds, each in a new directory; gives the result of the last round."""

    def measure(job, by, work, prepare=lambda _: ()):
        benchmark.group = job
        benchmark.extra_info["by"] = by
        processor = []
        directory = tmp_path / "round"

        def setup():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            # What earlier work left to be written is not this job's.
            os.sync()
            return (directory, *prepare(directory)), {}

        def timed(*arguments):
            begun = time.process_time()
            result = work(*arguments)
            processor.append(time.process_time() - begun)
            return result

        result = benchmark.pedantic(timed, setup=setup, rounds=ROUNDS)
        benchmark.extra_info["processor"] = min(processor)
        return result

    yield measure
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def measure_async(measure):
    def measure_async(job, work):
        return measure(job, "lep6", lambda directory: trio.run(work, directory))

    return measure_async


class Pair:
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


@pytest.fixture(scope="session")
def a_pair():
    """Makes pairs of a kind, which is the name of a program among the peers."""

    @contextmanager
    def a_pair(kind, *options):
        with ExitStack() as stack:
            server, port = stack.enter_context(a_peer(kind, "serve", *options))
            client, _ = stack.enter_context(a_peer(kind, "call", port, *options))
            yield Pair(server, client)

    return a_pair


@pytest.fixture
def measure_pair(benchmark):
    """Times what a pair does with some words; gives the result of the last round."""

    def measure_pair(job, by, pair, *words):
        benchmark.group = job
        processor = []

        def timed():
            begun = pair.processor()
            result = pair.do(*words)
            processor.append(pair.processor() - begun)
            return result

        result = benchmark.pedantic(timed, rounds=ROUNDS, warmup_rounds=1)
        benchmark.extra_info.update(by=by, processor=min(processor))
        return result

    return measure_pair


@pytest.fixture(scope="session")
def staging(tmp_path_factory):
    """The root of a staging whose file has the size of what goes between processes."""
    root = tmp_path_factory.mktemp("staging")
    directory = root / "1"
    directory.mkdir()
    file = directory / RECONSTRUCTED
    with file.open("wb") as output:
        for number in range(STREAM_CHUNKS):
            output.write(number.to_bytes(8, "big") * (1 << 17))
    for values, index in (SYMBOLS, ID_FILES):
        _core.PackWriter(directory / values).finish(directory / index)
    digest = to_base64(_core.hash_file(file, _core.Job()))
    manifest = Manifest(VERSION, "1", Ticket("1"), STREAM_CHUNKS << 20, digest, 0, 0, 0, (), "0" * 16)
    (directory / MANIFEST).write_bytes(manifest.to_json())
    return root


@pytest.hookimpl(wrapper=True)
def pytest_benchmark_group_stats(config, benchmarks):
    config.stash[RESULTS] = list(benchmarks)
    return (yield)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    results = config.stash.get(RESULTS, [])
    if not results:
        return
    jobs = {}
    for result in results:
        jobs.setdefault(result["group"], {})[result["extra_info"]["by"]] = result
    terminalreporter.section(f"{SIZE >> 20} MiB, {os.cpu_count()} cores, best of {ROUNDS} rounds")
    write = terminalreporter.write_line
    write(f"{'':<46}{'seconds':>9}{'cpu s':>9}   lep6 is")
    for job, rivals in jobs.items():
        ours = rivals.pop("lep6", None)
        if ours is None:
            continue
        write(f"{job:<46}{ours['min']:>9.3f}{ours['extra_info']['processor']:>9.3f}")
        for name, theirs in rivals.items():
            seconds, processor = theirs["min"], theirs["extra_info"]["processor"]
            faster, share = seconds / ours["min"], ours["extra_info"]["processor"] / processor
            ratios = f"{faster:.2f} times as fast, with {share:.2f} of the cpu time"
            write(f"    {name:<42}{seconds:>9.3f}{processor:>9.3f}   {ratios}")
        for part, seconds in ours["extra_info"].get("parts", {}).items():
            write(f"    {part:<42}{seconds:>9.3f}")
