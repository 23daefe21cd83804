"""Options that several commands have."""

from pathlib import Path
from typing import Final

import click

config_option: Final = click.option(
    "--config",
    "path",
    default="config.yml",
    show_default=True,
    envvar="LEP6_CONFIG",
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="The node's configuration file: that of the Go supernode, with a section of ours.",
)
json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for programs.")
