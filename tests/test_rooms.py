"""The house: a room imports only rooms below it, and no event loop but Trio's comes in."""

import ast
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest

import lep6

PACKAGE = Path(lep6.__file__).parent

FLOORS = [
    {"cli"},
    {"devnet"},
    {"doctor"},
    {"daemon"},
    {"config"},
    {"artefact_stream", "chain"},
    {"secure_rpc"},
    {"grpc"},
    {"heal"},
    {"cascade"},
    {"database", "blocking"},
    {"ports"},
    {"transaction"},
    {"model"},
    {"keys"},
    {"wire"},
    {"beside", "once", "protobuf"},
    {"observe"},
    {"errors"},
    {"_core"},
]
"""From the top of the house to the ground."""

ROOMS = sorted(set().union(*FLOORS) - {"_core"})


def imported(path: Path) -> set[str]:
    """The modules that a file imports, whole names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files_of(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py")) or [PACKAGE / f"{room}.py"]


def test_every_room_has_a_floor():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms - {"__init__"} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_below_it(room):
    above = set().union(*takewhile(lambda floor: room not in floor, FLOORS))
    for path in files_of(room):
        used = {name.split(".")[1] for name in imported(path) if name.startswith("lep6.")}
        assert not used & above, path


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_imports_asyncio(path):
    assert not {name for name in imported(path) if name.split(".")[0] in ("asyncio", "threading")} - (
        {"threading"} if path.relative_to(PACKAGE).as_posix() in ("blocking.py", "daemon/thread.py") else set()
    )


def test_the_command_loads_without_the_rooms_it_does_not_need():
    code = "import sys, lep6.cli; print([m for m in sys.modules if m.startswith(('lep6.devnet', 'apsw', 'rich'))])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
