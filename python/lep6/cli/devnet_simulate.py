"""`lep6 devnet simulate`: the whole box from a seed, under any fault."""

import sys

import click
import trio

from lep6.cli import EXIT_NO
from lep6.cli.terminal import Console, errors_as_lines, escaped, print_json
from lep6.devnet.simulation.run import Outcome
from lep6.devnet.simulation.seeds import outcomes


@click.command()
@click.option("--seed", type=click.IntRange(min=0), help="Replay this one and print its trace.")
@click.option("--seeds", default=20, show_default=True, type=click.IntRange(min=1), help="How many to run.")
@click.option("--from", "first", default=0, show_default=True, type=click.IntRange(min=0), help="The first of them.")
@click.option("--digests", is_flag=True, help="Print the digest of each seed's trace: equal for equal runs.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON for programs.")
def simulate(*, seed: int | None, seeds: int, first: int, digests: bool, as_json: bool) -> None:
    """Run heals in a box in which everything fails, as a seed decides, and hold them against the rules.

    Ends with 0 exactly when no rule was broken. A seed that fails is replayed by --seed.
    """
    if seed is not None:
        first, seeds = seed, 1
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    with errors_as_lines():
        done = trio.run(_collect, first, seeds, console)
    failed = sorted((outcome for outcome in done if outcome.violations), key=lambda outcome: outcome.seed)
    if seed is not None:
        click.echo("\n".join(done[0].trace))
    if digests:
        click.echo("\n".join(f"{outcome.seed} {outcome.digest}" for outcome in sorted(done, key=lambda o: o.seed)))
    if failed:
        console.print(
            f"[bold red]seed {failed[0].seed} fails[/]; replay it with: lep6 devnet simulate --seed {failed[0].seed}"
        )
        for violation in failed[0].violations:
            console.print(f"  {escaped(violation)}")
    _print_sum(done, failed, as_json=as_json)
    if failed:
        sys.exit(EXIT_NO)


async def _collect(first: int, count: int, console: Console) -> list[Outcome]:
    done: list[Outcome] = []
    async with outcomes(first, count) as arriving:
        async for outcome in arriving:
            done.append(outcome)
            if outcome.violations:
                console.print(f"seed {outcome.seed}: {escaped(outcome.violations[0])}")
            elif len(done) % 50 == 0:
                console.print(f"{len(done)} of {count} seeds")
    return done


def _print_sum(done: list[Outcome], failed: list[Outcome], *, as_json: bool) -> None:
    sums = {
        "seeds": len(done),
        "failed": len(failed),
        "faults_injected": sum(outcome.faults for outcome in done),
        "crashes": sum(outcome.crashes for outcome in done),
        "ops": sum(outcome.ops for outcome in done),
        "verified": sum(outcome.verified for outcome in done),
        "attempts_used_up": sum(outcome.used_up for outcome in done),
    }
    if as_json:
        print_json(sums)
    else:
        click.echo(
            "{seeds} seeds, {failed} failed: {faults_injected} faults, {crashes} crashes, {ops} heal ops, {verified}"
            " verified; {attempts_used_up} verifiers had used up their attempts before the calm".format(**sums)
        )
