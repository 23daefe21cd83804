"""The lines of the log, for programs and for people."""

import errno
import io
import json
import logging
from unittest.mock import Mock

import pytest
import structlog
import structlog.testing

from lep6.config import LogFormat, LogLevel
from lep6.daemon.logs import write_events
from lep6.observe import about, events_to, get_logger

SECRET = "not to be seen"  # noqa: S105


@pytest.fixture(autouse=True)
def events():
    """What is configured ends with the test."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    structlog.contextvars.clear_contextvars()
    yield
    structlog.contextvars.clear_contextvars()
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


def written(work, format_=LogFormat.JSON, level=LogLevel.INFO):
    to = io.StringIO()
    write_events(format_, level, to=to)
    work(get_logger("room"))
    return to.getvalue()


def raised(log):
    try:
        refuse(SECRET)
    except ValueError:
        log.exception("broke")


def refuse(secret):
    raise ValueError(f"of {len(secret)} letters")


def test_a_line_of_json_tells_what_where_when_and_how_bad():
    line = json.loads(written(lambda log: log.warning("happened", count=7, path="ünbekannt\n\x1b[31m")))
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "happened", "level": "warning", "room": "room", "count": 7, "path": "ünbekannt\n\x1b[31m"}


def test_whatever_is_in_it_a_line_is_one_line():
    text = written(lambda log: [log.info("a\nb", what=b"\n", how=object()), raised(log), log.error("\udcff")])
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["event"] for line in lines] == ["a\nb", "broke", "\udcff"]


def test_what_the_task_is_about_stands_on_each_line():
    def work(log):
        about(op_id=5, role="healer")
        log.info("first")
        about(ticket="7")
        log.info("second")

    first, second = map(json.loads, written(work).splitlines())
    assert (first["op_id"], first["role"], second["op_id"], second["ticket"]) == (5, "healer", 5, "7")


@pytest.mark.parametrize("format_", list(LogFormat))
def test_an_exception_tells_where_and_what_but_no_variables(format_):
    text = written(raised, format_)
    assert "ValueError" in text
    assert "test_logs.py" in text
    assert "of 14 letters" in text
    assert SECRET not in text


def test_for_people_it_is_text_without_colours_where_there_is_no_terminal():
    text = written(lambda log: log.info("happened", count=7), LogFormat.CONSOLE)
    assert "happened" in text
    assert "count=7" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("level", list(LogLevel))
def test_what_is_less_than_the_level_is_left_out(level):
    names = [each.value for each in LogLevel]
    text = written(lambda log: [getattr(log, name)(name) for name in names], level=level)
    assert [json.loads(line)["event"] for line in text.splitlines()] == names[names.index(level.value) :]


def test_the_level_may_be_changed_for_loggers_that_are_there():
    log = get_logger("before")
    first, second = io.StringIO(), io.StringIO()
    write_events(LogFormat.JSON, LogLevel.ERROR, to=first)
    log.info("unheard")
    write_events(LogFormat.JSON, LogLevel.DEBUG, to=second)
    log.debug("heard")
    assert first.getvalue() == ""
    assert json.loads(second.getvalue())["event"] == "heard"


def test_it_goes_where_standard_error_is_then(capsys):
    write_events(LogFormat.JSON, LogLevel.INFO)
    get_logger("room").info("happened")
    captured = capsys.readouterr()
    assert (captured.out, json.loads(captured.err)["event"]) == ("", "happened")


def test_what_libraries_log_is_a_line_of_the_same_kind():
    def work(_):
        log = logging.getLogger("trio")
        log.info("nothing to worry about")
        try:
            refuse(SECRET)
        except ValueError:
            log.exception("accept failed\n%s", "twice")

    text = written(work)
    line = json.loads(text)
    assert (line["event"], line["level"]) == ("accept failed\ntwice", "error")
    assert line["exception"][0]["exc_type"] == "ValueError"
    assert SECRET not in text


def test_events_go_to_the_logger_of_a_host_while_it_says_so():
    heard = structlog.testing.CapturingLogger()
    mine = structlog.wrap_logger(heard, processors=[lambda _, __, event: event], wrapper_class=structlog.BoundLogger)
    log = get_logger("room")
    with structlog.testing.capture_logs() as others:
        with events_to(mine.bind(host="mine")):
            log.warning("first", op_id=1)
        log.warning("second")
    (call,) = heard.calls
    assert call.kwargs == {"host": "mine", "room": "room", "op_id": 1, "event": "first"}
    assert [event["event"] for event in others] == ["second"]


class Full(io.StringIO):
    """A stream that takes nothing for a time."""

    is_full = True

    def write(self, text):
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


@pytest.mark.parametrize("stream", [Full, io.StringIO])
@pytest.mark.parametrize("format_", list(LogFormat))
def test_what_cannot_be_written_is_lost_and_ends_nothing(stream, format_, capsys):
    to = stream()
    write_events(format_, LogLevel.INFO, to=to)
    if stream is io.StringIO:
        to.close()
    log = get_logger("room")
    log.info("happened", count=7)
    raised(log)
    logging.getLogger("trio").warning("happened")
    assert capsys.readouterr() == ("", "")


def test_what_comes_after_what_was_lost_is_written():
    to = Full()
    write_events(LogFormat.JSON, LogLevel.INFO, to=to)
    log = get_logger("room")
    log.info("lost")
    to.is_full = False
    log.info("written")
    assert json.loads(to.getvalue())["event"] == "written"


def test_whatever_the_logger_of_a_host_raises_ends_nothing():
    broken = Mock()
    broken.bind.return_value.warning.side_effect = KeyError("a bug of the host")
    with events_to(broken):
        get_logger("room").warning("happened", op_id=1)
    broken.bind.return_value.warning.assert_called_once_with("happened", op_id=1)
    broken.bind.side_effect = RuntimeError("another one")
    with events_to(broken):
        get_logger("room").error("happened")


def test_a_bug_in_what_is_configured_is_not_taken_for_a_stream():
    def broken(*_):
        raise KeyError("a processor's")

    structlog.configure(processors=[broken])
    with pytest.raises(KeyError):
        get_logger("room").error("happened")
