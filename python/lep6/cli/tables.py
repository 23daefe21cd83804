"""Documents as tables for people."""

import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from lep6.cli.terminal import Console, escaped, size

PIPED_WIDTH = 160
"""Columns of a table that does not go to a terminal."""


def console() -> Console:
    """Where tables go: standard output, as it is now."""
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, emoji=False, highlight=False)


def print_facts(document: dict[str, Any]) -> None:
    """A document, a line for each member."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in document.items():
        table.add_row(_words(name), escaped(shown(name, value)))
    console().print(table)


def print_rows(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """Documents of one kind, a line for each, with these members of them."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(_words(name), overflow="fold", no_wrap=name != columns[-1])
    for row in rows:
        table.add_row(*(escaped(shown(name, row.get(name))) for name in columns))
    console().print(table)


def shown(name: str, value: Any) -> str:
    """A member of a document as text: its name says what a number means."""
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return _number(name, value)
        case dict():
            return ", ".join(f"{_words(key)} {shown(key, inner)}" for key, inner in value.items()) or "none"
        case list():
            return "; ".join(shown(name, inner) for inner in value) or "none"
        case _:
            return " ".join(str(value).split())


def _number(name: str, value: float) -> str:
    if name == "bytes_per_second":
        return f"{size(int(value))}/s" if value else "as many as there are"
    if name.endswith("bytes"):
        return size(int(value))
    if name.endswith("_at"):
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(value))
    return f"{value:g} s" if name.endswith("_seconds") else f"{value}"


def _words(name: str) -> str:
    return name.removesuffix("_seconds").removesuffix("_at").replace("_", " ")
