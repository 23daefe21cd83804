import threading
from functools import partial
from types import SimpleNamespace

import pytest

from lep6._core import PACKET_SIZE, Job, Pack, Spool, encode, hash_file, id_files, lep5_leaves, survey
from lep6.errors import JobCancelled
from world import noise

SIZE = 200_000
SYMBOLS = 20


@pytest.fixture
def file(coded):
    return coded(noise(SIZE))


@pytest.fixture
def directory(file, tmp_path):
    path = tmp_path / "block_0"
    path.mkdir()
    Pack(file.pack, file.index).unpack(path, Job())
    return path


@pytest.fixture
def large(tmp_path):
    """A file whose encoding takes a while, and where its symbols go."""
    source, pack, index = tmp_path / "large", tmp_path / "large.pack", tmp_path / "large.idx"
    with source.open("wb") as hole:
        hole.truncate(64 << 20)
    yield source, pack, index
    pack.unlink(missing_ok=True)


@pytest.fixture
def at(file, spool_of, directory, tmp_path):
    """Where the jobs below find their file, its symbols in a pack and a directory, and room for what they write."""
    path = tmp_path / "kept.spool"
    path.write_bytes(b"".join(file.packets[:7]))
    return SimpleNamespace(file=file, kept=path, spool=partial(spool_of, file), directory=directory, out=tmp_path)


RUNS = {
    "encode": lambda at, job: encode(at.file.source, at.out / "pack", at.out / "index", 0, job),
    "open": lambda at, job: Spool(at.kept, SIZE, at.file.encoded.symbols, job).close(),
    "fill": lambda at, job: at.spool().fill(at.directory, 11, job),
    "copy": lambda at, job: at.spool(range(4)).decode(at.out / "decoded", job),
    "solve": lambda at, job: at.spool(range(1, 7)).decode(at.out / "decoded", job),
    "decodable": lambda at, job: at.spool(range(1, 7)).decodable(job),
    "reencode": lambda at, job: at.spool(range(1, 7)).reencode(
        at.out / "decoded", at.out / "pack", at.out / "index", bytes(SYMBOLS), job
    ),
    "check": lambda at, job: Pack(at.file.pack, at.file.index).check(job),
    "unpack": lambda at, job: Pack(at.file.pack, at.file.index).unpack(at.directory, job),
    "survey": lambda at, job: survey(at.directory, SIZE, at.file.encoded.symbols, job),
    "hash": lambda at, job: hash_file(at.file.source, job),
    "compress": lambda _, job: id_files(bytes(1_000), 0, 5, job),
    "leaves": lambda at, job: lep5_leaves(at.file.source, 16_384, job),
}
LAST_PHASE = {
    "encode": ("hash", SYMBOLS * PACKET_SIZE),
    "open": ("check", 7 * PACKET_SIZE),
    "fill": ("check", 11 * PACKET_SIZE),
    "copy": ("hash", SIZE),
    "solve": ("hash", SIZE),
    "reencode": ("hash", SIZE),
    "check": ("check", SYMBOLS * PACKET_SIZE),
    "unpack": ("encode", SYMBOLS * PACKET_SIZE),
    "survey": ("check", SYMBOLS * PACKET_SIZE),
    "hash": ("hash", SIZE),
    "compress": ("compress", 5_000),
    "leaves": ("hash", SIZE),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_job_that_was_cancelled_before_it_began_does_not_run(name, at):
    job = Job()
    assert not job.cancelled
    job.cancel()
    with pytest.raises(JobCancelled):
        RUNS[name](at, job)
    assert job.cancelled
    assert not (at.out / "index").exists()


@pytest.mark.parametrize("name", LAST_PHASE)
def test_a_job_that_ended_has_done_all_of_its_last_phase(name, at):
    job = Job()
    assert (job.phase, job.done, job.total) == ("idle", 0, 0)
    RUNS[name](at, job)
    phase, total = LAST_PHASE[name]
    assert (job.phase, job.done, job.total) == (phase, total, total)
    assert not job.cancelled


def test_other_threads_run_and_see_the_progress_while_a_file_is_encoded(large):
    job, ended, seen = Job(), threading.Event(), []

    def watch():
        while not ended.is_set():
            total = job.total
            sample = (job.phase, job.done, total)
            if job.total == total and sample not in seen[-1:]:
                seen.append(sample)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        encode(*large, 0, job)
    finally:
        ended.set()
        watcher.join()
    assert all(done <= total for _, done, total in seen)
    encoding = [done for phase, done, _ in seen if phase == "encode" and done]
    assert len(encoding) > 1
    assert encoding == sorted(encoding)
    assert "hash" in {phase for phase, _, _ in seen}


def test_a_job_is_cancelled_from_another_thread_while_it_runs(large):
    job, ended = Job(), threading.Event()
    with large[0].open("r+b") as hole:
        hole.truncate(256 << 20)

    def cancel_when_begun():
        while not job.done and not ended.is_set():
            pass
        job.cancel()

    canceller = threading.Thread(target=cancel_when_begun)
    canceller.start()
    try:
        with pytest.raises(JobCancelled):
            encode(*large, 0, job)
    finally:
        ended.set()
        canceller.join()
    assert job.phase == "encode"
    assert 0 < job.done < job.total
    assert not large[2].exists()


def test_hashing_stops_soon_after_it_was_cancelled(tmp_path):
    job, raised = Job(), []
    with (tmp_path / "huge").open("wb") as hole:
        hole.truncate(1 << 40)

    def run():
        try:
            hash_file(tmp_path / "huge", job)
        except JobCancelled as error:
            raised.append(error)

    hashing = threading.Thread(target=run)
    hashing.start()
    while not job.done and hashing.is_alive():
        pass
    job.cancel()
    hashing.join()
    assert raised
    assert 0 < job.done < job.total == 1 << 40
