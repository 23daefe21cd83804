"""`python -m lep6.devnet.node`: what `lep6 run` is, but dishonest or unlucky. For a box, and for nothing else."""

import os
import sys
from pathlib import Path

import click
import trio

from lep6.blocking import Threads
from lep6.config import load
from lep6.daemon.logs import write_events
from lep6.daemon.run import run_daemon
from lep6.devnet.configured import open_networks
from lep6.devnet.node.dishonest import serve_corrupt
from lep6.devnet.node.fail_points import FailPoint, install


@click.command()
@click.option("--config", "path", required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--corrupt", is_flag=True, help="Serve other bytes than were rebuilt.")
@click.option("--fail-at", type=click.Choice([point.value for point in FailPoint]), help="Die there, once.")
def main(path: Path, *, corrupt: bool, fail_at: str | None) -> None:
    """Run the daemon that a file configures, with what is to go wrong."""
    config = load(path, os.environ)
    write_events(config.lep6.log_format, config.lep6.log_level)
    if corrupt:
        serve_corrupt()
    if fail_at is not None:
        install(FailPoint(fail_at), config.data_dir)
    sys.exit(trio.run(run_daemon, config, Threads(config.lep6.threads), os.environ, open_networks))


main(prog_name="python -m lep6.devnet.node")
