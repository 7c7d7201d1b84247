"""`serve` and what happens to its processes; commands beside it; and what it holds open."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from app.cli.supervise import STOP_S
from tests.cli.conftest import Done, Service, environment, folder, run_in, start
from tests.cli.made import bare_map, flow, flow_key, flows
from tests.livemaps import u32, u64
from tests.waiting import eventually

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

ENTRIES = [(flow_key("10.0.0.1", n), flow(n, b"a")) for n in range(50)]


def healthy(service: Service) -> bool:
    try:
        ready = requests.get(service.origin + "/readyz", timeout=2)
    except requests.RequestException:
        return False
    return ready.status_code == 200


def visit(service: Service, link: str | None = None) -> requests.Session:
    """A browser that came in by a login link."""
    session = requests.Session()
    answer = session.get(link or service.link, timeout=30, allow_redirects=False)
    assert answer.status_code in {200, 302, 303}, answer.text
    return session


def came_in(session: requests.Session, service: Service) -> bool:
    return session.get(service.origin + "/api/v1/maps", timeout=30).status_code == 200


def test_commands_give_the_same_answer_with_and_without_a_service(service: Service, no_service: Path) -> None:
    def steady(done: Done) -> object:
        rows = done.document if isinstance(done.document, list) else [done.document]
        for row in rows:
            row.pop("memory_bytes", None)
        return rows

    with flows(ENTRIES) as map_id, bare_map([(u32(1), u64(2))], name=b"cli_same") as bare:
        for words in (
            ["show", map_id, "--json"],
            ["dump", map_id, "--json", "--sort", "value.packets"],
            ["dump", map_id, "--json", "--where", "value.packets < 2"],
            ["dump", "name:cli_same", "--json"],
            ["dump", bare, "--json"],
        ):
            asked, alone = service.run(*words), run_in(no_service, *words)
            assert steady(asked) == steady(alone)
            assert (asked.status, asked.complaint) == (alone.status, alone.complaint) == (0, "")
        ours = {map_id, bare}
        lists = [service.run("maps", "--json").document, run_in(no_service, "maps", "--json").document]
        here, there = ([row for row in rows if row["id"] in ours] for rows in lists)
        assert here == there
        for status, words in (
            (1, ["dump", "name:cli_nobody"]),
            (2, ["dump", map_id, "--where", "value.x"]),
            (2, ["dump", "x"]),
        ):
            asked, alone = service.run(*words), run_in(no_service, *words)
            assert asked == alone
            assert asked.status == status


def test_the_service_says_who_answers(service: Service, no_service: Path) -> None:
    (broker,) = service.processes()["broker"]
    asked = service.run("doctor", "--json").document
    assert asked["pid"] == broker
    assert int(asked["effective_capabilities"], 16) == 0xC000200000
    alone = run_in(no_service, "doctor", "--json").document
    assert alone["pid"] != broker
    answers = [{one["name"]: one["works"] for one in each["capabilities"]} for each in (asked, alone)]
    # The broker gave up CAP_SYSLOG, with which root reads kernel addresses.
    assert answers[0] == answers[1]


def test_a_login_link_works_once(service: Service) -> None:
    link = service.run("login").text.strip()
    assert link.startswith(service.origin + "/login?token=")
    first = visit(service, link)
    assert came_in(first, service)
    again = requests.Session()
    again.get(link, timeout=30)
    assert not came_in(again, service)
    assert came_in(first, service)


def test_a_newer_login_link_replaces_an_unused_one(service: Service) -> None:
    older, newer = (service.run("login").text.strip() for _ in range(2))
    stale = requests.Session()
    stale.get(older, timeout=30)
    assert not came_in(stale, service)
    assert came_in(visit(service, newer), service)


def test_nothing_of_a_map_stays_open(own_service: Service) -> None:
    session = visit(own_service)
    with flows(ENTRIES, name="cli_open") as map_id:
        page = own_service.origin + f"/maps/{map_id}"
        for _ in range(5):
            for address in (
                page,
                f"{page}?where=value.packets+%3E+3&sort=-value.packets",
                f"{page}/schema",
                f"{page}/relations",
                own_service.origin + "/",
                own_service.origin + f"/api/v1/maps/{map_id}/entries?limit=10",
            ):
                assert session.get(address, timeout=30).status_code == 200, address
            assert session.get(page, timeout=30).status_code == 200
            assert own_service.run("dump", map_id, "--json").status == 0
        assert holders(own_service, "map_id", map_id) == []
        # The recorder looks by itself now and then; it holds nothing between two looks.
        assert eventually(lambda: holders(own_service, "map_id", map_id) == [])
    done = own_service.run("show", map_id)
    assert (done.status, "no map" in done.complaint) == (1, True), "the map outlived the last who wanted it"


def holders(service: Service, field: str, number: int) -> list[tuple[str, int, str]]:
    """(room, pid, descriptor) of everything that the service's processes hold of one bpf object."""
    found = []
    pattern = re.compile(rf"^{field}:\s+{number}$", re.MULTILINE)
    for room, pids in service.processes().items():
        for pid in pids:
            for info in Path(f"/proc/{pid}/fdinfo").iterdir():
                try:
                    text = info.read_text()
                except OSError:
                    continue
                if pattern.search(text):
                    found.append((room, pid, info.name))
    return found


def test_a_thousand_opens_through_the_broker_leave_no_descriptor(own_service: Service) -> None:
    from app.wire.connection import connect

    (broker,) = own_service.processes()["broker"]

    def opened() -> int:
        return len(os.listdir(f"/proc/{broker}/fd"))

    with bare_map([(u32(1), u64(1))]) as map_id, connect(own_service.data / "broker.sock") as client:
        client.hello()
        ours, theirs = len(os.listdir("/proc/self/fd")), opened()
        for _ in range(1000):
            _facts, fd = client.map_open(map_id)
            assert fd is not None
            os.close(fd)
        assert eventually(lambda: opened() == theirs)  # it closes its own after we have ours
        assert len(os.listdir("/proc/self/fd")) == ours
        assert holders(own_service, "map_id", map_id) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_within_seconds_and_leaves_nothing(own_service: Service, number: signal.Signals) -> None:
    assert own_service.processes().keys() == {"broker", "recorder", "web"}
    before_s = time.monotonic()
    own_service.process.send_signal(number)
    assert own_service.process.wait(30) == 0
    assert time.monotonic() - before_s < STOP_S, "not one of them had to be killed"
    assert own_service.processes() == {}
    assert not (own_service.data / "broker.sock").exists()


@pytest.mark.parametrize("room", ["broker", "recorder", "web"])
def test_what_dies_is_started_again(own_service: Service, room: str) -> None:
    session = visit(own_service)
    before = own_service.processes()[room]
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert eventually(
        lambda: set(own_service.processes().get(room, [])).isdisjoint(before) and room in own_service.processes()
    )
    assert eventually(lambda: healthy(own_service))
    assert came_in(session, own_service), "the session outlives a restart"
    with bare_map([(u32(1), u64(1))]) as map_id:
        assert eventually(lambda: session.get(f"{own_service.origin}/maps/{map_id}", timeout=30).status_code == 200)
        assert len(own_service.run("dump", map_id, "--json").document) == 1
    assert own_service.processes().keys() == {"broker", "recorder", "web"}
    assert f"the {room} process ended with status -9; starting it again" in own_service.log.read_text()


def test_a_worker_that_dies_is_replaced(own_service: Service) -> None:
    master, worker = own_service.processes()["web"]
    os.kill(worker, signal.SIGKILL)
    assert eventually(
        lambda: own_service.processes()["web"][0] == master and worker not in own_service.processes()["web"]
    )
    assert eventually(lambda: healthy(own_service))


def test_it_dies_again_and_again_and_is_waited_for(own_service: Service) -> None:
    for _ in range(3):
        (pid,) = own_service.processes()["recorder"]
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda old=pid: own_service.processes().get("recorder", [old]) != [old])  # type: ignore[misc]
    waits = re.findall(r"starting it again in (\S+) s", own_service.log.read_text())
    assert waits == ["0", "0.5", "1"]


def test_the_children_end_with_a_parent_that_was_killed(own_service: Service) -> None:
    own_service.process.kill()
    own_service.process.wait(30)
    assert eventually(lambda: own_service.processes() == {})


def test_it_starts_again_after_everything_was_killed(own_service: Service) -> None:
    for pids in own_service.processes().values():
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)  # so that nobody tidies up
    own_service.process.kill()
    own_service.process.wait(30)
    for pids in own_service.processes().values():
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: own_service.processes() == {})
    assert (own_service.data / "broker.sock").exists()
    again = start(own_service.data)
    try:
        assert came_in(visit(again), again)
    finally:
        assert again.stop() == 0


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    with folder() as path:
        yield path / "data"


def test_it_runs_from_where_only_root_can_go(elsewhere: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    service = start(elsewhere, cwd=tmp_path)
    try:
        assert healthy(service)
    finally:
        assert service.stop() == 0


def test_a_second_service_at_the_same_address(service: Service, elsewhere: Path) -> None:
    listen = service.origin.removeprefix("http://")
    done = run_in(elsewhere, "serve", "--listen", listen, "--data", elsewhere)
    assert (done.status, done.raw) == (1, b"")
    assert done.complaint == (
        f"bpf-atlas: cannot listen on {listen}: Address already in use; stop what does, or choose another with --listen HOST:PORT\n"
    )
    assert healthy(service)


def test_a_second_service_of_the_same_data(service: Service) -> None:
    before = service.processes()
    done = run_in(service.data, "serve", "--listen", "127.0.0.1:0")
    assert (done.status, done.raw) == (1, b"")
    assert "runs already: stop it, or choose another with --data" in done.complaint
    assert service.processes() == before


def test_sigterm_while_it_starts(elsewhere: Path) -> None:
    from tests.cli.conftest import COMMAND, ROOT

    for pause_s in (0.3, 0.6, 1.0):
        with subprocess.Popen(
            [*COMMAND, "serve", "--listen", "127.0.0.1:0", "--data", str(elsewhere)],
            cwd=ROOT, env=environment(elsewhere), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            time.sleep(pause_s)
            process.send_signal(signal.SIGTERM)
            _out, said = process.communicate(timeout=15)
        assert process.returncode in {0, -signal.SIGTERM}  # the latter before it heeded anything, with nothing started
        assert "Traceback" not in said
        assert Service(process, elsewhere, "", elsewhere).processes() == {}


def test_ipv6_and_an_address_that_is_none(elsewhere: Path) -> None:
    done = run_in(elsewhere, "serve", "--listen", "localhost.invalid:80")
    assert done.status == 2
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        port = probe.getsockname()[1]
        probe.listen()
        done = run_in(elsewhere, "serve", "--listen", f"[::1]:{port}")
    assert done.status == 1
    assert f"cannot listen on [::1]:{port}: Address already in use" in done.complaint
