"""`lep6 devnet`: a Lumera network in a box."""

import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from lep6.blocking import Threads
from lep6.cli import EXIT_NO
from lep6.cli.terminal import escaped, fail, print_json, run, size
from lep6.devnet.rescue import Plan, Rescue, Story
from lep6.errors import OutputExists
from lep6.observe import Progress

JSON_VERSION = 1


@click.group(name="devnet")
def group() -> None:
    """A Lumera network in a box."""


@group.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--nodes", default=5, show_default=True, type=click.IntRange(3, 64), help="Nodes of the network.")
@click.option("--replicas", default=2, show_default=True, type=click.IntRange(1, 64), help="Copies of each value.")
@click.option(
    "--dead-nodes", default=2, show_default=True, type=click.IntRange(0, 62), help="Nodes that are destroyed."
)
@click.option(
    "--surviving",
    default=0.25,
    show_default=True,
    type=click.FloatRange(0.0, 0.75),
    help="Share of the symbols that survives the disaster; the rest must do for reading the file back.",
)
@click.option("--seed", default=1, show_default=True, help="Decides which nodes and symbols are lost.")
@click.option("--keep", type=click.Path(path_type=Path), help="Directory to keep everything in; must be new or empty.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for programs.")
def rescue(
    file: Path,
    *,
    nodes: int,
    replicas: int,
    dead_nodes: int,
    surviving: float,
    seed: int,
    keep: Path | None,
    as_json: bool,
) -> None:
    """Put FILE into a network, destroy most of it, and bring it back.

    Ends with 0 only when the file that was read back, from what was published after the disaster alone, is equal.
    """
    if nodes - dead_nodes < replicas:
        fail(f"{nodes} nodes less {dead_nodes} cannot hold {replicas} copies of a value", 2)
    plan = Plan(nodes=nodes, replicas=replicas, dead_nodes=dead_nodes, surviving=surviving, seed=seed)
    with tempfile.TemporaryDirectory(prefix="lep6-rescue-") as temporary:

        async def work(blocking: Threads, progress: Progress) -> Story:
            directory = keep or Path(temporary)
            if keep is not None and await blocking.run(lambda: keep.exists() and any(keep.iterdir())):
                raise OutputExists(f"{keep} is not empty; nothing was done")
            return await Rescue(directory, plan, blocking, progress).run(file)

        story = run(work)
    if as_json:
        print_json(
            {
                "version": JSON_VERSION,
                "file": str(file),
                "size": story.size,
                "seed": seed,
                "recovered": story.recovered,
                "ending": story.ending,
                "timings_s": story.timings,
            }
        )
    else:
        _print_story(story)
    if not story.recovered:
        sys.exit(EXIT_NO)


def _print_story(story: Story) -> None:
    table = Table(title=f"{story.file.name}, {size(story.size)}", title_justify="left")
    table.add_column("phase", no_wrap=True)
    table.add_column("s", justify="right", no_wrap=True)
    table.add_column("result", overflow="fold")
    for phase in story.done:
        table.add_row(phase.name, f"{phase.seconds:.2f}", escaped(phase.result))
    console = Console()
    console.print(table)
    colour = "green" if story.recovered else "red"
    verdict = "recovered" if story.recovered else "NOT recovered"
    console.print(f"[bold {colour}]{verdict}:[/] {escaped(story.ending)}", highlight=False, soft_wrap=True)
