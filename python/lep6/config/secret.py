"""A text that nobody is shown."""

from typing import Final, final

HIDDEN: Final = "(hidden)"


@final
class Secret:
    """A text that shows in no representation.

    No attrs class: `asdict` would take it apart.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for whoever needs it to open something."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return f"Secret({self})"

    def __str__(self) -> str:
        return HIDDEN if self else ""
