"""The keys of a configuration, as dotted paths."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from lep6.config.sections import Document


def section(kind: Any) -> type[attrs.AttrsInstance] | None:
    """The section that a type stands for, if it is one."""
    return kind if isinstance(kind, type) and attrs.has(kind) else None


def below(path: str, name: object) -> str:
    """The path of a key in a section; that of the whole is empty."""
    return f"{path}.{name}" if path else f"{name}"


def _keys(of: type[attrs.AttrsInstance], path: str) -> Iterator[tuple[str, "attrs.Attribute[Any]"]]:
    for attribute in attrs.fields(of):
        here = below(path, attribute.name)
        if inner := section(attribute.type):
            yield from _keys(inner, here)
        else:
            yield here, attribute


KEYS: Final[Mapping[str, "attrs.Attribute[Any]"]] = dict(_keys(Document, ""))


def value_at(document: object, key: str) -> Any:
    """The value of a key."""
    for name in key.split("."):
        document = getattr(document, name)
    return document
