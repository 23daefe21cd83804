"""Settings of the test suite."""

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

settings.register_profile(
    "lep6",
    deadline=None,  # the machine's speed is no property of the code
    derandomize=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("lep6")


@pytest.fixture(autouse=True)
def events_as_they_were() -> Iterator[None]:
    """Where events go, and which, is set for one test alone."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
