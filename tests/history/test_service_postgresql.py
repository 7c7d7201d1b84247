"""The whole service over PostgreSQL: recorder, commands and pages by the one setting."""

from __future__ import annotations

import time

import pytest
import requests

from app.uapi import syscall
from app.uapi.enums import BpfMapType
from app.uapi.objects import map_info
from app.uapi.syscall import MapSpec
from tests.cli.conftest import folder, run_in, start
from tests.livemaps import live_map, u32, u64

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def test_snapshots_of_a_live_map_go_to_postgresql_and_come_back(
    fresh_postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"BPF_ATLAS_DATABASE_URL": fresh_postgresql.replace("+psycopg", "")}  # as people write it
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=8, max_entries=4, name=b"pg_map")
    with live_map(spec, [(u32(1), u64(1))]) as fd, folder() as path:
        map_id = map_info(fd).id
        # The environment of tests leaves out all settings but those that are named.
        monkeypatch.setattr("tests.cli.conftest.environment", _with(env))
        service = start(path / "data")
        try:
            first = service.run("snapshot", map_id, "--json", env=env)
            assert first.status == 0, f"{first}\n{service.log.read_text()[-3000:]}"
            syscall.map_update(fd, u32(1), u64(2))
            second = service.run("snapshot", map_id, "--json", env=env)
            refs = [done.document[0]["ref"] for done in (first, second)]
            told = service.run("diff", *refs, "--json", env=env).document
            assert told["counts"]["changed"] == 1
            assert not (path / "data" / "history" / "history.db").exists()
            with requests.Session() as session:
                session.get(service.link, timeout=30)
                listed = session.get(service.origin + "/snapshots", timeout=30)
                assert listed.status_code == 200, (
                    listed.text[listed.text.index("<main") :][:1500] + service.log.read_text()[-3000:]
                )
                assert "pg_map" in listed.text
                assert session.get(f"{service.origin}/snapshots/{refs[0]}", timeout=30).status_code == 200
            # A second recorder of this host, over the same database, refuses.
            again = run_in(path / "other", "snapshot", map_id, env=env)
            assert again.status == 3
            assert "another recorder writes the history" in again.complaint
        finally:
            assert service.stop() == 0
        time.sleep(0.2)
        assert run_in(path / "other", "snapshots", "--json", env=env).document[0]["ref"] == refs[1]


def _with(env: dict[str, str]) -> object:
    from tests.cli import conftest

    plain = conftest.environment

    def environment(data: object, more: dict[str, str] | None = None) -> dict[str, str]:
        return plain(data, {**env, **(more or {})})  # type: ignore[arg-type]

    return environment
