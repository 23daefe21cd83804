"""`lep6 doctor`: what is wrong with a node, and what to do about it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import SystemRandom
from typing import Final

import click
import structlog
import trio

from lep6.blocking import WallClock
from lep6.cli import EXIT_NO
from lep6.cli.options import config_option, json_option
from lep6.cli.terminal import Console, errors_as_lines, escaped, print_json
from lep6.doctor import Finding, Level, Patient, Unwaited, examine

JSON_VERSION = 1
"""Version of the JSON that this command prints; fields may be added to it freely."""

STYLES: Final = {Level.OK: "green", Level.NOTE: "cyan", Level.WARN: "yellow", Level.BAD: "bold red"}


@click.command(name="doctor")
@config_option
@json_option
def group(path: Path, *, as_json: bool) -> None:
    """Examine a node, whether its daemon runs or not. Nothing is changed.

    What is printed holds no secret and can be pasted into a report. Run it as the user that runs the service.

    Exit codes: 0 nothing is bad; 1 something is.
    """
    with errors_as_lines(), _without_events():
        found = trio.run(_examined, path)
    if as_json:
        _print_json(found)
    else:
        _print(found)
    if any(each.level is Level.BAD for each in found):
        sys.exit(EXIT_NO)


@contextmanager
def _without_events() -> Iterator[None]:
    """Keep events quiet: what the parts tell while they are tried is in the findings."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    try:
        yield
    finally:
        structlog.configure(**before)


async def _examined(path: Path) -> tuple[Finding, ...]:
    return await examine(
        Patient(path=path, environ=os.environ, blocking=Unwaited(), clock=WallClock(), random=SystemRandom())
    )


def _print_json(found: tuple[Finding, ...]) -> None:
    findings = [
        {"name": each.name, "level": each.level.value, "what": each.what, "remedy": each.remedy} for each in found
    ]
    print_json({"version": JSON_VERSION, "findings": findings})


def _print(found: tuple[Finding, ...]) -> None:
    console = Console(soft_wrap=True, emoji=False)
    for each in found:
        level = f"[{STYLES[each.level]}]{each.level.value:<4}[/]"
        console.print(f"{level}  {each.name:<13}  {escaped(each.what)}", highlight=False)
        if each.remedy:
            console.print(f"{'':<6}{'':<13}  [dim]remedy:[/] {escaped(each.remedy)}", highlight=False)
    count = sum(each.level is Level.BAD for each in found)
    warned = sum(each.level is Level.WARN for each in found)
    console.print(f"{count} bad, {warned} to be looked at, of {len(found)} findings", highlight=False)
