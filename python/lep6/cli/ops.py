"""`lep6 ops`: the heal ops that the running daemon has anything of."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from lep6.cli import EXIT_NO
from lep6.cli.daemon_call import JSON_VERSION, ask
from lep6.cli.options import config_option, json_option
from lep6.cli.tables import print_facts, print_rows
from lep6.cli.terminal import print_json, printable, size

COLUMNS: Final = (
    "op",
    "role",
    "state",
    "ticket",
    "in_flight",
    "stuck",
    "failures",
    "retry_in_seconds",
    "bytes",
    "reason",
)

_op_id: Final = click.argument("op_id", metavar="OP", type=click.IntRange(1, 2**63 - 1))


@click.group(name="ops")
def group() -> None:
    """The heal ops that the running daemon has anything of."""


@group.command(name="list")
@config_option
@json_option
def list_(path: Path, *, as_json: bool) -> None:
    """List the heal ops that the daemon has anything of."""
    ops = ask(path, "ops.list")["ops"]
    if as_json:
        print_json({"version": JSON_VERSION, "ops": ops})
    elif ops:
        print_rows(ops, COLUMNS)
    else:
        click.echo("there is nothing of any heal op")


@group.command()
@_op_id
@config_option
@json_option
def show(op_id: int, path: Path, *, as_json: bool) -> None:
    """Show all that the daemon knows of OP: what it remembers, has on its disk, and last heard from the chain.

    Exit codes: 0 shown; 1 the daemon has nothing of it; 4 no daemon answers.
    """
    document = ask(path, "ops.show", op=op_id)
    if as_json:
        print_json({"version": JSON_VERSION, **document})
    else:
        print_facts(document)


@group.command()
@_op_id
@config_option
def retry(op_id: int, path: Path) -> None:
    """Try again now what has failed about OP, and what was dropped of it."""
    ask(path, "ops.retry", op=op_id)
    click.echo(f"heal op {op_id} is tried again now")


@group.command()
@_op_id
@click.option("--yes", is_flag=True, help="Do it; without this, only say what would be lost.")
@config_option
@json_option
def drop(op_id: int, path: Path, *, yes: bool, as_json: bool) -> None:
    """Remove all that the daemon has of OP, and let it leave OP alone until it is retried, or the next start.

    What was sent to the chain stands. Exit codes: 0 dropped; 1 nothing was done, since --yes was not given, or the
    daemon has nothing of it; 4 no daemon answers.
    """
    document = ask(path, "ops.drop", op=op_id, yes=yes)
    if as_json:
        print_json({"version": JSON_VERSION, **document})
    else:
        for line in _losses(document):
            click.echo(printable(line))
    if not document["dropped"]:
        sys.exit(EXIT_NO)


def _losses(document: dict[str, Any]) -> Iterator[str]:
    op_id, loss = document["op"], document["loss"]
    yield f"heal op {op_id} was dropped:" if document["dropped"] else f"to drop heal op {op_id} would lose:"
    lost = list(_lost(loss))
    yield from (f"  {line}" for line in lost or ["nothing"])
    if loss["may_be_only_copy"]:
        what = "what was staged may have been" if document["dropped"] else "what is staged may be"
        yield f"  {what} the ONLY COPY of the file: it is claimed, and not known to be published"
    if not document["dropped"]:
        yield f"nothing was changed. To do it: lep6 ops drop {op_id} --yes"


def _lost(loss: dict[str, Any]) -> Iterator[str]:
    """What there is of an op, a line for each thing."""
    claim, vote, intent, disk = loss["claim"], loss["vote"], loss["intent"], loss["disk"]
    if loss["in_flight"]:
        yield f"the work on it that goes on now, as {loss['role']}"
    if claim:
        yield f"the row of its claim: {claim['state']}, ticket {loss['ticket']}, hash {claim['manifest_hash']}"
    if vote:
        yield f"the row of its vote: {'yes' if vote['verified'] else 'no'}"
    if intent:
        sent = intent["transaction"]
        carried = f"sent as {sent['hash']}: that may yet be included" if sent else "not sent"
        yield f"the intent of a {intent['says']}, {carried}"
    for what, name in (
        ("the staging", "staged_bytes"),
        ("what is being staged", "building_bytes"),
        ("symbols that were fetched", "work_bytes"),
        ("damaged stagings that were set aside", "damaged_bytes"),
    ):
        if disk[name]:
            yield f"{what}: {size(disk[name])}" + (f" in {disk['path']}" if name == "staged_bytes" else "")
