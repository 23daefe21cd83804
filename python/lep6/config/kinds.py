"""What a value of each kind may be in the file, as the Go supernode's YAML has it, and what it becomes."""

import enum
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Final

import cattrs

from lep6.config.secret import Secret
from lep6.config.sections import Backend, Duration, Port, Price

MOST_SHOWN: Final = 60
"""Letters of a value that a message shows."""
LARGEST: Final = (1 << 63) - 1
"""Go's int."""
LARGEST_PORT: Final = (1 << 16) - 1
YES: Final = frozenset({"true", "yes", "on", "y"})
NO: Final = frozenset({"false", "no", "off", "n"})
"""Go's YAML takes all of these where it wants a bool, and only there."""
UNITS: Final[Mapping[str, float]] = {
    "ns": 1e-9,
    "us": 1e-6,
    "\N{MICRO SIGN}s": 1e-6,
    "\N{GREEK SMALL LETTER MU}s": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_AMOUNT: Final = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Unfit(ValueError):
    """A value is not of its kind."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(what)
        self.what = what
        self.mend = mend


def shown(value: object) -> str:
    """A value of the file in a message, shortened."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case str() if len(value) > MOST_SHOWN:
            return f"{value[:MOST_SHOWN]!r}..."
        case _:
            return f"{value!r:.{MOST_SHOWN}}"


def suggestion(word: str, known: list[str], *, cutoff: float = 0.6) -> str | None:
    """What was meant, if anything is near."""
    near = get_close_matches(word, known, n=1, cutoff=cutoff)
    return near[0] if near else None


def _bool(value: object, _: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else None
    if word in YES or word in NO:
        return word in YES
    raise Unfit(f"is {shown(value)}, not a bool", "write true or false")


def _whole(value: object, largest: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unfit(f"is {shown(value)}, not a whole number", "write digits alone, without quotes")
    if value < 0:
        raise Unfit(f"is {shown(value)}; must be >= 0", "write 0 or more")
    if value > largest:
        raise Unfit(f"is {shown(value)}; the largest is {largest}", "write a smaller one")
    return value


def _int(value: object, _: Any) -> int:
    return _whole(value, LARGEST)


def _port(value: object, _: Any) -> Port:
    return Port(_whole(value, LARGEST_PORT))


def _float(value: object, _: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unfit(f"is {shown(value)}, not a number", "write a number, without quotes")
    if not (0 <= value <= LARGEST) or math.isnan(value):
        raise Unfit(f"is {shown(value)}; must be >= 0 and finite", "write an ordinary number")
    return float(value)


def _text(value: object, _: Any) -> str:
    match value:
        case bool() | float():
            raise Unfit(f"is {shown(value)}, not a text", "put it in quotes")
        case int():
            return str(value)
        case str() if _CONTROL.search(value):
            raise Unfit("has control characters", "write one line of plain text")
        case str():
            return value
        case _:
            raise Unfit(f"is {shown(value)}, not a text", "write one text")


def _secret(value: object, _: Any) -> Secret:
    match value:
        case str():
            return Secret(value)
        case int() if not isinstance(value, bool):
            return Secret(str(value))
        case _:
            raise Unfit("is not a text", "put it in quotes")


def _texts(value: object, _: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        # An address may have a password in it.
        what = "one text" if isinstance(value, str) else shown(value)
        raise Unfit(f"is {what}, not a list", "write a list: [one, two]")
    return tuple(_text(item, str) for item in value)


def _duration(value: object, _: Any) -> Duration:
    found = _AMOUNT.findall(value) if isinstance(value, str) else []
    if not found or "".join(amount + unit for amount, unit in found) != value:
        raise Unfit(f"is {shown(value)}, not a duration", "write one with its unit: 30s, 1m30s, 500ms")
    return Duration(sum(float(amount) * UNITS[unit] for amount, unit in found))


def _price(value: object, _: Any) -> Price:
    if isinstance(value, float) and math.isfinite(value):
        return Price(format(Decimal(repr(value)), "f"))
    return Price(_text(value, str))


def _choice(value: object, kind: type[enum.Enum]) -> enum.Enum:
    words = [str(each.value) for each in kind]
    word = value if isinstance(value, str) else ""
    if kind is Backend:
        word = {"mem": "memory"}.get(word.lower(), word.lower())
    if word in words:
        return kind(word)
    near = suggestion(word.lower(), words)
    meant = f"; {near} may be meant" if near else ""
    raise Unfit(f"is {shown(value)}", f"write one of {', '.join(words)}{meant}")


def _maybe_bool(value: object, _: Any) -> bool | None:
    return None if value is None else _bool(value, bool)


def _maybe_backend(value: object, _: Any) -> enum.Enum | None:
    return None if value is None else _choice(value, Backend)


_HOOKS: Final[Mapping[Any, Callable[[Any, Any], Any]]] = {
    bool: _bool,
    int: _int,
    Port: _port,
    float: _float,
    str: _text,
    Secret: _secret,
    tuple[str, ...]: _texts,
    Duration: _duration,
    Price: _price,
    bool | None: _maybe_bool,
    Backend | None: _maybe_backend,
}


def converter() -> cattrs.Converter:
    """A converter that takes values of these kinds only, and none of them for another."""
    made = cattrs.Converter()
    made.register_structure_hook_func(lambda kind: isinstance(kind, type) and issubclass(kind, enum.Enum), _choice)
    for known, hook in _HOOKS.items():
        if isinstance(known, type):
            # Else those of the converter's own for such types would come first.
            made.register_structure_hook(known, hook)
        else:
            made.register_structure_hook_func(_is(known), hook)
    return made


def _is(known: Any) -> Callable[[Any], bool]:
    def is_known(kind: Any) -> bool:
        return bool(kind == known)

    return is_known
