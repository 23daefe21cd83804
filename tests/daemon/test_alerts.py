"""The alert rules: each has what it needs, and asks for nothing that is not exported."""

import re
from pathlib import Path

import pytest
import ryaml
from prometheus_client.parser import text_string_to_metric_families

from lep6.daemon.metrics import Metrics

FILE = Path(__file__).parents[2] / "docs" / "alerts.yml"
SEVERITIES = ["page", "office", "information"]
FROM_PROMETHEUS = {"up"}
OWN = re.compile(r"\b((?:lep6|process)_\w+|up\b)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!=|=)"([^"]*)"')
TOLD = re.compile(r"\b(?:lep6|process)_\w+")

GROUPS = ryaml.loads(FILE.read_text())["groups"]
RULES = [(group["name"], rule) for group in GROUPS for rule in group["rules"]]


def exported() -> dict[str, list[dict[str, str]]]:
    """The labels of each series, by name."""
    page, _ = Metrics().render()
    series: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            series.setdefault(sample.name, []).append(sample.labels)
    return series


def test_the_groups_are_the_severities_the_worst_first():
    assert [group["name"] for group in GROUPS] == [f"lep6-{severity}" for severity in SEVERITIES]
    names = [rule["alert"] for _, rule in RULES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("group", "rule"), RULES, ids=[rule["alert"] for _, rule in RULES])
def test_a_rule_says_how_bad_it_is_what_it_is_and_what_to_do(group, rule):
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert f"lep6-{rule['labels']['severity']}" == group
    assert set(rule["annotations"]) == {"summary", "do"}
    assert all(rule["annotations"].values())
    assert "$labels.instance" in rule["annotations"]["summary"]
    assert re.fullmatch(r"[1-9][0-9]*[mh]", rule.get("for", "1m"))
    for opening, closing in ("()", "{}", "[]"):
        assert rule["expr"].count(opening) == rule["expr"].count(closing)


@pytest.mark.parametrize("rule", [rule for _, rule in RULES], ids=lambda rule: rule["alert"])
def test_a_rule_asks_only_for_series_that_are_there_from_the_start(rule):
    series = exported()
    asked = OWN.findall(rule["expr"])
    assert asked
    for name, matchers in asked:
        if name in FROM_PROMETHEUS:
            continue
        assert name in series
        for label, operator, value in MATCHER.findall(matchers):
            if label == "job":
                continue
            known = {labels.get(label) for labels in series[name]}
            assert set(value.split("|") if operator == "=~" else [value]) <= known, (name, label, value)


@pytest.mark.parametrize("rule", [rule for _, rule in RULES], ids=lambda rule: rule["alert"])
def test_what_a_text_names_is_there(rule):
    series = exported()
    for text in rule["annotations"].values():
        assert set(TOLD.findall(text)) <= set(series)
