"""What the commands share: how a Trio program ends the process, and text that no terminal chokes on."""

import os
import signal

import pytest
import structlog
import trio
from rich.console import Console

from lep6._core import Job
from lep6.cli.terminal import amount, escaped, fail, printable, run, size
from lep6.errors import OutputExists
from lep6.observe import Tally


@pytest.fixture(autouse=True)
def logging():
    """`run` lets events go to standard error, which is the capture's here."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def end_of(work, capsys):
    """The exit code and the two streams of a command."""
    with pytest.raises(SystemExit) as ended:
        run(work)
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


async def interrupt(*_):
    signal.raise_signal(signal.SIGINT)
    await trio.sleep_forever()


async def refuse(*_):
    raise OutputExists("it is there [already]")


async def have_no_room(*_):
    raise OSError(28, "No space left on device", "/a/file")


async def have_a_bug(*_):
    raise ValueError("bug")


def inside(depth, *tasks):
    """Work of tasks in nurseries within one another."""

    async def work(blocking, progress):
        async with trio.open_nursery() as nursery:
            for task in tasks if depth == 1 else [inside(depth - 1, *tasks)]:
                nursery.start_soon(task, blocking, progress)

    return work


async def wait(*_):
    await trio.sleep_forever()


def test_a_result_comes_back():
    async def work(blocking, progress):
        return await blocking.run(lambda: 7)

    assert run(work) == 7


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_an_interrupt_is_one_line_and_130_however_deep_it_comes(depth, capsys):
    work = inside(depth, wait, interrupt, wait) if depth else interrupt
    assert end_of(work, capsys) == (130, "", "lep6: interrupted\n")


def test_an_interrupt_of_the_task_that_holds_a_nursery_is_one_line_and_130(capsys):
    async def work(blocking, progress):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await interrupt()

    assert end_of(work, capsys) == (130, "", "lep6: interrupted\n")


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_refusal_is_one_line_and_4_however_deep_it_comes(depth, capsys):
    work = inside(depth, wait, refuse) if depth else refuse
    assert end_of(work, capsys) == (4, "", "lep6: it is there [already]\n")


@pytest.mark.parametrize("depth", [0, 1])
def test_a_trouble_of_the_machine_names_the_file(depth, capsys):
    work = inside(depth, have_no_room) if depth else have_no_room
    assert end_of(work, capsys) == (4, "", "lep6: [Errno 28] No space left on device: '/a/file'\n")


def test_of_two_refusals_one_is_told(capsys):
    code, _, errors = end_of(inside(1, refuse, have_no_room), capsys)
    assert code == 4
    assert errors in ("lep6: it is there [already]\n", "lep6: [Errno 28] No space left on device: '/a/file'\n")


@pytest.mark.parametrize("other", [wait, refuse, interrupt])
def test_a_bug_is_not_hidden_by_what_comes_with_it(other):
    with pytest.raises(BaseExceptionGroup) as raised:
        run(inside(1, have_a_bug, other))
    assert raised.value.subgroup(ValueError) is not None


def test_a_bug_alone_comes_out_as_itself():
    with pytest.raises(ValueError, match="bug"):
        run(have_a_bug)


def test_a_failure_is_one_line_whatever_is_in_it(capsys):
    with pytest.raises(SystemExit) as ended:
        fail(f"[red]:smile: {os.fsdecode(bytes([255]))} \\[x]" + "long " * 50, 3)
    assert ended.value.code == 3
    assert capsys.readouterr().err == "lep6: [red]:smile: ? \\[x]" + "long " * 50 + "\n"


@pytest.mark.parametrize("text", ["plain", "[bold]x[/]", "\\[x]", "a\\", "\\\\[/]", "[/nothing]", "ü", "[", "a [x] \\"])
def test_escaped_text_is_shown_as_it_is(text, capsys):
    Console(emoji=False, soft_wrap=True).print(f"[red]<[/]{escaped(text)}[green]>[/]", highlight=False)
    assert capsys.readouterr().out == f"<{text}>\n"


def test_printable_text_is_utf_8_and_what_is_not_is_a_question_mark():
    assert printable("ü" + os.fsdecode(b"\xff\xfe")) == "ü??"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024**2, "1.0 MiB"),
        (1024**3, "1.00 GiB"),
        (5 * 1024**4, "5120.00 GiB"),
    ],
)
def test_sizes_have_a_unit(count, text):
    assert size(count) == text


def test_amounts_are_bytes_of_bytes_or_things_of_things():
    assert amount(Tally(done=3, total=2048), "B") == "3 B of 2.0 KiB"
    assert amount(Tally(done=3, total=5), "values") == "3 of 5 values"
    job = Job()
    assert amount(job, "B").removeprefix(f"{job.phase} ") == "0 B of 0 B"
