"""`python -m lep6.devnet.soak`: what scripts/soak runs."""

import json
import secrets
import sys
import tempfile
from pathlib import Path

import click
import structlog
import trio

from lep6.blocking import Threads
from lep6.devnet.soak.run import Soak


@click.command()
@click.option("--minutes", default=10.0, show_default=True, type=click.FloatRange(0.0), help="How long.")
@click.option("--seed", type=int, help="Of all chance; a new one if none is given.")
@click.option("--keep", type=click.Path(path_type=Path), help="Directory to keep everything in.")
def main(*, minutes: float, seed: int | None, keep: Path | None) -> None:
    """Heal one file after another over nodes that are processes, while they are killed and the chain fails.

    Prints a JSON summary. Ends with 0 only when all was healed, once, and nothing has grown more than it may.
    """
    if seed is None:
        seed = secrets.randbelow(1 << 32)
    click.echo(f"seed {seed}", err=True)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    with tempfile.TemporaryDirectory(prefix="lep6-soak-") as temporary:
        summary = trio.run(Soak(keep or Path(temporary), seed, minutes, Threads(4)).run)
    click.echo(json.dumps(summary, indent=1))
    sys.exit(bool(summary["complaints"]))


main(prog_name="scripts/soak")
