"""The unit file: what systemd reads in it agrees with what lep6 does."""

import shlex
from collections import defaultdict
from pathlib import Path

import pytest

from lep6.cli import main
from lep6.config.sections import Own
from lep6.daemon.exits import Exit

UNIT = Path(__file__).parents[2] / "docs" / "lep6.service"
KNOWN = {"Unit", "Service", "Install"}


def parsed():
    """Sections, keys, and all values of each, as systemd reads them: comments are lines of their own."""
    sections, section = defaultdict(lambda: defaultdict(list)), ""
    for line in UNIT.read_text().splitlines():
        if not line.strip() or line.startswith(("#", ";")):
            continue
        if line.startswith("["):
            assert line.endswith("]")
            section = line[1:-1]
            continue
        name, equals, value = line.partition("=")
        assert equals, line
        assert section, line
        assert name == name.strip(), line
        assert value == value.strip(), line
        sections[section][name].append(value)
    return sections


@pytest.fixture(scope="module")
def service():
    return {name: values[0] for name, values in parsed()["Service"].items()}


def test_it_has_the_three_sections_and_no_key_twice():
    sections = parsed()
    assert set(sections) == KNOWN
    assert [name for keys in sections.values() for name, values in keys.items() if len(values) > 1] == []
    assert sections["Install"]["WantedBy"] == ["multi-user.target"]


def test_it_starts_a_command_that_there_is(service):
    program, command, option, path = shlex.split(service["ExecStart"])
    assert Path(program).name == "lep6"
    assert (command, option) == ("run", "--config")
    assert Path(path).is_absolute()
    assert main.get_command(None, command) is not None


def test_readiness_the_watchdog_and_the_end_are_the_service_s(service):
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "main")
    assert service["TimeoutStartSec"] == "infinity"
    assert int(service["WatchdogSec"]) >= 60
    assert int(service["TimeoutStopSec"]) > Own().stop_seconds


def test_it_is_not_started_again_after_what_another_start_does_not_mend(service):
    prevented = {int(code) for code in service["RestartPreventExitStatus"].split()}
    usage = 2
    assert prevented == {usage, Exit.CANNOT_RUN, Exit.ALREADY_RUNNING, Exit.NOT_WANTED}
    assert not prevented & {Exit.BUG, Exit.NOT_NOW}
    assert service["Restart"] == "on-failure"
    assert int(service["SuccessExitStatus"]) == Exit.BROKEN_OFF


def test_it_may_write_to_its_two_directories_and_to_nothing_else(service):
    assert service["ProtectSystem"] == "strict"
    assert {Path(path).name for path in service["ReadWritePaths"].split()} == {"lep6-data", "heal-staging"}
    assert service["User"] not in ("", "root")
    assert "DynamicUser" not in service
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == ""
    assert service["UMask"] == "0077"
    wanted = (
        "NoNewPrivileges",
        "PrivateTmp",
        "PrivateDevices",
        "RestrictSUIDSGID",
        "RestrictNamespaces",
        "ProtectHome",
    )
    assert {service[name] for name in wanted} == {"yes"}
    assert set(service["RestrictAddressFamilies"].split()) == {"AF_UNIX", "AF_INET", "AF_INET6"}


def test_its_limits_are_those_that_the_doctor_asks_for(service):
    from lep6.doctor.descriptors import ENOUGH  # noqa: PLC0415

    assert int(service["LimitNOFILE"]) >= ENOUGH
    assert service["LimitCORE"] == "0"
    assert "MemoryMax" in UNIT.read_text()
