"""Work that is cut before any of its changes to the disk leaves its result absent or whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from attrs import frozen

from lep6.cascade.directory import Directories
from lep6.cascade.reseed import Stage
from lep6.cascade.staging import FILES, ID_FILES, MANIFEST, SYMBOLS
from world import BLOCKING, PROGRESS, a_world, noise

HERE = Path(__file__).parent
DATA = noise(300_000)
PREFIXES_OF_WRITES = ("open", "write", "pwrite", "ftruncate", "fallocate", "posix_fallocate")
PREFIXES_OF_SYNCS = ("fsync", "fdatasync")
PREFIXES_OF_ENTRIES = ("open", "mkdir", "unlink", "rmdir", "rename")


@frozen
class Call:
    """One change to the disk."""

    name: str
    path: Path
    target: Path | None


@frozen
class History:
    """The changes that a piece of work made, in their order; a moment is a place in it."""

    calls: list[Call]

    def of_file(self, path: Path) -> range:
        """From the first change of a file to its last."""
        moments = self._moments(PREFIXES_OF_WRITES, path)
        return range(moments[0], moments[-1] + 1)

    def of_entries(self, directory: Path) -> range:
        """From the first change of what is in a directory to the last."""
        entries = {call.path for call in self.calls if call.path.parent == directory}
        moments = sorted(moment for path in entries for moment in self._moments(PREFIXES_OF_ENTRIES, path))
        return range(moments[0], moments[-1] + 1)

    def synced(self, path: Path, *, after: range | int) -> int:
        """The moment of the first sync of a file or directory after another moment, or after all of a range."""
        last = after if isinstance(after, int) else after[-1]
        return next(moment for moment in self._moments(PREFIXES_OF_SYNCS, path) if moment > last)

    def renamed(self, target: Path) -> int:
        """The moment of the one rename to `target`."""
        (moment,) = (moment for moment, call in enumerate(self.calls) if call.target == target)
        return moment

    def _moments(self, prefixes: tuple[str, ...], path: Path) -> list[int]:
        return [n for n, call in enumerate(self.calls) if call.path == path and call.name.startswith(prefixes)]


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    library = tmp_path_factory.mktemp("shim") / "cut.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", library, HERE / "cut.c", "-ldl"]
    subprocess.run(command, check=True)
    return library


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """What the scenarios need: a registered file, a staging of it, and its encode directory."""
    directory = tmp_path_factory.mktemp("place")

    async def prepare():
        async with a_world(directory, DATA) as world:
            action = world.registered.action
            facts = {"ticket": action.ticket, "creator": action.creator, "metadata": action.metadata.hex()}
            (directory / "action.json").write_text(json.dumps(facts))
            await world.keep_symbols(range(1, 28))
            await world.reseeder().reseed(action, then=Stage("5"))
            await Directories(BLOCKING, PROGRESS).encode(directory / "original.bin", directory / "encoded")

    trio.run(prepare)
    return directory


@pytest.fixture
def run(shim, place, tmp_path):
    """Runs the driver: its report, and its scratch directory."""

    def run(scenario, *options):
        environment = {**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, HERE / "driver.py", scenario, place, tmp_path / "scratch", *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), tmp_path / "scratch"

    return run


@pytest.fixture
def cut_everywhere(run):
    def cut_everywhere(scenario):
        report, _ = run(scenario, "--cut")
        assert report["problems"] == []
        assert report["cuts"] >= min(report["calls"], 60)

    return cut_everywhere


@pytest.fixture
def history(run):
    """The calls of a scenario that is not cut, and the root directory it worked in."""

    def history(scenario):
        report, scratch = run(scenario)
        lines = [line.split("\t") for line in (scratch / "log").read_text().splitlines()]
        assert 0 < len(lines) <= report["calls"]
        calls = [Call(name, Path(path), Path(*target) if target else None) for name, path, *target in lines]
        return History(calls), scratch / "whole"

    return history


def test_a_reseed_cut_at_any_call_leaves_the_staging_absent_or_whole(cut_everywhere):
    cut_everywhere("reseed")


def test_a_reseed_over_a_directory_without_a_manifest_is_absent_or_whole_when_cut(cut_everywhere):
    cut_everywhere("reseed over debris")


def test_a_staging_is_synced_file_by_file_before_it_appears_and_its_root_after(history):
    history, root = history("reseed")
    appears = history.renamed(root / "5")
    building = history.calls[appears].path
    files = {path.name for path in (root / "5").iterdir()}
    assert files == {*FILES, MANIFEST}
    durable = {name: history.synced(building / name, after=history.of_file(building / name)) for name in files}

    begun = {name: history.of_file(building / name)[0] for name in files}
    for values, index in (SYMBOLS, ID_FILES):
        assert durable[values] < begun[index]
    assert max(durable[name] for name in FILES) < begun[MANIFEST]
    entries = history.of_entries(building)
    assert durable[MANIFEST] < history.synced(building, after=entries) < appears
    assert history.synced(root, after=appears)


def test_a_discard_cut_at_any_call_leaves_the_staging_absent_or_whole(cut_everywhere):
    cut_everywhere("discard")


def test_a_discarded_staging_is_gone_durably_before_any_of_its_files_is(history):
    history, root = history("discard")
    (leaves,) = (moment for moment, call in enumerate(history.calls) if call.path == root / "5" and call.target)
    gone = history.calls[leaves].target
    assert history.synced(root, after=leaves) < history.of_entries(gone)[0]


def test_a_sweep_cut_at_any_call_leaves_complete_stagings_whole(cut_everywhere):
    cut_everywhere("sweep")


def test_a_decode_cut_at_any_call_leaves_no_output_or_the_file(cut_everywhere):
    cut_everywhere("decode")


def test_a_decode_cut_at_any_call_leaves_the_old_output_or_the_new(cut_everywhere):
    cut_everywhere("decode over a file")


def test_a_decoded_file_is_synced_before_it_appears_and_its_directory_after(history):
    history, root = history("decode over a file")
    appears = history.renamed(root / "output")
    decoded = history.calls[appears].path
    assert history.synced(decoded, after=history.of_file(decoded)) < appears
    assert history.synced(root, after=appears)
