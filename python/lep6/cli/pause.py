"""`lep6 pause` and `lep6 resume`."""

from pathlib import Path

import click

from lep6.cli.daemon_call import ask
from lep6.cli.options import config_option


@click.command()
@config_option
def pause(path: Path) -> None:
    """Let the running daemon begin nothing new. What has begun is finished. A restart does not end it."""
    ask(path, "pause")
    click.echo("paused: nothing new is begun, until: lep6 resume")


@click.command()
@config_option
def resume(path: Path) -> None:
    """Let the running daemon begin new work again."""
    ask(path, "resume")
    click.echo("resumed")
