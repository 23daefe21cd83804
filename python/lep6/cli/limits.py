"""`lep6 limits`: how much the running daemon does at a time."""

from pathlib import Path
from typing import Final

import click

from lep6.cli.daemon_call import JSON_VERSION, ask
from lep6.cli.options import config_option, json_option
from lep6.cli.tables import print_facts
from lep6.cli.terminal import print_json

MOST_DIGITS: Final = 19
"""Of a limit; more is no number that any can have."""
DEFAULT: Final = "default"
"""In place of a number: as the configuration says."""


@click.group(name="limits")
def group() -> None:
    """How much the running daemon does at a time."""


@group.command()
@config_option
@json_option
def show(path: Path, *, as_json: bool) -> None:
    """Show the limits that hold."""
    _print(ask(path, "limits.show")["limits"], as_json=as_json)


@group.command(name="set")
@click.argument("limits", metavar="NAME=VALUE...", nargs=-1, required=True)
@config_option
@json_option
def set_(limits: tuple[str, ...], path: Path, *, as_json: bool) -> None:
    """Set limits, from now on and over restarts. What runs already is not broken off.

    Names: reconstructs, verifications, publishes (so many at a time); bytes_per_second (0: as many as there are, else
    65536 or more). NAME=default sets no limit any more: what the configuration says holds again.

    Few bytes per second make fetches and rebuilds miss their deadlines: the node votes no on files that it could not
    fetch in time, and ops that are assigned to it run out.
    """
    _print(ask(path, "limits.set", limits=dict(map(_read, limits)))["limits"], as_json=as_json)


def _read(text: str) -> tuple[str, int | None]:
    name, _, value = text.partition("=")
    if name and value == DEFAULT:
        return name, None
    if not (name and value.isascii() and value.isdecimal() and len(value) <= MOST_DIGITS):
        raise click.BadParameter(f"{text!r:.60} is not NAME=VALUE with a whole number, or {DEFAULT}")
    return name, int(value)


def _print(limits: dict[str, int], *, as_json: bool) -> None:
    if as_json:
        print_json({"version": JSON_VERSION, "limits": limits})
    else:
        print_facts(limits)
