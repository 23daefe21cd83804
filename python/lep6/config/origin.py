"""Where a value comes from."""

from pathlib import Path
from typing import TypeAlias, final

from attrs import frozen


@final
@frozen
class InFile:
    """It stands in the file."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@final
@frozen
class InEnvironment:
    """An environment variable replaces what the file says."""

    variable: str

    def __str__(self) -> str:
        return f"environment variable {self.variable}"


@final
@frozen
class Default:
    """Nobody set it, or set it to what means the default."""

    def __str__(self) -> str:
        return "default"


Origin: TypeAlias = InFile | InEnvironment | Default


@final
@frozen
class Value:
    """The value of a key, and where it comes from."""

    key: str
    value: object
    origin: Origin
