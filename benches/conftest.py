"""What the benches work on, and the table of ratios at their end."""

import os
import random
import shutil
import time
from pathlib import Path

import blake3
import pytest
import trio
from attrs import frozen

from lep6 import _core
from world import noise

SIZE = 64 << 20
ROUNDS = 3
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
