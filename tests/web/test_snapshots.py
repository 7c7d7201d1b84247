"""The history's pages over real snapshots of real maps: what was kept, one map's timeline, entries as they were."""

from __future__ import annotations

import contextlib
import html
import io
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from app.broker.local import client as local_client
from app.history.database import open_reading, sqlite_url
from app.history.history import History
from app.settings import Settings
from app.uapi import objects
from app.uapi.enums import BpfMapType
from app.uapi.syscall import MapSpec, map_delete, map_update
from app.web.factory import create_app
from app.wire.accounts import Credential
from tests.columns import kernel_maps
from tests.livemaps import live_map, u32
from tests.web.conftest import PASSWORD, LocalClient, browser
from tests.web.recording import Recording, recording

pytestmark = pytest.mark.kernel

SOURCE = "struct rule { unsigned int limit, hits; char name[16]; }; int use_0(struct rule *p) { return 0; }"
ATTACK = b"<img onerror=a(1)>"
NAME = "web_history"


@pytest.fixture(scope="module")
def blob(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return kernel_maps.compile_btf(SOURCE, tmp_path_factory.mktemp("btf"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, listen="127.0.0.1:8470", allow_edits=True, audit_copies=())


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    with local_client(settings) as client:
        for role in ("viewer", "editor", "admin", "auditor"):
            client.user_add(Credential(source="cli"), role, role, PASSWORD)
        yield create_app(settings, client)


@pytest.fixture
def recorder(app: Flask, settings: Settings) -> Iterator[Recording]:
    with recording(settings, app.extensions["client"]) as found:
        yield found


@contextlib.contextmanager
def rules(blob: bytes, name: str = NAME, count: int = 5) -> Iterator[tuple[int, int]]:
    """(descriptor, id) of a hash of rules: limit 10 + key, hits 7."""
    btf = kernel_maps.parse(blob)
    spec = {"key_size": 4, "value_size": 24, "max_entries": max(count, 1) * 2, "name": name.encode()}
    with kernel_maps.created(blob, btf.find("unsigned int")[0], btf.find("rule")[0], **spec) as (fd, map_id):
        for key in range(count):
            put(fd, key)
        yield fd, map_id


def put(fd: int, key: int, limit: int = 0, hits: int = 7, name: bytes = b"plain") -> None:
    map_update(fd, u32(key), u32(limit or 10 + key) + u32(hits) + name.ljust(16, b"\0")[:16])


def person(app: Flask, role: str) -> LocalClient:
    return browser(app, app.extensions["settings"], role)


@pytest.fixture
def editor(app: Flask) -> LocalClient:
    return person(app, "editor")


def cells(page: str) -> list[str]:
    """Texts of the table's cells."""
    return [html.unescape(text) for text in re.findall(r"<bdi>([^<]*)</bdi>", page)]
