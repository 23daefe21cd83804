"""`lep6 status`: how the running daemon is."""

import sys
from pathlib import Path
from typing import Any, Final

import click
import trio
from rich.table import Table

from lep6.cli.daemon_call import JSON_VERSION, ask, talk
from lep6.cli.options import config_option, json_option
from lep6.cli.output import taken
from lep6.cli.tables import console, print_facts
from lep6.cli.terminal import escaped, print_json
from lep6.daemon.admin_client import AdminClient
from lep6.errors import DaemonAway

WATCH_SECONDS: Final = 2.0
"""Between looks."""


@click.command()
@config_option
@json_option
@click.option("--watch", is_flag=True, help="Look again every two seconds, until interrupted.")
def status(path: Path, *, as_json: bool, watch: bool) -> None:
    """Show how the running daemon is.

    Exit codes: 0 shown; 4 no daemon answers.
    """
    if not watch:
        _show(ask(path, "status"), as_json=as_json)
        return

    async def look_on(client: AdminClient) -> None:
        _show(await client.ask("status"), as_json=as_json, again=True)
        while True:  # from now on a daemon that is away may be back soon
            await trio.sleep(WATCH_SECONDS)
            try:
                document = await client.ask("status")
            except DaemonAway as error:
                _show_away(str(error), as_json=as_json)
            else:
                _show(document, as_json=as_json, again=True)

    talk(path, look_on)


@taken()
def _show(document: dict[str, Any], *, as_json: bool, again: bool = False) -> None:
    if as_json:
        print_json({"version": JSON_VERSION, **document})
    else:
        if again:
            console().clear()
        print_facts({name: value for name, value in document.items() if name not in ("version", "checks")})
        if isinstance(checks := document.get("checks"), dict):
            _print_checks(checks)
    sys.stdout.flush()


@taken()
def _show_away(text: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"version": JSON_VERSION, "away": text})
    else:
        console().print(escaped(text))
    sys.stdout.flush()


def _print_checks(checks: dict[str, Any]) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, check in checks.items():
        mark = "[green]ok[/]" if check.get("ok") else "[bold red]not ok[/]"
        table.add_row(mark, escaped(name), escaped(str(check.get("detail", ""))))
    console().print(table)
