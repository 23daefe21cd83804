"""Runs seeds in a process of its own: `python -m lep6.devnet.simulation FIRST COUNT STEP`, a line of JSON for each."""

import json
import sys

import attrs
import structlog

from lep6.devnet.simulation.run import simulate


def main(first: int, count: int, step: int) -> None:
    """Run `count` seeds, from `first` in steps, and print what came of them."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    for seed in range(first, first + count * step, step):
        sys.stdout.write(json.dumps(attrs.asdict(simulate(seed))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
