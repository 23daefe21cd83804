import errno
import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import blake3
import pytest
import trio
from attrs import define, evolve
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lep6 import _core
from lep6.blocking import Threads
from lep6.cascade.layout import Layout
from lep6.cascade.reseed import Reseeded, Stage
from lep6.cascade.staging import (
    FILES,
    ID_FILES,
    MANIFEST,
    MAX_MANIFEST,
    RECONSTRUCTED,
    SYMBOLS,
    Manifest,
    begin_staging,
    discard_staged,
    open_staged,
    set_aside_staged,
    sweep,
)
from lep6.cascade.text import compact_json, to_base64
from lep6.cascade.work import WorkArea, clear_work
from lep6.errors import InvalidArtefact, NoSpace, StagingExists
from lep6.model import Ticket
from world import BLOCKING, PROGRESS, a_world, noise, pattern

DATA = noise(140_000)
GEOMETRY = _core.Geometry(len(DATA))
LAYOUT = Layout(len(DATA), bytes(32), b"".join(bytes([esi]) * 32 for esi in range(GEOMETRY.total_symbols)))
ALL_FILES = (MANIFEST, *FILES)
TOO_LONG = "a" * 81
NO_NAMES = ("", ".", "..", "../5", "5/../6", "/5", "5/", ".work", ".tmp-5", "-5", "_5", "5\n", "5\0", "5 ", "\u0665")
MANIFEST_KEYS = (
    *("version", "op_id", "ticket", "size", "manifest_hash", "symbols", "layout_files", "index_files"),
    *("irreproducible", "nonce", "seal"),
)


def begin(root, name="5", **options):
    return begin_staging(root, name, GEOMETRY, **{"beside": 0, "blocking": BLOCKING, **options})


def fill(draft, data=DATA):
    """Write what a staging of `data` holds; the manifest that completes it."""
    draft.path(RECONSTRUCTED).write_bytes(data)
    encoded = _core.encode(draft.path(RECONSTRUCTED), *map(draft.path, SYMBOLS), 1, _core.Job())
    writer = _core.PackWriter(draft.path(ID_FILES[0]))
    writer.append([(b"a layout file", 1), (b"another layout file", 1), (b"an index file", 1)])
    writer.finish(draft.path(ID_FILES[1]))
    return Manifest(
        version=1,
        op_id=draft.name,
        ticket=Ticket("7"),
        size=len(data),
        manifest_hash=to_base64(encoded.file),
        symbols=len(encoded.symbols) // 32,
        layout_files=2,
        index_files=1,
        irreproducible=(),
        nonce="00112233445566ff",
    )


async def fail_after(draft):
    fill(draft)
    raise ZeroDivisionError


async def stage(root, name="5", data=DATA):
    async with begin(root, name) as draft:
        return await draft.complete(fill(draft, data))


async def opened(root, name="5"):
    """The staging, opened and checked to the last byte."""
    staged = await open_staged(root, name, blocking=BLOCKING)
    staged.check(_core.Job())
    return staged


def names(root):
    return {path.name for path in root.iterdir()} if root.exists() else set()


def everything(root):
    """What lies below a directory: the content, inode and time of each file."""
    paths = [path for path in root.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def descriptors():
    """What is open in this process."""
    listed = list(Path("/proc/self/fd").iterdir())
    return sorted(str(path.readlink()) for path in listed if path.is_symlink())


@contextmanager
def a_process(program, *arguments):
    """A Python process; the block runs once it has printed a line, and it ends with the block."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    root = tmp_path_factory.mktemp("template")
    trio.run(stage, root)
    return root


@pytest.fixture
def root(template, tmp_path):
    """A staging root with a complete staging 5."""
    return shutil.copytree(template, tmp_path / "staging")


async def test_a_complete_staging_opens_and_holds_what_was_staged(tmp_path):
    staged = await stage(tmp_path, "ticket-7_b")
    assert staged.name == "ticket-7_b"
    assert staged.reconstructed.read_bytes() == DATA
    assert staged.digest == blake3.blake3(DATA).digest()
    assert [length for _, length, _ in staged.symbols.entries()] == [_core.PACKET_SIZE] * GEOMETRY.total_symbols
    assert staged.id_files.read([0, 2]) == [b"a layout file", b"an index file"]
    assert (await opened(tmp_path, "ticket-7_b")).manifest == staged.manifest
    assert names(tmp_path) == {"ticket-7_b"}
    assert names(tmp_path / "ticket-7_b") == set(ALL_FILES)


async def test_a_manifest_is_one_line_of_compact_json_with_a_seal_over_the_rest(root):
    text = (root / "5" / MANIFEST).read_text()
    sealed, seal = text[:-1].rsplit(',"seal":', 1)
    assert seal == f'"{to_base64(blake3.blake3((sealed + "}").encode()).digest())}"'
    assert sealed + "}" == (
        '{"version":1,"op_id":"5","ticket":"7","size":140000,'
        f'"manifest_hash":"{to_base64(blake3.blake3(DATA).digest())}",'
        '"symbols":14,"layout_files":2,"index_files":1,"irreproducible":[],"nonce":"00112233445566ff"}'
    )


def test_the_manifest_of_the_documented_example_has_the_documented_bytes():
    digest = blake3.blake3(pattern(1000)).digest()
    manifest = Manifest(1, "42", Ticket("1001"), 1000, to_base64(digest), 7, 3, 3, (), nonce="00112233445566ff")
    assert manifest.to_json() == (
        b'{"version":1,"op_id":"42","ticket":"1001","size":1000,'
        b'"manifest_hash":"tDZwpS0a8kq9rF0sPtGf9OYrYKYY6COtVViIsbC5HP8=",'
        b'"symbols":7,"layout_files":3,"index_files":3,"irreproducible":[],'
        b'"nonce":"00112233445566ff","seal":"80IioDL21vUrq55mB1au50yoVDL73H3vFxTwzDdiAmY="}'
    )
    assert Manifest.from_json(manifest.to_json()) == manifest


@pytest.mark.parametrize("name", [*NO_NAMES, TOO_LONG])
async def test_what_is_not_a_plain_name_names_no_staging_and_no_work_area(tmp_path, name):
    root = tmp_path / "staging"
    with pytest.raises(InvalidArtefact, match="cannot name a staging"):
        await open_staged(root, name, blocking=BLOCKING)
    with pytest.raises(InvalidArtefact, match="cannot name a staging"):
        await discard_staged(root, name, blocking=BLOCKING)
    with pytest.raises(InvalidArtefact, match="cannot name a staging"):
        await set_aside_staged(root, name, blocking=BLOCKING)
    with pytest.raises(InvalidArtefact, match="cannot name a staging"):
        async with begin(root, name):
            pytest.fail("it began")
    with pytest.raises(InvalidArtefact, match="cannot name a staging"):
        async with WorkArea.open(root, name, LAYOUT, blocking=BLOCKING, progress=PROGRESS):
            pytest.fail("it opened")
    with pytest.raises(InvalidArtefact, match="cannot name a staging"):
        await clear_work(root, name, blocking=BLOCKING)
    assert not names(tmp_path)


@pytest.mark.parametrize("name", ALL_FILES)
@settings(max_examples=200)
@given(place=st.integers(0, 1 << 24), mask=st.integers(1, 255))
@example(place=0, mask=1)
@example(place=-1, mask=0x80)
async def test_any_changed_byte_is_noticed(template, name, place, mask):
    path = template / "5" / name
    place %= path.stat().st_size
    with path.open("r+b", buffering=0) as file:
        (byte,) = os.pread(file.fileno(), 1, place)
        os.pwrite(file.fileno(), bytes([byte ^ mask]), place)
        try:
            with pytest.raises(InvalidArtefact, match=path.stem):
                await opened(template)
        finally:
            os.pwrite(file.fileno(), bytes([byte]), place)
    await opened(template)


@pytest.mark.parametrize("name", ALL_FILES)
@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda content: content[:-1],
        lambda content: content[1:],
        lambda content: content + b"\0",
        lambda content: content + b" ",
        lambda content: content + content,
    ],
    ids=["emptied", "cut at its end", "cut at its beginning", "longer by zero", "longer by a blank", "doubled"],
)
async def test_a_file_of_another_length_is_noticed(root, name, change):
    path = root / "5" / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InvalidArtefact, match=f"{path.stem}|{len(path.read_bytes())} bytes"):
        await open_staged(root, "5", blocking=BLOCKING)


@pytest.mark.parametrize("name", FILES)
async def test_a_missing_file_is_named(root, name):
    (root / "5" / name).unlink()
    with pytest.raises(InvalidArtefact, match=f"lacks {name}"):
        await open_staged(root, "5", blocking=BLOCKING)


async def test_a_file_that_loses_bytes_while_it_is_open_is_noticed(root):
    staged = await open_staged(root, "5", blocking=BLOCKING)
    for name in (RECONSTRUCTED, SYMBOLS[0], ID_FILES[0]):
        path = root / "5" / name
        content = path.read_bytes()
        os.truncate(path, len(content) - 1)
        with pytest.raises(InvalidArtefact, match=path.stem):
            staged.check(_core.Job())
        path.write_bytes(content)
    staged.check(_core.Job())


def resealed(root, **changes):
    """Write another manifest, with a seal that matches it."""
    path = root / "5" / MANIFEST
    document = {**json.loads(path.read_text()), **changes}
    del document["seal"]
    document = {key: value for key, value in document.items() if value is not ...}
    path.write_bytes(compact_json({**document, "seal": to_base64(_core.blake3(compact_json(document)))}))


@pytest.mark.parametrize("version", [2, 0, -1, "1", None, 1 << 70, ...])
async def test_a_manifest_of_another_version_is_not_read(root, version):
    resealed(root, version=version, something_new=True)
    with pytest.raises(InvalidArtefact, match="the manifest has version"):
        await open_staged(root, "5", blocking=BLOCKING)


@pytest.mark.parametrize("version", [1.0, True])
async def test_a_version_that_only_equals_one_is_not_read(root, version):
    resealed(root, version=version)
    with pytest.raises(InvalidArtefact, match="manifest is damaged"):
        await open_staged(root, "5", blocking=BLOCKING)


async def test_a_manifest_with_a_key_that_nobody_knows_is_refused(root):
    resealed(root, extra=1)
    with pytest.raises(InvalidArtefact, match="extra"):
        await open_staged(root, "5", blocking=BLOCKING)


@pytest.mark.parametrize("key", MANIFEST_KEYS)
async def test_a_manifest_without_one_of_its_keys_is_refused(root, key):
    document = json.loads((root / "5" / MANIFEST).read_text())
    del document[key]
    (root / "5" / MANIFEST).write_bytes(compact_json(document))
    with pytest.raises(InvalidArtefact, match="manifest"):
        await open_staged(root, "5", blocking=BLOCKING)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=3),
    max_leaves=5,
)
NOT_TEXT = JSON_VALUES.filter(lambda value: not isinstance(value, str))
NOT_A_NUMBER = JSON_VALUES.filter(lambda value: type(value) is not int)
NOT_TEXTS = JSON_VALUES.filter(
    lambda value: not isinstance(value, list) or not all(isinstance(text, str) for text in value)
)


@given(
    change=st.one_of(
        *(st.tuples(st.just(key), NOT_A_NUMBER) for key in ("size", "symbols", "layout_files", "index_files")),
        *(st.tuples(st.just(key), NOT_TEXT) for key in ("op_id", "ticket", "manifest_hash", "nonce")),
        st.tuples(st.just("irreproducible"), NOT_TEXTS),
    )
)
@example(change=("irreproducible", ""))
@example(change=("irreproducible", {}))
@example(change=("size", 140000.0))
async def test_a_manifest_with_a_value_of_another_kind_is_refused(template, change):
    path = template / "5" / MANIFEST
    text = path.read_bytes()
    try:
        resealed(template, **dict([change]))
        with pytest.raises(InvalidArtefact, match="manifest"):
            await open_staged(template, "5", blocking=BLOCKING)
    finally:
        path.write_bytes(text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("size", 139_999),
        ("size", -1),
        ("symbols", 13),
        ("layout_files", 1),
        ("index_files", 2),
        ("index_files", 1 << 70),
    ],
)
async def test_a_manifest_whose_numbers_are_not_those_of_its_files_is_refused(root, key, value):
    resealed(root, **{key: value})
    with pytest.raises(InvalidArtefact, match="its manifest says"):
        await open_staged(root, "5", blocking=BLOCKING)


@pytest.mark.parametrize("value", ["", "!", "é", to_base64(bytes(32)), to_base64(bytes(31))])
async def test_a_manifest_with_the_hash_of_another_file_is_refused(root, value):
    resealed(root, manifest_hash=value)
    with pytest.raises(InvalidArtefact):
        await opened(root)


async def test_a_staging_under_the_name_of_another_is_refused(root):
    (root / "5").rename(root / "6")
    with pytest.raises(InvalidArtefact, match="is the staging of 5"):
        await open_staged(root, "6", blocking=BLOCKING)


@pytest.mark.parametrize(
    "spelling",
    [
        lambda document: json.dumps(document).encode(),
        lambda document: compact_json(document) + b"\n",
        lambda document: compact_json(dict(reversed(document.items()))),
        lambda document: compact_json(document).replace(b"{", b'{"version":1,', 1),
        lambda document: compact_json(document).decode().encode("utf-16"),
        lambda document: b"\xef\xbb\xbf" + compact_json(document),
        lambda document: compact_json({**document, "seal": None}),
        lambda document: compact_json({**document, "seal": to_base64(bytes(32))}),
        lambda document: compact_json([document]),
        lambda _: b"[" * 100_000,
        lambda _: b'{"version":' + b"9" * 5000 + b"}",
        lambda _: b"\xff",
        lambda _: b"null",
    ],
)
async def test_a_manifest_in_another_spelling_is_refused(root, spelling):
    path = root / "5" / MANIFEST
    path.write_bytes(spelling(json.loads(path.read_text())))
    with pytest.raises(InvalidArtefact, match="manifest"):
        await open_staged(root, "5", blocking=BLOCKING)


async def test_a_manifest_that_is_too_long_is_not_read(root):
    resealed(root, ticket="7" * MAX_MANIFEST)
    with pytest.raises(InvalidArtefact, match=f"more than {MAX_MANIFEST} bytes"):
        await open_staged(root, "5", blocking=BLOCKING)


async def test_a_refused_staging_is_not_touched(root):
    os.truncate(root / "5" / RECONSTRUCTED, 0)
    before = everything(root)
    with pytest.raises(InvalidArtefact):
        await open_staged(root, "5", blocking=BLOCKING)
    assert everything(root) == before


async def test_a_directory_without_a_manifest_is_no_staging_and_gives_way_to_one(root):
    (root / "5" / MANIFEST).unlink()
    (root / "5" / "leftover").write_bytes(b"of something")
    with pytest.raises(FileNotFoundError):
        await open_staged(root, "5", blocking=BLOCKING)
    await stage(root)
    await opened(root)
    assert names(root) == {"5"}
    assert names(root / "5") == set(ALL_FILES)


@pytest.mark.parametrize("name", ["5", "6"])
async def test_a_staging_that_is_not_there_is_not_found(tmp_path, name):
    with pytest.raises(FileNotFoundError):
        await open_staged(tmp_path / "nowhere", name, blocking=BLOCKING)
    await discard_staged(tmp_path / "nowhere", name, blocking=BLOCKING)


async def test_a_discarded_staging_leaves_nothing_and_its_neighbours_alone(root):
    await stage(root, "6")
    before = everything(root / "6")
    await discard_staged(root, "5", blocking=BLOCKING)
    assert names(root) == {"6"}
    assert everything(root / "6") == before
    await discard_staged(root, "5", blocking=BLOCKING)


async def test_a_staging_set_aside_makes_room_for_another_and_is_kept_as_it_is(root):
    (root / "5" / MANIFEST).write_bytes(b"")
    before = {path.name: content for path, content in everything(root / "5").items()}
    aside = await set_aside_staged(root, "5", blocking=BLOCKING)
    with pytest.raises(FileNotFoundError):
        await open_staged(root, "5", blocking=BLOCKING)
    await stage(root)
    await sweep(root, blocking=BLOCKING)
    await opened(root)
    assert names(root) == {"5", aside.name}
    assert {path.name: content for path, content in everything(aside).items()} == before


async def test_only_the_owner_can_read_what_is_staged(tmp_path):
    async with a_world(tmp_path, DATA) as world:
        before = os.umask(0)
        try:
            await world.reseeder().reseed(world.registered.action, then=Stage("5"))
        finally:
            os.umask(before)
        directory = world.staging / "5"
        assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == dict.fromkeys(
            ALL_FILES, 0o600
        )
        for private in (world.staging, directory, world.staging / ".work", world.staging / ".work" / "5"):
            assert stat.S_IMODE(private.stat().st_mode) == 0o700


async def test_room_for_the_large_files_is_allocated_before_anything_is_written(tmp_path):
    async with begin(tmp_path) as draft:
        for name, size in ((RECONSTRUCTED, len(DATA)), (SYMBOLS[0], GEOMETRY.total_symbols * _core.PACKET_SIZE)):
            reserved = draft.path(name).stat()
            assert reserved.st_size == size
            assert reserved.st_blocks * 512 >= size


async def test_without_room_nothing_is_begun(tmp_path):
    with pytest.raises(NoSpace, match="nothing was begun"):
        async with begin(tmp_path, beside=1 << 70):
            pytest.fail("it began")
    assert not names(tmp_path)


@pytest.mark.parametrize(
    ("code", "error"), [(errno.ENOSPC, NoSpace), (errno.EDQUOT, NoSpace), (errno.EIO, OSError), (errno.EFBIG, OSError)]
)
@pytest.mark.parametrize("file", [0, 1])
async def test_a_reservation_that_fails_leaves_nothing(tmp_path, monkeypatch, code, error, file):
    reserve = os.posix_fallocate
    calls = []

    def failing(descriptor, offset, size):
        calls.append(size)
        if len(calls) == file + 1:
            raise OSError(code, os.strerror(code))
        reserve(descriptor, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", failing)
    before = descriptors()
    with pytest.raises(error):
        async with begin(tmp_path):
            pytest.fail("it began")
    assert not names(tmp_path)
    assert descriptors() == before


async def test_a_block_that_fails_leaves_nothing(tmp_path):
    before = descriptors()
    with pytest.raises(ZeroDivisionError):
        async with begin(tmp_path) as draft:
            await fail_after(draft)
    assert not names(tmp_path)
    assert descriptors() == before


async def test_a_block_that_completes_nothing_leaves_nothing(tmp_path):
    async with begin(tmp_path) as draft:
        fill(draft)
    assert not names(tmp_path)


async def test_a_cancelled_block_leaves_nothing(tmp_path):
    with trio.CancelScope() as scope:
        async with begin(tmp_path) as draft:
            fill(draft)
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert not names(tmp_path)


async def test_completing_goes_through_when_it_is_cancelled(tmp_path):
    with trio.CancelScope() as scope:
        async with begin(tmp_path) as draft:
            manifest = fill(draft)
            scope.cancel()
            await draft.complete(manifest)
    assert scope.cancelled_caught
    await opened(tmp_path)
    assert names(tmp_path) == {"5"}


@define
class CancelAt:
    """Cancels a scope when a piece of work is asked for, or while it runs in a thread."""

    scope: trio.CancelScope
    left: int
    threads: Threads | None

    async def run(self, work, /, *, cancel=None):
        self.left -= 1
        if self.threads is None:
            if self.left == 0:
                self.scope.cancel()
            return await BLOCKING.run(work, cancel=cancel)
        if self.left == 0:
            work = partial(self._cancelled_work, work, trio.lowlevel.current_trio_token())
        return await self.threads.run(work, cancel=cancel)

    def _cancelled_work(self, work, token):
        token.run_sync_soon(self.scope.cancel)
        return work()


@pytest.mark.parametrize("threads", [None, Threads(2)], ids=["before a step", "in a step"])
async def test_a_reseed_cancelled_at_any_step_leaves_nothing_or_the_whole(tmp_path, threads):
    async with a_world(tmp_path, DATA) as world:
        await world.keep_symbols(range(1, 8))
        action = world.registered.action
        for step in range(1, 100):
            with trio.CancelScope() as scope:
                blocking = CancelAt(scope, step, threads)
                outcome = await evolve(world.reseeder(), blocking=blocking).reseed(action, then=Stage("5"))
                assert isinstance(outcome, Reseeded)
                assert scope.cancel_called == (blocking.left <= 0)
            assert names(world.staging) <= {".work", "5"}
            assert not [path for path in descriptors() if ".work" in path or ".tmp-" in path]
            if (world.staging / "5").exists():
                await opened(world.staging)
            if blocking.left > 0:
                break
            shutil.rmtree(world.staging, ignore_errors=True)
        assert step > 15


async def test_a_staging_that_exists_keeps_another_from_beginning(root):
    before = everything(root)
    with pytest.raises(StagingExists, match="it is kept"):
        async with begin(root):
            pytest.fail("it began")
    assert everything(root) == before
    assert names(root) == {"5"}


async def test_a_damaged_staging_is_kept_too(root):
    (root / "5" / MANIFEST).write_bytes(b"")
    before = everything(root)
    with pytest.raises(StagingExists, match="it is kept"):
        async with begin(root):
            pytest.fail("it began")
    assert everything(root) == before


async def test_of_two_drafts_of_one_name_the_first_to_complete_stays(tmp_path):
    async with begin(tmp_path) as first, begin(tmp_path) as second:
        assert first.directory != second.directory
        late = fill(second, noise(len(DATA), seed=1))
        staged = await first.complete(fill(first))
        before = everything(tmp_path / "5")
        with pytest.raises(StagingExists, match="it is kept"):
            await second.complete(late)
        assert everything(tmp_path / "5") == before
    assert names(tmp_path) == {"5"}
    assert (await opened(tmp_path)).manifest == staged.manifest


async def test_a_sweep_removes_what_dead_attempts_left(root):
    for dead in (".tmp-5-01234567", ".gone-5-89abcdef", ".tmp-ticket-7-00"):
        shutil.copytree(root / "5", root / dead)
    (root / ".tmp-6-00").mkdir()
    assert await sweep(root, blocking=BLOCKING) == 4
    assert names(root) == {"5"}
    assert await sweep(root, blocking=BLOCKING) == 0


async def test_a_sweep_of_a_root_that_does_not_exist_removes_nothing(tmp_path):
    assert await sweep(tmp_path / "nowhere", blocking=BLOCKING) == 0


async def test_a_sweep_spares_a_draft_that_is_being_built(tmp_path):
    async with begin(tmp_path) as draft:
        manifest = fill(draft)
        assert await sweep(tmp_path, blocking=BLOCKING) == 0
        await draft.complete(manifest)
    await opened(tmp_path)


async def test_a_sweep_spares_what_is_locked_through_another_descriptor(tmp_path):
    (tmp_path / ".tmp-5-00").mkdir()
    lock = os.open(tmp_path / ".tmp-5-00", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert await sweep(tmp_path, blocking=BLOCKING) == 0
    assert names(tmp_path) == {".tmp-5-00"}
    os.close(lock)
    assert await sweep(tmp_path, blocking=BLOCKING) == 1
    assert not names(tmp_path)


BUILD = """
import sys
from pathlib import Path
import trio
from lep6 import _core
from lep6.blocking import Inline
from lep6.cascade.staging import begin_staging

async def main():
    async with begin_staging(Path(sys.argv[1]), "5", _core.Geometry(1000), beside=0, blocking=Inline()):
        print("ready", flush=True)
        sys.stdin.read()

trio.run(main)
"""


async def test_a_sweep_spares_a_draft_of_another_process_until_that_is_dead(tmp_path):
    with a_process(BUILD, tmp_path) as process:
        (building,) = names(tmp_path)
        assert await sweep(tmp_path, blocking=BLOCKING) == 0
        assert names(tmp_path) == {building}
        process.kill()
        process.wait()
        assert names(tmp_path) == {building}
        assert await sweep(tmp_path, blocking=BLOCKING) == 1
    assert not names(tmp_path)


async def test_a_sweep_touches_nothing_else(root):
    foreign = ["6", ".work/5", ".work/.tmp-5-00", "tmp-5-00", ".tmp", ".gone", "a.tmp-5-00", ".hidden", "lost+found"]
    for directory in foreign:
        (root / directory).mkdir(parents=True)
        (root / directory / "file").write_bytes(directory.encode())
    (root / "notes.txt").write_bytes(b"keep")
    before = everything(root)
    assert await sweep(root, blocking=BLOCKING) == 0
    assert everything(root) == before


async def test_a_sweep_does_not_follow_links_out_of_its_root(root, tmp_path):
    (root / ".tmp-5-00").symlink_to(root / "5")
    (root / ".gone-5-00").mkdir()
    (root / ".gone-5-00" / "link").symlink_to(root / "5")
    before = everything(root / "5")
    await sweep(root, blocking=BLOCKING)
    assert everything(root / "5") == before
    assert ".gone-5-00" not in names(root)


async def test_a_staging_root_can_be_moved(root, tmp_path):
    root.rename(tmp_path / "elsewhere")
    staged = await opened(tmp_path / "elsewhere")
    assert staged.reconstructed.read_bytes() == DATA


HOLD = """
import sys
from lep6 import _core
spool = _core.Spool(sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3]), _core.Job())
print("ready", flush=True)
sys.stdin.read()
"""


async def test_a_work_area_where_another_process_works_is_refused_and_left_as_it_is(tmp_path):
    async with a_world(tmp_path, DATA) as world:
        layout = world.registered.layout
        open_area = partial(WorkArea.open, world.staging, "5", layout, blocking=BLOCKING, progress=PROGRESS)
        async with open_area() as work:
            await world.retriever().symbols(work)
        before = everything(world.staging)
        spool = world.staging / ".work" / "5" / "symbols.spool"
        with a_process(HOLD, spool, layout.size, layout.packed_symbols.hex()):
            with pytest.raises(InvalidArtefact, match=f"{spool} is in use by another process"):
                async with open_area():
                    pytest.fail("it opened")
            with pytest.raises(InvalidArtefact, match="in use by another process"):
                await world.reseeder().reseed(world.registered.action, then=Stage("5"))
            assert everything(world.staging) == before
            assert names(world.staging) == {".work"}
        async with open_area() as work:
            assert work.spool.opened == (GEOMETRY.source_symbols, 0, 0)


async def test_a_work_area_is_free_again_when_its_block_ends(tmp_path):
    open_area = partial(WorkArea.open, tmp_path, "5", LAYOUT, blocking=BLOCKING, progress=PROGRESS)
    async with open_area():
        with pytest.raises(InvalidArtefact, match="in use"):
            async with open_area():
                pytest.fail("it opened")
    with pytest.raises(ZeroDivisionError):
        async with open_area():
            raise ZeroDivisionError
    async with open_area():
        pass


async def test_what_is_no_directory_of_ours_is_neither_swept_nor_counted(tmp_path):
    os.mkfifo(tmp_path / ".tmp-pipe")
    (tmp_path / ".tmp-note").write_bytes(b"somebody's")
    (tmp_path / ".gone-link").symlink_to(tmp_path / ".tmp-note")
    assert await sweep(tmp_path, blocking=BLOCKING) == 0
    assert names(tmp_path) == {".tmp-pipe", ".tmp-note", ".gone-link"}


async def test_a_directory_where_the_manifest_belongs_is_damage(tmp_path):
    await stage(tmp_path)
    (tmp_path / "5" / MANIFEST).unlink()
    (tmp_path / "5" / MANIFEST).mkdir()
    with pytest.raises(InvalidArtefact, match="is no staging"):
        await opened(tmp_path)


async def test_debris_that_appears_meanwhile_does_not_stop_a_staging(tmp_path):
    async with begin(tmp_path) as draft:
        (tmp_path / "5").mkdir()
        (tmp_path / "5" / "debris").touch()
        await draft.complete(fill(draft))
    assert (await opened(tmp_path)).manifest.op_id == "5"


async def test_a_staging_that_another_process_completes_while_one_begins_is_kept(tmp_path, monkeypatch):
    async with begin(tmp_path) as other:
        manifest, rename = fill(other), Path.rename

        def rename_late(path, target):
            if path == tmp_path / "5":
                monkeypatch.setattr(Path, "rename", rename)
                other._seal(manifest)
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", rename_late)
        with pytest.raises(StagingExists):
            async with begin(tmp_path):
                pytest.fail("it began")
    assert (await opened(tmp_path)).manifest == manifest
