"""What is compared here belongs to programs that these tests start: the session's demo rests meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.demo_fixture import RUNNING


@pytest.fixture(autouse=True, scope="module")
def without_the_demo() -> Iterator[None]:
    for each in RUNNING:
        each.stop()
    yield
    for each in RUNNING:
        each.start()
