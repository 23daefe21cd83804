"""What `lep6 cascade republish` does; apart from its group, whose other commands need neither chain nor network."""

import os
from pathlib import Path
from random import SystemRandom

import click

from lep6.blocking import Threads
from lep6.cascade.publish import Deferred
from lep6.cascade.reseed import Outcome, Republished
from lep6.cli import EXIT_CANNOT
from lep6.cli.run import open_networks
from lep6.cli.terminal import fail, run
from lep6.config import load
from lep6.daemon.republish import republish
from lep6.model import Ticket
from lep6.observe import Progress


def bring_back(ticket: Ticket, path: Path) -> None:
    """Republish the file of a ticket, as the node of a configuration file; the process ends where that cannot be."""

    def tell(deferred: Deferred) -> None:
        click.echo(f"{deferred.pending} values are still to be stored: {deferred.reason}", err=True)

    async def work(blocking: Threads, progress: Progress) -> Outcome:
        config = load(path, os.environ)
        async with open_networks(config, blocking) as networks:
            return await republish(
                config, ticket, networks, blocking=blocking, progress=progress, random=SystemRandom(), tell=tell
            )

    outcome = run(work)
    if not isinstance(outcome, Republished):
        fail(f"ticket {ticket}: {outcome}", EXIT_CANNOT)
    click.echo(f"ticket {ticket}: {outcome.published.values} values are in the network")
