"""One question at a time for each matter: who has the same question meanwhile gets the same answer."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar, final

import trio
from attrs import define, field, frozen

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@final
@frozen(eq=False)
class _Question(Generic[T]):
    """A question that is being asked."""

    over: trio.Event = field(factory=trio.Event)
    answers: list[T] = field(factory=list)
    """The answer, once it was had; it stays away when who has asked gave up."""


@final
@define(eq=False)
class Once(Generic[K, T]):
    """Asks for many. Nothing is kept of an answer: who comes after it asks anew."""

    _asking: dict[K, _Question[T]] = field(factory=dict, init=False)

    async def ask(self, matter: K, question: Callable[[], Awaitable[T]]) -> T:
        """The answer about a matter, asked for now or a moment ago.

        Who asks for all may be cancelled, or fail; then one of the others asks. So a failure that is one for all has to
        be an answer.
        """
        while (asked := self._asking.get(matter)) is not None:
            await asked.over.wait()
            if asked.answers:
                return asked.answers[0]
        mine = self._asking[matter] = _Question[T]()
        try:
            answer = await question()
            mine.answers.append(answer)
        finally:
            del self._asking[matter]
            mine.over.set()
        return answer
