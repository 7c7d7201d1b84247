"""The web over real maps that mean it ill, the broker's code in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.broker.local import client as local_client
from app.settings import Settings
from app.web.factory import create_app
from tests.web.conftest import browser


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    settings = Settings(data=tmp_path, listen="127.0.0.1:8470", view_memory_mib=64)
    with local_client(settings) as client:
        yield create_app(settings, client)


@pytest.fixture
def someone(app: Flask) -> FlaskClient:
    return browser(app, app.extensions["settings"])
