"""Streams and calls over loopback, both ends as processes: lep6 against grpclib and grpcio at the same work."""

import sys

import pytest

MIB = 1 << 20
SIZE = 256 * MIB
CALLS = 1600
AT_ONCE = 16

KINDS = {
    "lep6": ("lep6", 16 << 10),
    "lep6, frames of 128 KiB": ("lep6", 128 << 10),
    "lep6, frames of a chunk": ("lep6", MIB + 64),
    "grpclib": ("grpclib",),
    "grpcio": ("grpcio",),
}
"""Ours first with the frames that everybody takes, then with larger ones, which two of ours may agree upon."""
OTHERS = ("grpclib", "grpcio")
STREAM = f"stream of {SIZE // MIB} MiB in chunks of 1 MiB"
ONE_BY_ONE = f"{CALLS} calls, one at a time"
MANY = f"{CALLS} calls, {AT_ONCE} at a time"
FETCH = f"artefact stream of {SIZE // MIB} MiB from disk"


@pytest.fixture(scope="module")
def measured(request):
    """The best seconds by job and kind; printed as ratios when all is done."""
    measured = {}
    yield measured
    if measured and request.config.getoption("benchmark_enable"):
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            sys.stdout.write(f"\n{table(measured)}\n")


def table(measured):
    """A line for each job and kind of ours, with what it is to the others."""
    lines = [f"{'':<60}{'lep6':>14}{'to grpclib':>12}{'to grpcio':>12}"]
    for job in dict.fromkeys(job for job, _ in measured):
        seconds = {kind: best for (its_job, kind), best in measured.items() if its_job == job}
        amount, unit = (CALLS, "calls/s") if "calls" in job else (SIZE // MIB, "MiB/s")
        for kind in (kind for kind in seconds if kind.startswith("lep6")):
            ratios = [
                f"{seconds[other] / seconds[kind]:>12.2f}" if other in seconds else f"{'':>12}" for other in OTHERS
            ]
            rate = f"{amount / seconds[kind]:.0f} {unit}"
            lines.append(f"{job + kind.removeprefix('lep6'):<60}{rate:>14}{''.join(ratios)}")
        rates = {other: f"{amount / seconds[other]:.0f} {unit}" for other in OTHERS if other in seconds}
        lines += [f"    {other:<56}{rate:>14}" for other, rate in rates.items()]
    return "\n".join(lines)


@pytest.fixture
def measure(benchmark, measure_pair, measured):
    def measure(job, kind, pair, *words):
        result = measure_pair(job, kind, pair, *words)
        if benchmark.enabled:
            measured[job, kind] = benchmark.stats.stats.min
        return result

    return measure


@pytest.fixture(scope="module")
def pair(request, a_pair):
    with a_pair(*KINDS[request.param]) as pair:
        yield request.param, pair


ALL = pytest.mark.parametrize("pair", KINDS, indirect=True)
ONE_OF_OURS = pytest.mark.parametrize("pair", ["lep6", *OTHERS], indirect=True)


@ALL
def test_a_stream(measure, pair):
    assert measure(STREAM, *pair, "stream") == SIZE


@ONE_OF_OURS
def test_calls_one_at_a_time(measure, pair):
    assert measure(ONE_BY_ONE, *pair, "calls", CALLS, 1) == CALLS


@ONE_OF_OURS
def test_calls_at_once(measure, pair):
    assert measure(MANY, *pair, "calls", CALLS, AT_ONCE) == CALLS


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in OTHERS])
def test_a_file_from_disk(measure, a_pair, staging, kind):
    with a_pair(*KINDS[kind], staging) as pair:
        assert measure(FETCH, kind, pair, "fetch") == SIZE
