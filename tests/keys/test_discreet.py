"""What an exception shows after it went through `discreet`."""

import pytest

from keyrings import shown
from lep6.keys import discreet as module
from lep6.keys.discreet import discreet

SECRET = b"a key that is not for show"

# Made from text, so that its frames are not those of a test, which the search leaves out.
SOURCE = """
def fails(secret, inner, outer):
    secret = bytes(secret)
    if inner is None:
        raise outer
    try:
        held = [secret]
        raise inner(f"{held}")
    except inner as error:
        if outer is None:
            raise
        raise outer from error
"""
namespace = {}
exec(compile(SOURCE, module.__file__ + "-tested", "exec"), namespace)  # noqa: S102
fails = namespace["fails"]


def caught(function, *args):
    with pytest.raises(BaseException) as raised:
        function(*args)
    return raised.value


@pytest.mark.parametrize("inner", [None, ValueError])
def test_the_search_finds_a_secret_that_is_shown(inner):
    assert repr(SECRET) in shown(caught(fails, SECRET, inner, RuntimeError("a bug")))


@pytest.mark.parametrize("inner", [None, ValueError])
@pytest.mark.parametrize("outer", [RuntimeError("a bug"), KeyboardInterrupt()])
def test_neither_variables_nor_causes_come_with_an_exception(inner, outer):
    @discreet
    def guarded():
        fails(SECRET, inner, outer)

    error = caught(guarded)
    assert error is outer
    assert "not for show" not in shown(error)
    assert (error.__cause__, error.__context__) == (None, None)


def test_frames_still_say_where_it_was():
    @discreet
    def guarded():
        fails(SECRET, None, RuntimeError("a bug"))

    trace, names = caught(guarded).__traceback__, []
    while trace:
        names.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert names[-2:] == ["guarded", "fails"]


def test_what_was_being_handled_outside_is_kept():
    @discreet
    def guarded():
        fails(SECRET, ValueError, RuntimeError("a bug"))

    outside = LookupError("outside")
    try:
        raise outside
    except LookupError:
        error = caught(guarded)
    assert error.__context__ is outside
    assert "not for show" not in shown(error)


def test_a_function_keeps_its_name_and_answer():
    @discreet
    def named(first, *, second):
        """What it says."""
        return first, second

    assert (named.__name__, named.__doc__, named(1, second=2)) == ("named", "What it says.", (1, 2))
