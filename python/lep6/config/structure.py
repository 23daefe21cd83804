"""From what stands in a file and in the environment to the sections, with all problems at once."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, final

import attrs
from attrs import define, field
from cattrs import AttributeValidationNote, ClassValidationError

from lep6.config.environment import variable_of
from lep6.config.keys import KEYS, below, section, value_at
from lep6.config.kinds import Unfit, converter, shown, suggestion
from lep6.config.origin import Default, InEnvironment, InFile, Origin, Value
from lep6.config.sections import ZERO_IS_DEFAULT, Document, Own, SelfHealing
from lep6.errors import Problem

MERGE: Final = "<<"
MAX_NAME: Final = 60
_CONVERTER: Final = converter()


@final
@define
class Structure:
    """Builds the sections, and collects what is to be said of it."""

    path: Path
    overrides: Mapping[str, object] = field(repr=False)
    """Values from the environment, by key."""
    problems: list[Problem] = field(factory=list)
    advisories: list[Problem] = field(factory=list)
    _origins: dict[str, Origin] = field(factory=dict, repr=False)

    def document(self, tree: Mapping[Any, Any]) -> Document:
        """The sections. A value that is a problem is named, and its default stands in for it."""
        prepared = self._prepared(Document, tree, "")
        while True:
            try:
                return _CONVERTER.structure(prepared, Document)
            except ClassValidationError as error:
                for key, unfit in _leaves(error, ""):
                    self.problems.append(Problem(key, self._in_environment(key) + unfit.what, unfit.mend))
                    self._origins.pop(key)
                    _remove(prepared, key)

    def values(self, document: Document) -> tuple[Value, ...]:
        """Every value with its origin."""
        return tuple(Value(key, value_at(document, key), self._origins.get(key, Default())) for key in KEYS)

    def _prepared(self, kind: type[attrs.AttrsInstance], raw: object, path: str) -> dict[str, Any]:
        """The keys of a section that are set: without those that are null, or that ask for the default."""
        if raw is not None and not isinstance(raw, Mapping):
            self.problems.append(Problem(path, f"is {shown(raw)}, not a mapping", "write its keys below it, indented"))
        given = raw if isinstance(raw, Mapping) else {}
        self._name_strangers(kind, given, path)
        prepared: dict[str, Any] = {}
        for attribute in attrs.fields(kind):
            here = below(path, attribute.name)
            if inner := section(attribute.type):
                prepared[attribute.name] = self._prepared(inner, given.get(attribute.name), here)
                continue
            value = self.overrides.get(here, given.get(attribute.name))
            if value is None or (ZERO_IS_DEFAULT in attribute.metadata and _is_zero(value)):
                continue
            prepared[attribute.name] = value
            self._origins[here] = InEnvironment(variable_of(here)) if here in self.overrides else InFile(self.path)
        return prepared

    def _name_strangers(self, kind: type[attrs.AttrsInstance], given: Mapping[Any, Any], path: str) -> None:
        """The Go supernode ignores keys that it does not know, so they are refused in our own section only."""
        known = [attribute.name for attribute in attrs.fields(kind)]
        for name in given:
            if name in known:
                continue
            here = below(path, _printed(name))
            if name == MERGE:
                self.problems.append(Problem(here, "is a merge, which lep6 does not read", "write the keys out"))
            elif kind is Own:
                self.problems.append(Problem(here, "is no key of lep6", _meant(name, path, known)))
            else:
                others = known if kind is SelfHealing else [each for each in known if each not in given]
                if kind is SelfHealing or suggestion(str(name), others, cutoff=0.75):
                    self.advisories.append(Problem(here, "is not known, and ignored", _meant(name, path, others)))

    def _in_environment(self, key: str) -> str:
        origin = self._origins[key]
        return f"({origin.variable}) " if isinstance(origin, InEnvironment) else ""


def _printed(name: object) -> str:
    """A key of the file in a message: nothing in it may move a terminal's cursor."""
    return name if isinstance(name, str) and name.isprintable() and len(name) <= MAX_NAME else f"{name!r:.{MAX_NAME}}"


def _meant(name: object, path: str, known: list[str]) -> str:
    near = suggestion(str(name), known)
    return f"{below(path, near)} may be meant" if near else "remove it"


def _is_zero(value: object) -> bool:
    return value == "" or (isinstance(value, int | float) and not isinstance(value, bool) and value == 0)


def _leaves(error: ClassValidationError, path: str) -> Iterator[tuple[str, Unfit]]:
    """The values that are not of their kinds."""
    for inner, note in error.group_exceptions()[0]:
        assert isinstance(note, AttributeValidationNote)  # noqa: S101 - there are no lists of sections
        here = below(path, note.name)
        if isinstance(inner, ClassValidationError):
            yield from _leaves(inner, here)
        elif isinstance(inner, Unfit):
            yield here, inner
        else:
            raise inner


def _remove(prepared: dict[str, Any], key: str) -> None:
    *sections, name = key.split(".")
    for each in sections:
        prepared = prepared[each]
    del prepared[name]
