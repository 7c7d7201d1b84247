"""The image, built once a session, and what its tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.container.running import Image, built

TOOLS = ("buildah", "mmdebstrap", "runc")


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    assert os.geteuid() == 0, "a container with capabilities takes root: make test"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    assert not missing, f"{' and '.join(missing)} missing: tools/packages.sh test installs them"
    with built() as image:
        yield image
