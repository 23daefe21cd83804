"""What the benches work on, and the table of ratios at their end."""

import os
import random
import shutil
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
        directory = tmp_path / "round"

        def setup():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            # What earlier work left to be written is not this job's.
            os.sync()
            return (directory, *prepare(directory)), {}

        return benchmark.pedantic(work, setup=setup, rounds=ROUNDS)

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
    terminalreporter.section(f"{SIZE >> 20} MiB, best of {ROUNDS} rounds, seconds")
    terminalreporter.write_line(f"{'job':<46}{'lep6':>8}{'others':>10}   {'lep6 is'}")
    for job, rivals in jobs.items():
        ours = rivals.pop("lep6", None)
        if ours is None:
            continue
        terminalreporter.write_line(f"{job:<46}{ours['min']:>8.3f}")
        for name, theirs in rivals.items():
            ratio = theirs["min"] / ours["min"]
            terminalreporter.write_line(f"    {name:<42}{'':>8}{theirs['min']:>10.3f}   {ratio:.2f} times as fast")
        for part, seconds in ours["extra_info"].get("parts", {}).items():
            terminalreporter.write_line(f"    {part:<42}{seconds:>8.3f}")
