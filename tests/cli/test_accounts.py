"""`user`, `token` and `login` as root runs them, without a service and beside one."""

from __future__ import annotations

import os
import pty
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.cli.conftest import COMMAND, ROOT, Done, Service, environment, folder, run_in

pytestmark = pytest.mark.kernel
PASSWORD = "correct horse 42"


@pytest.fixture
def data() -> Iterator[Path]:
    with folder() as path:
        yield path / "data"


def typed(data: Path, text: str, *words: str) -> Done:
    """A command whose standard input is that text."""
    done = subprocess.run(
        [*COMMAND, *words],
        cwd=ROOT,
        input=text.encode(),
        capture_output=True,
        env=environment(data),
        timeout=60,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return Done(done.returncode, done.stdout, done.stderr.decode())


def test_users_come_change_and_go(data: Path) -> None:
    assert run_in(data, "user", "list", "--json").document == [
        {"name": "root", "role": "admin", "has_password": False, "created_at_s": run_in(data, "user", "list", "--json").document[0]["created_at_s"], "seen_at_s": 0}
    ]  # fmt: skip
    added = typed(data, f"{PASSWORD}\nmore\n", "user", "add", "alice", "--role", "editor", "--password-stdin")
    assert (added.status, added.text, added.complaint) == (0, "alice is editor\n", "")
    assert run_in(data, "user", "add", "bob", "--no-password").text == "bob is viewer, without a password\n"
    rows = {each["name"]: each for each in run_in(data, "user", "list", "--json").document}
    assert {name: (row["role"], row["has_password"]) for name, row in rows.items()} == {
        "alice": ("editor", True), "bob": ("viewer", False), "root": ("admin", False),
    }  # fmt: skip
    assert re.search(r"^alice +editor +yes ", run_in(data, "user", "list").text, re.MULTILINE)
    assert run_in(data, "user", "role", "bob", "auditor").text == "bob is auditor\n"
    assert typed(data, f"{PASSWORD}\n", "user", "passwd", "bob", "--password-stdin").status == 0
    assert run_in(data, "user", "remove", "alice").status == 0
    assert {each["name"]: each["role"] for each in run_in(data, "user", "list", "--json").document} == {
        "bob": "auditor", "root": "admin",
    }  # fmt: skip
    codes = [each["code"] for each in run_in(data, "audit", "--json").document][::-1]
    assert codes == ["user.add", "user.add", "user.role", "user.password", "user.remove"]


@pytest.mark.parametrize(
    ("status", "text", "words", "says"),
    [
        (1, "", "user remove nobody", "there is no such user"),
        (1, "", "user role nobody viewer", "there is no such user"),
        (1, "", "user remove root", "stays"),
        (1, "", "user role root viewer", "stays one"),
        (1, "", "user add root --no-password", "there is a user root already"),
        (2, "", "user role root boss", "'boss' is not one of"),
        (2, "short\n", "user add eve --password-stdin", "at least 10 characters"),
        (2, "password1234\n", "user passwd root --password-stdin", "tried first"),
        (2, "\n", "user passwd root --password-stdin", "at least 10 characters"),
        (2, "", "user passwd root", "--password-stdin"),
        (2, "", "user add a\u202eb --no-password", "1 to 64 printable characters"),
        (2, "", "user add eve --no-password --password-stdin", "one at a time"),
        (1, "", "token revoke nothing", "there is no such token"),
        (1, "", "token create --user nobody --label x", "there is no such user"),
        (2, "", "token create", "--label"),
        (2, "", "token create --label x --days 366", "--days"),
        (2, "", "token create --label x --scope write", "--scope"),
        (1, "", "login", "no dashboard runs"),
    ],
)
def test_what_is_refused_is_one_line(data: Path, status: int, text: str, words: str, says: str) -> None:
    done = typed(data, text, *words.split())
    assert (done.status, done.raw) == (status, b""), done
    assert says in done.complaint
    assert done.complaint.count("\n") == 1


def test_tokens_are_shown_once(data: Path) -> None:
    run_in(data, "user", "add", "alice", "--role", "editor", "--no-password")
    made = run_in(data, "token", "create", "--user", "alice", "--label", "ci", "--scope", "edit", "--days", "7")
    assert re.fullmatch(r"bpa_[\w-]{43}\n", made.text)
    assert "shown this once" in made.complaint
    (row,) = run_in(data, "token", "list", "--json").document
    assert (row["user"], row["label"], row["scope"]) == ("alice", "ci", "edit")
    assert row["ends_at_s"] - row["created_at_s"] == 7 * 24 * 3600
    listed = run_in(data, "token", "list").text
    assert made.text.strip() not in listed
    assert run_in(data, "token", "revoke", row["id"]).status == 0
    assert run_in(data, "token", "list", "--json").document == []


def test_the_files_are_roots_alone(data: Path) -> None:
    run_in(data, "user", "list")
    assert stat.S_IMODE((data / "broker").stat().st_mode) == 0o700
    for path in (data / "broker").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def on_a_terminal(data: Path, answers: list[str], *words: str) -> tuple[int, str]:
    """Exit status and all that was shown; answers are typed one by one at their prompts."""
    pid, master = pty.fork()
    if not pid:
        os.chdir(ROOT)
        os.execve(sys.executable, [*COMMAND, *words], environment(data))
    shown = b""
    end_s = time.monotonic() + 60
    for answer in answers:
        before = len(shown)
        while not (shown.endswith(b": ") and len(shown) > before) and time.monotonic() < end_s:
            shown += os.read(master, 1000)
        time.sleep(0.2)  # the prompt comes a moment before getpass throws away what was typed too early
        os.write(master, answer.encode() + b"\n")
    while True:
        try:
            piece = os.read(master, 1000)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_on_a_terminal_the_password_is_asked_for_twice_and_not_shown(data: Path) -> None:
    status, shown = on_a_terminal(data, [PASSWORD, PASSWORD], "user", "add", "alice", "--role", "editor")
    assert status == 0, shown
    assert "alice is editor" in shown
    assert "horse" not in shown
    (alice,) = [each for each in run_in(data, "user", "list", "--json").document if each["name"] == "alice"]
    assert alice["has_password"]
    status, shown = on_a_terminal(data, [PASSWORD, "another horse", PASSWORD, PASSWORD], "user", "passwd", "alice")
    assert status == 0, shown


@pytest.mark.slow
def test_beside_a_service_its_broker_does_it(own_service: Service) -> None:
    add = ("user", "add", "alice", "--role", "editor", "--password-stdin")
    assert typed(own_service.data, f"{PASSWORD}\n", *add).status == 0
    browser = requests.Session()
    answer = browser.post(
        own_service.origin + "/login",
        data={"name": "alice", "password": PASSWORD},
        headers={"Origin": own_service.origin},
        timeout=30,
        allow_redirects=False,
    )
    assert answer.status_code == 303
    assert browser.get(own_service.origin + "/api/v1/maps", timeout=30).status_code == 200
    value = own_service.run("token", "create", "--user", "alice", "--label", "ci").text.strip()
    bearer = {"Authorization": f"Bearer {value}"}
    assert requests.get(own_service.origin + "/api/v1/maps", headers=bearer, timeout=30).status_code == 200
    link = own_service.run("login", "--user", "alice").text.strip()
    other = requests.Session()
    assert other.get(link, timeout=30, allow_redirects=False).status_code == 303
    assert own_service.run("user", "remove", "alice").status == 0
    for session in (browser, other):
        assert session.get(own_service.origin + "/api/v1/maps", timeout=30).status_code == 401
    assert requests.get(own_service.origin + "/api/v1/maps", headers=bearer, timeout=30).status_code == 401
    assert own_service.run("login", "--user", "alice").status == 1
