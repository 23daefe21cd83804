"""Settings of the test suite."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "lep6",
    deadline=None,  # the machine's speed is no property of the code
    derandomize=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("lep6")
