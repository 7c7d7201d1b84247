"""Fixtures that every folder of tests may use. The demo is registered here alone: a host has room for one."""

import os

from hypothesis import HealthCheck, settings

from tests.demo_fixture import demo

__all__ = ["demo"]

# A test must not fail because a machine is slow. CI tries the same examples each time, a developer's run new ones.
settings.register_profile(
    "atlas", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("atlas")
