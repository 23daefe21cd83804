"""Metric families that are made when somebody looks."""

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily


def gauge(name: str, help_text: str, value: float) -> GaugeMetricFamily:
    """A family of one series."""
    return GaugeMetricFamily(name, help_text, value=float(value))


def gauges(
    name: str, help_text: str, label: str, names: Iterable[str], values: Mapping[str, float]
) -> GaugeMetricFamily:
    """A series for each of the names: its value, or zero."""
    family = GaugeMetricFamily(name, help_text, labels=[label])
    for each in names:
        family.add_metric([each], float(values.get(each, 0)))
    return family


def counters(
    name: str, help_text: str, label: str, names: Iterable[str], values: Mapping[str, float]
) -> CounterMetricFamily:
    """As `gauges`, of values that never fall. `name` without `_total`."""
    family = CounterMetricFamily(name, help_text, labels=[label])
    for each in names:
        family.add_metric([each], float(values.get(each, 0)))
    return family
