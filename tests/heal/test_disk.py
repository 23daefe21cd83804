"""What lies on the disk of a node's heal ops: what is whole, what is damaged, what goes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lep6 import _core
from lep6.cascade.staging import FILES, ID_FILES, MANIFEST, RECONSTRUCTED, SYMBOLS, Manifest, begin_staging
from lep6.cascade.text import to_base64
from lep6.heal.disk import Disk, op_ids
from lep6.model import Ticket
from world import BLOCKING, PROGRESS

ZERO = bytes(1)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "staging"


@pytest.fixture
def disk(root):
    return Disk(root, BLOCKING, PROGRESS)


async def stage(root, name):
    """A complete staging of a file of one byte."""
    async with begin_staging(root, name, _core.Geometry(1), beside=0, blocking=BLOCKING) as draft:
        for (pack, index), values in ((SYMBOLS, [(b"a symbol", 1)]), (ID_FILES, [(b"a layout", 1), (b"an index", 1)])):
            writer = _core.PackWriter(draft.path(pack))
            writer.append(values)
            writer.finish(draft.path(index))
        manifest = Manifest(
            version=1,
            op_id=name,
            ticket=Ticket("7"),
            size=1,
            manifest_hash=to_base64(_core.blake3(ZERO)),
            symbols=1,
            layout_files=1,
            index_files=1,
            irreproducible=(),
            nonce="00112233445566ff",
        )
        return await draft.complete(manifest)


def work_on(root, name):
    area = root / ".work" / name
    area.mkdir(parents=True)
    (area / "symbols.spool").write_bytes(b"symbols")
    return area


def everything(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def spoil(path):
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))


async def test_an_empty_disk_has_no_names(disk, root):
    for _ in range(2):
        names = await disk.names()
        assert names.staged == names.rests == frozenset()
        assert await disk.staged(5) is None
        await disk.sweep()
        root.mkdir(exist_ok=True)


async def test_names_are_of_stagings_work_areas_and_what_was_set_aside(disk, root):
    for name in ("5", "66", "ticket-7"):
        await stage(root, name)
    (root / "77").mkdir()
    work_on(root, "5")
    work_on(root, "88")
    await disk.set_aside(66)
    (root / ".tmp-99-00112233").mkdir()
    (root / ".gone-99-00112233").mkdir()
    names = await disk.names()
    assert names.staged == {"5", "77", "ticket-7"}
    assert names.rests == {"5", "66", "88"}


async def test_a_complete_staging_is_opened(disk, root):
    await stage(root, "5")
    staged = await disk.staged(5)
    assert staged.manifest.manifest_hash == to_base64(_core.blake3(ZERO))
    assert await disk.is_sound(staged)
    assert await disk.staged(50) is None


@pytest.mark.parametrize("name", FILES)
async def test_a_staging_without_one_of_its_files_is_none_and_stays(name, disk, root):
    await stage(root, "5")
    (root / "5" / name).unlink()
    before = everything(root)
    assert await disk.staged(5) is None
    assert everything(root) == before


async def test_a_directory_without_a_manifest_and_a_staging_of_another_op_are_none(disk, root):
    await stage(root, "5")
    (root / "5").rename(root / "6")
    assert await disk.staged(6) is None
    (root / "6" / MANIFEST).unlink()
    assert await disk.staged(6) is None
    (root / "7").write_text("a file")
    assert await disk.staged(7) is None


async def test_a_disk_that_cannot_be_read_now_is_no_damage(disk, root, monkeypatch):
    await stage(root, "5")
    loop = root / "5" / MANIFEST
    loop.unlink()
    loop.symlink_to(MANIFEST)
    with pytest.raises(OSError, match="symbolic links"):
        await disk.staged(5)


@pytest.mark.parametrize("name", [RECONSTRUCTED, SYMBOLS[0], ID_FILES[0]])
async def test_a_staging_with_a_changed_byte_is_not_sound_and_stays(name, disk, root):
    staged = await stage(root, "5")
    spoil(root / "5" / name)
    before = everything(root)
    assert not await disk.is_sound(staged)
    assert everything(root) == before


async def test_a_staging_is_set_aside_with_all_it_has(disk, root):
    await stage(root, "5")
    files = sorted(path.name for path in (root / "5").iterdir())
    await disk.set_aside(5)
    (aside,) = root.iterdir()
    assert aside.name.startswith(".damaged-5-")
    assert sorted(path.name for path in aside.iterdir()) == files
    assert await disk.staged(5) is None


async def test_each_that_is_set_aside_is_kept(disk, root):
    for _ in range(3):
        await stage(root, "5")
        await disk.set_aside(5)
    assert len(list(root.iterdir())) == 3


async def test_what_has_no_manifest_is_not_set_aside(disk, root):
    await disk.set_aside(5)
    (root / "5").mkdir(parents=True)
    (root / "5" / SYMBOLS[0]).write_bytes(b"half")
    await disk.set_aside(5)
    assert everything(root) == ["5/symbols.pack"]


async def test_clear_removes_staging_what_was_set_aside_and_work_area_of_the_op_alone(disk, root):
    for name in ("5", "55"):
        for _ in range(2):
            await stage(root, name)
            await disk.set_aside(int(name))
        await stage(root, name)
        work_on(root, name)
    await stage(root, "ticket-5")
    others = [path for path in everything(root) if re.search(r"(^|/|-)(55|ticket-5)(/|-|$)", path)]
    await disk.clear(5)
    assert everything(root) == others
    assert (await disk.names()).rests == {"55"}
    assert await disk.staged(55) is not None


async def test_clear_removes_damaged_and_half_stagings_where_they_lie(disk, root):
    await stage(root, "5")
    (root / "5" / SYMBOLS[0]).unlink()
    (root / "6").mkdir()
    for op_id in (5, 6):
        await disk.clear(op_id)
    assert everything(root) == []
    assert (await disk.names()).staged == frozenset()


async def test_clear_of_what_is_not_there_is_nothing(disk, root):
    await disk.clear(5)
    await stage(root, "55")
    before = everything(root)
    for _ in range(2):
        await disk.clear(5)
    assert everything(root) == before


async def test_a_sweep_removes_what_dead_attempts_left_and_nothing_else(disk, root):
    await stage(root, "5")
    await disk.set_aside(5)
    await stage(root, "5")
    work_on(root, "5")
    before = everything(root)
    for name in (".tmp-5-00112233", ".gone-5-00112233"):
        (root / name).mkdir()
        (root / name / "symbols.pack").write_bytes(b"half")
    await disk.sweep()
    assert everything(root) == before


@given(st.sets(st.integers(1, (1 << 63) - 1)))
def test_ids_are_read_from_names_as_we_write_them(ids):
    assert op_ids({str(op_id) for op_id in ids}) == ids


@pytest.mark.parametrize(
    "name",
    [
        *("", "0", "05", "-5", "+5", "5.0", "5 ", " 5", "5\n", "1_000", "0x5", "5a", "ticket-5", ".tmp-5-00", ".work"),
        *("\u0665", "\u00b2", "\uff15", "1" * 21, "9" * 80),
    ],
)
def test_other_names_are_no_ids(name):
    assert op_ids({name, "12"}) == {12}


@given(st.text())
def test_a_name_is_an_id_only_if_the_id_is_written_so(name):
    assert [str(op_id) for op_id in op_ids({name})] in ([], [name])
