"""The Go program, built once."""

import os

import pytest

from interop.go_program import Program, build, find_go


@pytest.fixture(scope="session")
def interop(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The program; where there is no Go, its tests are skipped, but in CI."""
    go = find_go()
    if go is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs Go; none is on the PATH nor in /usr/local/go")
    return build(go, tmp_path_factory.mktemp("interop"))
