"""From a file and the environment to a configuration, or to all that is wrong with them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from lep6.config import environment, rules
from lep6.config.configuration import Config
from lep6.config.file import read
from lep6.config.healing import healing
from lep6.config.sections import Document
from lep6.config.structure import Structure
from lep6.errors import InvalidConfig, Problem
from lep6.keys.discreet import discreet

_SECTIONS: Final = [attribute.name for attribute in attrs.fields(Document)]


@discreet
def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read a configuration.

    Args:
        path: the Go supernode's file, with our own section in it.
        environ: where variables may replace values of the file.

    Raises:
        InvalidConfig: it cannot be used.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - relative paths are from where the link is, not from its target
    tree = read(path)
    structure = Structure(path, environment.overrides(environ))
    document = structure.document(tree.sections)
    problems, advisories = structure.problems, structure.advisories
    for found, is_problem in environment.unknown(environ, used=document.keyring.passphrase_env):
        (problems if is_problem else advisories).append(found)
    # What is said of a default that stands in for a bad value helps nobody.
    named = {problem.key for problem in problems}
    problems += [problem for problem in rules.problems(document, path.parent) if problem.key not in named]
    is_open = tree.is_open and "keyring.passphrase_plain" not in structure.overrides
    advisories += [each for each in rules.advisories(document, is_open=is_open) if each.key not in named]
    problems.sort(key=_place)
    advisories.sort(key=_place)
    if problems:
        raise InvalidConfig(path, problems, advisories)
    return Config(
        path=path,
        base=path.parent,
        supernode=document.supernode,
        keyring=document.keyring,
        p2p=document.p2p,
        lumera=document.lumera,
        raptorq=document.raptorq,
        self_healing=document.self_healing,
        lep6=document.lep6,
        healing=healing(document.self_healing.enabled, document.lep6.enabled),
        advisories=tuple(advisories),
        values=structure.values(document),
    )


def _place(problem: Problem) -> int:
    """By sections, in the order of the file; what is not of the file comes last."""
    section = problem.key.partition(".")[0]
    return _SECTIONS.index(section) if section in _SECTIONS else len(_SECTIONS)
