"""`lep6 config`: the configuration file."""

import enum
import os
import sys
from pathlib import Path
from typing import Any

import click

from lep6.cli import EXIT_BAD_INPUT
from lep6.cli.options import config_option, json_option
from lep6.cli.terminal import Console, errors_as_lines, escaped, print_json, printable
from lep6.config import Config, InEnvironment, InFile, InvalidConfig, Origin, Problem, Secret, load, write_example

JSON_VERSION = 1
"""Version of the JSON that these commands print; fields may be added to it freely."""


@click.group(name="config")
def group() -> None:
    """Check, show and begin a configuration file."""


@group.command()
@config_option
@json_option
def check(path: Path, *, as_json: bool) -> None:
    """Name all that is wrong with the configuration, and how to mend it.

    Exit codes: 0 it can be used; 4 it cannot.
    """
    read = _load(path)
    if as_json:
        print_json(_verdict(read))
    else:
        _print_verdict(read)
    if isinstance(read, InvalidConfig):
        sys.exit(EXIT_BAD_INPUT)


@group.command()
@config_option
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
@json_option
def show(path: Path, *, origin: bool, as_json: bool) -> None:
    """Show the values that hold. Secrets are hidden.

    Exit codes: 0 shown; 4 the configuration cannot be used.
    """
    read = _load(path)
    if isinstance(read, InvalidConfig):
        if as_json:
            print_json(_verdict(read))
        else:
            _print_verdict(read)
        sys.exit(EXIT_BAD_INPUT)
    if as_json:
        print_json(
            {
                "version": JSON_VERSION,
                "path": str(read.path),
                "healing": _healing(read),
                "values": [
                    {
                        "key": each.key,
                        "value": _plain(each.value),
                        **({"origin": _origin(each.origin)} if origin else {}),
                    }
                    for each in read.values
                ],
            }
        )
    else:
        _print_values(read, with_origin=origin)


@group.command()
@click.argument("path", type=click.Path(path_type=Path))
def init(path: Path) -> None:
    """Write a commented configuration file to PATH, which must be new."""
    with errors_as_lines():
        write_example(path)
    click.echo(f"{path}: set supernode.identity, keyring and lumera, then: lep6 config check --config {path}")


def _load(path: Path) -> Config | InvalidConfig:
    with errors_as_lines():
        try:
            return load(path, os.environ)
        except InvalidConfig as error:
            return error


def _verdict(read: Config | InvalidConfig) -> dict[str, Any]:
    return {
        "version": JSON_VERSION,
        "path": str(read.path),
        "ok": isinstance(read, Config),
        "problems": [_finding(each) for each in _problems(read)],
        "advisories": [_finding(each) for each in read.advisories],
        "healing": _healing(read) if isinstance(read, Config) else None,
    }


def _problems(read: Config | InvalidConfig) -> tuple[Problem, ...]:
    return read.problems if isinstance(read, InvalidConfig) else ()


def _finding(problem: Problem) -> dict[str, str]:
    return {"key": problem.key, "what": problem.what, "mend": problem.mend}


def _healing(config: Config) -> dict[str, Any]:
    return {"heals": config.healing.heals, "state": config.healing.name.lower(), "meaning": config.healing.value}


def _origin(origin: Origin) -> dict[str, str]:
    match origin:
        case InFile(path):
            return {"kind": "file", "path": str(path)}
        case InEnvironment(variable):
            return {"kind": "environment", "variable": variable}
        case _:
            return {"kind": "default"}


def _plain(value: object) -> Any:
    """A value as JSON has it; of a secret, only whether there is one."""
    match value:
        case enum.Enum():
            return value.value
        case tuple():
            return list(value)
        case Secret():
            return str(value)
        case _:
            return value


def _print_verdict(read: Config | InvalidConfig) -> None:
    console = Console(soft_wrap=True, emoji=False)
    for problem in _problems(read):
        console.print(f"[bold red]problem[/]   {escaped(str(problem))}", highlight=False)
    for advisory in read.advisories:
        console.print(f"[yellow]advisory[/]  {escaped(str(advisory))}", highlight=False)
    if isinstance(read, Config):
        console.print(f"{escaped(str(read.path))} can be used. lep6 {read.healing.value}.", highlight=False)
    else:
        count = len(read.problems)
        end = "a problem" if count == 1 else f"{count} problems"
        console.print(f"{escaped(str(read.path))} cannot be used: {end}.", highlight=False)


def _print_values(config: Config, *, with_origin: bool) -> None:
    rows = [(each.key, _shown(each.value), str(each.origin) if with_origin else "") for each in config.values]
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    for key, value, origin in rows:
        click.echo(printable(f"{key:<{first}}  {value:<{second}}  {origin}".rstrip()))
    click.echo(printable(f"lep6 {config.healing.value}."))


def _shown(value: object) -> str:
    match _plain(value):
        case None:
            return "-"
        case bool() as flag:
            return str(flag).lower()
        case list() as items:
            return ", ".join(items)
        case other:
            return str(other)
