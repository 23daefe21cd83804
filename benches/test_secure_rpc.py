"""Secured connections over loopback, both ends as processes: handshakes, and a file beside the same in plaintext."""

import pytest

from lep6.cascade.staging import RECONSTRUCTED

MIB = 1 << 20
SIZE = 256 * MIB
HANDSHAKES = 320

KINDS = {"between two of ours": "ours", "as with Go": "go"}
"""Large frames and records, or those that every peer takes."""
BY_KIND = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.parametrize("at_once", [1, 16])
def test_handshakes(benchmark, measure_pair, a_pair, at_once):
    job = f"{HANDSHAKES} handshakes, {at_once} at a time"
    with a_pair("lep6_alts", "go") as pair:
        assert measure_pair(job, "lep6", pair, "shake", HANDSHAKES, at_once) == HANDSHAKES
    if benchmark.enabled:
        benchmark.extra_info["parts"] = {"one": benchmark.stats.stats.min / HANDSHAKES}


def fetch_from(source, kind):
    return f"fetch {SIZE // MIB} MiB from {source}, {kind}"


@BY_KIND
def test_a_file_from_memory(measure_pair, a_pair, kind):
    with a_pair("lep6_alts", KINDS[kind]) as pair:
        assert measure_pair(fetch_from("memory", kind), "lep6", pair, "fetch") == SIZE


@BY_KIND
def test_a_file_from_memory_in_plaintext(measure_pair, a_pair, kind):
    with a_pair("grpcio") as pair:
        assert measure_pair(fetch_from("memory", kind), "grpcio, plaintext", pair, "fetch") == SIZE


@BY_KIND
def test_a_file_from_disk(measure_pair, a_pair, staging, kind):
    with a_pair("lep6_alts", KINDS[kind], staging) as pair:
        assert measure_pair(fetch_from("disk", kind), "lep6", pair, "fetch") == SIZE


@BY_KIND
def test_a_file_from_disk_in_plaintext(measure_pair, a_pair, staging, kind):
    with a_pair("grpcio", staging / "1" / RECONSTRUCTED) as pair:
        assert measure_pair(fetch_from("disk", kind), "grpcio, plaintext", pair, "fetch") == SIZE
