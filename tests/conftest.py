"""Fixtures that every folder of tests may use. The demo is registered here alone: a host has room for one."""

from tests.demo_fixture import demo

__all__ = ["demo"]
