"""What works with key material, and leaves none of it in an exception."""

import functools
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def discreet(function: Callable[P, R]) -> Callable[P, R]:
    """Let exceptions out of the function without the local variables and the causes that they came with.

    Whoever shows an exception may show the variables of every frame that it went through, and what it was raised from:
    a log, a crash report, a debugger. The arguments of the function itself stay; they must not show a secret.
    """

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        outside = sys.exception()
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            _strip(error, outside)
            raise

    return guarded


def _strip(error: BaseException, outside: BaseException | None) -> None:
    """Clear what an exception came with from inside."""
    for each in _chain(error, outside):
        traceback.clear_frames(each.__traceback__)
    error.__cause__ = None
    error.__context__ = outside


def _chain(error: BaseException, outside: BaseException | None) -> Iterator[BaseException]:
    """An exception and all that it was raised from, as far as that happened inside."""
    seen: list[BaseException | None] = [None, outside]
    waiting = [error]
    while waiting:
        each = waiting.pop()
        seen.append(each)
        yield each
        waiting += [cause for cause in (each.__cause__, each.__context__) if cause is not None and cause not in seen]
