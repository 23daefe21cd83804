"""What commands share: running a Trio program, progress for whoever watches, and errors as one line."""

import errno
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NoReturn, TypeVar

import outcome
import structlog
import trio
from attrs import define, field
from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from lep6._core import Job
from lep6.blocking import Threads
from lep6.cli import EXIT_BAD_INPUT, EXIT_INTERRUPTED
from lep6.errors import Lep6Error
from lep6.observe import Counter
from lep6.observe import Progress as Watching

T = TypeVar("T")


class Console(RichConsole):
    """One whose reader may go away; `lep6.cli.output` says what then."""

    def on_broken_pipe(self) -> None:
        """Say so. Else the process would end here, as if the answer was no."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


WORKERS: Final = 4
"""Pieces of blocking work at a time: the core uses all cores for one, the others wait for the disk."""
POLL_SECONDS: Final = 0.1
LINE_SECONDS: Final = 5.0
"""Pause between lines of a step where there is no terminal."""


def run(work: Callable[[Threads, Watching], Awaitable[T]]) -> T:
    """Run a command's work under Trio, with progress on standard error. Our errors end the process with a line."""
    logging_to_stderr()
    with errors_as_lines():
        return trio.run(_with_progress, work)


@contextmanager
def errors_as_lines() -> Iterator[None]:
    """End the process with one line when the block raises an error of ours, or is interrupted."""
    try:
        yield
    except BrokenPipeError:
        raise  # of the output: nobody reads it any more
    except (Lep6Error, OSError) as error:
        fail(str(error), EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        fail("interrupted", EXIT_INTERRUPTED)
    except BaseExceptionGroup as group:
        # Of a nursery: what matters is the same as above, unless a bug is among it.
        if group.split((KeyboardInterrupt, trio.Cancelled))[1] is None:
            fail("interrupted", EXIT_INTERRUPTED)
        if group.split((Lep6Error, OSError, trio.Cancelled))[1] is None:
            first = _first(group)
            if isinstance(first, BrokenPipeError):
                raise first from None
            fail(str(first), EXIT_BAD_INPUT)
        raise


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group that is no group, and no cancellation."""
    errors = [error for error in group.exceptions if not isinstance(error, trio.Cancelled)]
    return _first(errors[0]) if isinstance(errors[0], BaseExceptionGroup) else errors[0]


def fail(message: str, code: int) -> NoReturn:
    """End the process with one line on standard error, if that can be written to."""
    console = Console(stderr=True, soft_wrap=True, emoji=False)
    with suppress(OSError):
        console.print(f"[bold red]lep6:[/] {escaped(message)}", highlight=False)
    sys.exit(code)


def escaped(text: str) -> str:
    """Text in which rich finds no markup."""
    return escape(printable(text))


def printable(text: str) -> str:
    """Text that this terminal takes: what it has no letters for is a question mark."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, errors="replace").decode(encoding)


def print_json(document: dict[str, Any]) -> None:
    """One line of JSON on standard output, keys in the order given."""
    sys.stdout.write(json.dumps(document) + "\n")


def logging_to_stderr() -> None:
    """Events go to standard error, warnings and worse."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("warning"),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


async def _with_progress(work: Callable[[Threads, Watching], Awaitable[T]]) -> T:
    console = Console(stderr=True)
    display: _Bars | _Lines = _Bars(console) if console.is_terminal else _Lines()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_poll, display)
        with display.shown():
            # Captured, so that an error comes out as itself and not in the nursery's group.
            result = await outcome.acapture(work, Threads(WORKERS), display)
        nursery.cancel_scope.cancel(reason="the work is done")
    return result.unwrap()


async def _poll(display: "_Bars | _Lines") -> None:
    while True:
        display.refresh()
        await trio.sleep(POLL_SECONDS)


class _Bars:
    """Bars on a terminal, drawn by the polling task."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            # Eighty columns are enough: the name gives way first.
            TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
            BarColumn(bar_width=10),
            TextColumn("{task.percentage:>3.0f}%", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[amount]:>24}", table_column=Column(no_wrap=True)),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            expand=True,
            console=console,
            auto_refresh=False,
        )
        self._steps: dict[TaskID, tuple[Counter, str]] = {}

    @contextmanager
    def shown(self) -> Iterator[None]:
        with self._progress:
            yield

    @contextmanager
    def step(self, name: str, counter: Counter, /, *, unit: str = "B") -> Iterator[None]:
        """See `observe.Progress.step`."""
        task = self._progress.add_task(name, total=None, amount="")
        self._steps[task] = (counter, unit)
        try:
            yield
        finally:
            self.refresh()
            del self._steps[task]
            self._progress.stop_task(task)

    def refresh(self) -> None:
        for task, (counter, unit) in self._steps.items():
            done, total = counter.done, counter.total
            self._progress.update(task, completed=done, total=total or None, amount=amount(counter, unit))
        self._progress.refresh()


@define(eq=False)
class _Step:
    counter: Counter
    unit: str
    begun: float = field(factory=time.monotonic)
    shown: float = field(factory=time.monotonic)


class _Lines:
    """A line when a step ends, and now and then while it runs."""

    def __init__(self) -> None:
        self._steps: dict[_Step, str] = {}

    @contextmanager
    def shown(self) -> Iterator[None]:
        yield

    @contextmanager
    def step(self, name: str, counter: Counter, /, *, unit: str = "B") -> Iterator[None]:
        """See `observe.Progress.step`."""
        step = _Step(counter, unit)
        self._steps[step] = name
        try:
            yield
        finally:
            del self._steps[step]
            self._print(name, step, f"{time.monotonic() - step.begun:.1f} s")

    def refresh(self) -> None:
        now = time.monotonic()
        for step, name in self._steps.items():
            if now - step.shown >= LINE_SECONDS:
                step.shown = now
                self._print(name, step, "...")

    def _print(self, name: str, step: _Step, state: str) -> None:
        if step.counter.total:
            sys.stderr.write(f"{name:<36} {amount(step.counter, step.unit):>30}  {state}\n")


def amount(counter: Counter, unit: str) -> str:
    """How far something is, for people. A job also says what it is doing."""
    done, total = counter.done, counter.total
    if unit != "B":
        return f"{done} of {total} {unit}"
    phase = f"{counter.phase} " if isinstance(counter, Job) else ""
    return f"{phase}{size(done)} of {size(total)}"


def size(count: int) -> str:
    """A number of bytes, for people."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:  # noqa: PLR2004
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.2f} GiB"
