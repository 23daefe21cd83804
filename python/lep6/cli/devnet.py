"""`lep6 devnet`: a Lumera network in a box."""

import math
import signal
import sys
import tempfile
from pathlib import Path

import click
import trio
from rich.table import Table
from rich.text import Text

from lep6.beside import beside
from lep6.blocking import Threads
from lep6.cli import EXIT_NO
from lep6.cli.devnet_chain import chain
from lep6.cli.devnet_simulate import simulate
from lep6.cli.terminal import Console, escaped, fail, print_json, printable, run, size
from lep6.devnet.heal_run import HealRun
from lep6.devnet.phases import Phases
from lep6.devnet.rescue import Disaster, Rescue, Story
from lep6.devnet.scenario import Pace, Plan, Report, Scenario, Talk
from lep6.errors import OutputExists
from lep6.observe import Progress

JSON_VERSION = 1


@click.group(name="devnet")
def group() -> None:
    """A Lumera network in a box."""


def _number(_context: click.Context, _parameter: click.Parameter, value: float) -> float:
    """A share that is a number."""
    if math.isnan(value):
        raise click.BadParameter("it is not a number")
    return value


group.add_command(chain)
group.add_command(simulate)


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
    callback=_number,
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
    plan = Disaster(nodes=nodes, replicas=replicas, dead_nodes=dead_nodes, surviving=surviving, seed=seed)
    with tempfile.TemporaryDirectory(prefix="lep6-rescue-") as temporary:

        async def work(blocking: Threads, progress: Progress) -> Story:
            directory = keep or Path(temporary)
            await _must_be_empty(directory, blocking)
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


@group.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--nodes", default=5, show_default=True, type=click.IntRange(3, 64), help="Nodes of the network.")
@click.option("--replicas", default=2, show_default=True, type=click.IntRange(1, 64), help="Copies of each value.")
@click.option(
    "--surviving",
    default=0.25,
    show_default=True,
    type=click.FloatRange(0.0, 0.75),
    callback=_number,
    help="Share of the symbols, and of the id files, that survives the disaster; the rest must do for reading back.",
)
@click.option("--seed", default=1, show_default=True, help="Decides what is lost.")
@click.option(
    "--scenario",
    default=Scenario.VERIFIED.value,
    show_default=True,
    type=click.Choice([scenario.value for scenario in Scenario]),
    help="What is to happen.",
)
@click.option(
    "--chain",
    "talk",
    default=Talk.INLINE.value,
    show_default=True,
    type=click.Choice([talk.value for talk in Talk]),
    help="How the nodes talk to the chain: by calls, or over gRPC with signed transactions, as to a real one.",
)
@click.option(
    "--processes",
    is_flag=True,
    help="Let the chain and each node be a process of its own, each node a `lep6 run`; they talk over gRPC.",
)
@click.option("--keep", type=click.Path(path_type=Path), help="Directory to keep everything in; must be new or empty.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for programs.")
def heal(
    file: Path,
    *,
    nodes: int,
    replicas: int,
    surviving: float,
    seed: int,
    scenario: str,
    talk: str,
    processes: bool,
    keep: Path | None,
    as_json: bool,
) -> None:
    """Put FILE into a network, destroy most of it, and let the network heal it.

    A chain in a box schedules heal ops; each node runs the real heal service. Before the file is read back, every copy
    of every key that had survived is deleted: only what the healer published may answer. Ends with 0 exactly when the
    scenario ended as it should.
    """
    if nodes - 1 < replicas:
        fail(f"{nodes} nodes cannot hold {replicas} copies of a value beside the healer's own", 2)
    plan = Plan(Scenario(scenario), nodes, replicas, surviving, seed, Talk(talk), processes)
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"the chain: {Pace.for_size(file.stat().st_size, processes=processes)}")
    with tempfile.TemporaryDirectory(prefix="lep6-heal-") as temporary:

        async def work(blocking: Threads, progress: Progress) -> Report:
            directory = keep or Path(temporary)
            await _must_be_empty(directory, blocking)
            async with beside(_heed_sigterm):
                return await HealRun(directory, plan, blocking, progress).run(file)

        report = run(work)
    if as_json:
        print_json(report.to_json())
    else:
        _print_report(file, report)
    if not report.ended_as_expected:
        sys.exit(EXIT_NO)


async def _heed_sigterm() -> None:
    """End in order, as SIGINT does: no process is to be left."""
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            raise KeyboardInterrupt


async def _must_be_empty(directory: Path, blocking: Threads) -> None:
    if await blocking.run(lambda: directory.exists() and any(directory.iterdir())):
        raise OutputExists(f"{directory} is not empty; nothing was done")


def _print_report(file: Path, report: Report) -> None:
    console = Console(emoji=False)
    _print_phases(console, f"{file.name}, {size(report.size)}: {report.plan.scenario.value}", report)
    ops = Table()
    for title in ("op", "healer", "verifiers", "votes", "status", "result hash"):
        ops.add_column(title, overflow="fold")
    for op in report.ops:
        said = {vote["verifier"]: vote["verified"] for vote in report.votes if vote["op"] == op["id"]}
        votes = [{True: "yes", False: "no", None: "-"}[said.get(verifier)] for verifier in op["verifiers"]]
        ops.add_row(
            str(op["id"]),
            op["healer"][-6:],
            ", ".join(verifier[-6:] for verifier in op["verifiers"]),
            ", ".join(votes),
            op["status"],
            op["result_hash"],
        )
    console.print(ops)
    colour = "green" if report.ended_as_expected else "red"
    verdict = "as it should end" if report.ended_as_expected else "NOT as it should end"
    console.print(f"[bold {colour}]{verdict}:[/] {escaped(report.ending)}", highlight=False, soft_wrap=True)
    for complaint in report.complaints:
        console.print(f"  {escaped(complaint)}", highlight=False, soft_wrap=True)


def _print_phases(console: Console, title: str, phases: Phases) -> None:
    table = Table(title=Text(printable(title)), title_justify="left")
    table.add_column("phase", overflow="fold")
    table.add_column("s", justify="right", no_wrap=True)
    table.add_column("result", overflow="fold")
    for phase in phases.done:
        table.add_row(phase.name, f"{phase.seconds:.2f}", escaped(phase.result))
    console.print(table)


def _print_story(story: Story) -> None:
    console = Console(emoji=False)
    _print_phases(console, f"{story.file.name}, {size(story.size)}", story)
    colour = "green" if story.recovered else "red"
    verdict = "recovered" if story.recovered else "NOT recovered"
    console.print(f"[bold {colour}]{verdict}:[/] {escaped(story.ending)}", highlight=False, soft_wrap=True)
