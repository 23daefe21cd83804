"""Environment variables that replace what the file says: `LEP6_<SECTION>__<KEY>`."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lep6.config.keys import KEYS
from lep6.config.kinds import suggestion
from lep6.config.sections import Port
from lep6.errors import Problem

PREFIX: Final = "LEP6_"
_WHOLE: Final = re.compile(r"-?[0-9]{1,40}")
_NUMBER: Final = re.compile(r"-?[0-9.]{1,40}(?:[eE][-+]?[0-9]{1,4})?")


def variable_of(key: str) -> str:
    """The name of the variable that replaces a key."""
    return PREFIX + key.upper().replace(".", "__")


VARIABLES: Final[Mapping[str, str]] = {variable_of(key): key for key in KEYS}


def overrides(environ: Mapping[str, str]) -> dict[str, object]:
    """The keys that the environment sets, and their values as the file would have them."""
    return {
        key: _value(environ[variable], KEYS[key].type) for variable, key in VARIABLES.items() if variable in environ
    }


def unknown(environ: Mapping[str, str], *, used: str) -> Iterator[tuple[Problem, bool]]:
    """Variables that look like ours and are not, and whether that is a problem or only worth knowing.

    A name without `__` may be somebody else's, and `used` is one whose value the file asks for.
    """
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in VARIABLES or variable == used:
            continue
        is_ours = "__" in variable
        near = suggestion(variable, list(VARIABLES), cutoff=0.6 if is_ours else 0.8)
        if is_ours or near:
            mend = f"{near} may be meant" if near else "unset it; `lep6 config show` lists the keys"
            yield (
                Problem(variable if variable.isprintable() else ascii(variable), "is no variable of lep6", mend),
                is_ours,
            )


def _value(text: str, kind: Any) -> object:
    """A text as YAML would read it for a key of this kind; one that is not of the kind stays text."""
    if kind in (int, Port, float) and _WHOLE.fullmatch(text):
        return int(text)
    if kind is float and _NUMBER.fullmatch(text):
        try:
            return float(text)
        except ValueError:
            return text
    if kind == tuple[str, ...]:
        return [item for part in text.split(",") if (item := part.strip())]
    return text
