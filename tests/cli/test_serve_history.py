"""`serve --history FILE`: somebody else's history, by somebody without rights, without bpf(2), and without leaving a trace."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.cli.conftest import COMMAND, ROOT, Done, environment, folder, run_in
from tests.cli.made import flow, flow_key, flows

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

NOBODY = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
"""Not root, and no capability where it counts."""


@pytest.fixture(scope="module")
def file() -> Iterator[Path]:
    """A history of one map, as a file to attach to a report."""
    with folder() as path, flows([(flow_key("10.0.0.1", n), flow(n, b"a")) for n in range(50)]) as map_id:
        data, target = path / "data", path / "report" / "incident.db"
        target.parent.mkdir(mode=0o777)
        target.parent.chmod(0o777)
        for _ in range(2):
            assert run_in(data, "snapshot", map_id, "--label", "before").status == 0
        done = run_in(data, "snapshot", "export", "--map", map_id, "--output", target)
        assert done.status == 0, done
        target.chmod(0o644)
        yield target


@pytest.mark.parametrize("before", [pytest.param((), id="root"), pytest.param(NOBODY, id="nobody")])
def test_pages_of_a_history_by_itself(file: Path, tmp_path: Path, before: tuple[str, ...]) -> None:
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [*before, *COMMAND, "serve", "--history", str(file), "--listen", "127.0.0.1:0"],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True, env={**environment(tmp_path), "BPF_ATLAS_DATA": ""},
        )  # fmt: skip
    try:
        lines = iter(process.stdout or ())
        link = next(match[0] for line in lines if (match := re.search(r"http\S+/login\?token=\S+", line)))
        origin = link.partition("/login")[0]
        with requests.Session() as session:
            assert session.get(link, timeout=30).url == f"{origin}/snapshots"
            listed = session.get(f"{origin}/api/v1/snapshots", timeout=30).json()["snapshots"]
            assert [each["label"] for each in listed] == ["before"] * 2
            refs = [each["ref"] for each in listed]
            series = listed[0]["series"]["id"]
            for path in (
                "/snapshots", f"/series/{series}", f"/snapshots/{refs[0]}", f"/diff?a={refs[1]}&b={refs[0]}",
                f"/series/{series}/entries/{flow_key('10.0.0.1', 3).hex()}", f"/api/v1/diff?a={refs[1]}&b={refs[0]}",
            ):  # fmt: skip
                answer = session.get(origin + path, timeout=30)
                assert answer.status_code == 200, (path, answer.text[:500])
            assert "10.0.0.1" in session.get(f"{origin}/snapshots/{refs[0]}", timeout=30).text
            bar = re.search('<span class="host">.*?</span>', session.get(f"{origin}/snapshots", timeout=30).text)
            assert bar is not None
            assert os.uname().nodename in bar[0]
            assert os.uname().release not in bar[0]  # of whoever looks, and nobody knows that of the history's
            assert session.get(f"{origin}/maps/1", timeout=30).status_code == 404
            assert session.get(f"{origin}/healthz", timeout=30).status_code == 200
    finally:
        process.terminate()
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def refused(*words: object) -> Done:
    with folder() as path:
        return run_in(path, "serve", *words)


def test_what_is_no_history_is_refused_in_one_sentence(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("not a history")
    for words, said in (
        (["--history", tmp_path / "none.db"], "there is no history at"),
        (["--history", other], "is no history of bpf-atlas"),
        (["--history", file, "--demo"], "neither --demo nor --allow-edits"),
    ):
        done = refused(*words)
        assert done.status in {1, 2}
        assert said in done.complaint
        assert done.complaint.count("\n") == 1
