"""`lep6 cascade`: files and their symbols."""

import sys
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from lep6 import _core
from lep6.blocking import Threads
from lep6.cascade.directory import Directories, ReadLayout, Undecodable
from lep6.cascade.ids import key_text
from lep6.cascade.layout import Layout
from lep6.cascade.text import to_base64
from lep6.cli import EXIT_CANNOT, EXIT_NO
from lep6.cli.options import config_option, json_option
from lep6.cli.terminal import Console, escaped, fail, print_json, run, size
from lep6.model import Key, Ticket
from lep6.observe import Progress

JSON_VERSION = 1
"""Version of the JSON that these commands print; fields may be added to it freely."""

_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_directory = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group(name="cascade")
def group() -> None:
    """Encode, decode and check files of symbols."""


@group.command()
@click.argument("file", type=_file)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory to make; must be new or empty.")
def encode(file: Path, out: Path) -> None:
    """Encode FILE into a directory of symbols, as the network's encoder does."""

    async def work(blocking: Threads, progress: Progress) -> Layout:
        return await Directories(blocking, progress).encode(file, out)

    layout = run(work)
    geometry = layout.geometry
    click.echo(
        f"{out}: {geometry.total_symbols} symbols of {size(layout.size)}, any {geometry.source_symbols} or a few more"
        f" of them give it back; data hash {to_base64(layout.digest)}"
    )


@group.command()
@click.argument("directory", metavar="DIR", type=_directory)
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="File to write or replace.")
def decode(directory: Path, out: Path) -> None:
    """Decode the symbols in DIR. The output file is replaced at once, and only by the file that the layout names."""

    async def work(blocking: Threads, progress: Progress) -> Layout | Undecodable:
        return await Directories(blocking, progress).decode(directory, out)

    outcome = run(work)
    if isinstance(outcome, Undecodable):
        fail(f"{directory}: {outcome}", EXIT_CANNOT)
    click.echo(f"{out}: {size(outcome.size)}, data hash {to_base64(outcome.digest)}")


@group.command()
@click.argument("path", metavar="DIR|LAYOUT", type=click.Path(exists=True, path_type=Path))
@json_option
def inspect(path: Path, *, as_json: bool) -> None:
    """Show what a layout says."""

    async def work(blocking: Threads, progress: Progress) -> ReadLayout:
        return await Directories(blocking, progress).layout(path)

    read = run(work)
    facts = _facts(read)
    if as_json:
        print_json({"version": JSON_VERSION, **facts})
    else:
        _print_table({name.replace("_", " "): str(value) for name, value in facts.items()})


@group.command()
@click.argument("directory", metavar="DIR", type=_directory)
@json_option
def verify(directory: Path, *, as_json: bool) -> None:
    """Check every symbol in DIR against its layout.

    Exit codes: 0 all are there and true; 1 some are not, but it decodes; 3 it does not decode.
    """

    async def work(blocking: Threads, progress: Progress) -> tuple[Layout, _core.Survey]:
        return await Directories(blocking, progress).survey(directory)

    layout, survey = run(work)
    is_whole = not (survey.missing or survey.broken)
    if as_json:
        print_json(
            {
                "version": JSON_VERSION,
                "whole": is_whole,
                "decodable": survey.decodable,
                "needed": layout.geometry.source_symbols,
                "total": layout.geometry.total_symbols,
                "present": len(survey.present),
                "missing": survey.missing,
                "false": survey.broken,
                "foreign": survey.foreign,
            }
        )
    else:
        _print_survey(layout, survey)
    if not is_whole:
        sys.exit(EXIT_NO if survey.decodable else EXIT_CANNOT)


def _facts(read: ReadLayout) -> dict[str, Any]:
    layout, geometry = read.layout, read.layout.geometry
    return {
        "layout": str(read.path),
        "spelling": read.spelling.value,
        "size": layout.size,
        "data_hash": to_base64(layout.digest),
        "block_hash": key_text(Key(layout.digest)),
        "symbol_size": _core.SYMBOL_SIZE,
        "source_symbols": geometry.source_symbols,
        "repair_symbols": geometry.repair_symbols,
        "total_symbols": geometry.total_symbols,
        "extended_source_symbols": geometry.extended_symbols,
        "sub_blocks": geometry.sub_blocks,
        "encoder_parameters": geometry.oti.hex(),
        "first_symbol": key_text(layout.symbols[0]),
        "last_symbol": key_text(layout.symbols[-1]),
    }


def _print_survey(layout: Layout, survey: _core.Survey) -> None:
    verdict = "yes" if survey.decodable else "no"
    _print_table(
        {
            "symbols there and true": f"{len(survey.present)} of {layout.geometry.total_symbols}",
            "needed": str(layout.geometry.source_symbols),
            "missing": _numbers(survey.missing),
            "false": _numbers(survey.broken),
            "foreign files": ", ".join(survey.foreign[:5]) + (" ..." if len(survey.foreign) > 5 else "") or "none",  # noqa: PLR2004
            "can be decoded": verdict,
        }
    )


def _numbers(symbols: list[int]) -> str:
    """A list of symbol numbers as ranges, shortened."""
    ranges: list[list[int]] = []
    for symbol in symbols:
        if ranges and symbol == ranges[-1][1] + 1:
            ranges[-1][1] = symbol
        else:
            ranges.append([symbol, symbol])
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
    shown = ", ".join(texts[:8]) + (" ..." if len(texts) > 8 else "")  # noqa: PLR2004
    return f"{len(symbols)}: {shown}" if symbols else "none"


def _print_table(rows: dict[str, str]) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, escaped(value))
    Console(soft_wrap=not sys.stdout.isatty()).print(table)


@group.command()
@click.argument("ticket")
@config_option
def republish(ticket: str, path: Path) -> None:
    """Bring the file of TICKET back into the network: rebuild it from what survives, and publish all of it again.

    No heal op is needed, and the chain is told nothing. It may run beside the daemon.
    """
    from lep6.cli.republish import bring_back  # noqa: PLC0415 # the other commands do without a chain and a network

    bring_back(Ticket(ticket), path)
