"""Metrics as a scraper sees them."""

from prometheus_client.parser import text_string_to_metric_families

from lep6.daemon.metrics import Metrics

FIRST = ("role", "message")
"""Labels that stand before others."""

Series = dict[tuple[str, ...], float]
"""Values by name and values of labels."""


def scraped(metrics: Metrics) -> Series:
    page, _ = metrics.render()
    return {
        (
            sample.name,
            *(sample.labels[label] for label in sorted(sample.labels, key=lambda label: label not in FIRST)),
        ): (sample.value)
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
        if sample.name.startswith("lep6_")
    }


def changed(metrics: Metrics, before: Series) -> Series:
    """What has another value than before, and by how much. There are no other series than before."""
    after = scraped(metrics)
    assert after.keys() == before.keys()
    return {name: value - before[name] for name, value in after.items() if value != before[name]}
