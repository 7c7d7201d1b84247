"""The image from the real Dockerfile, run as docs/container.md says, on this host's real maps."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.uapi import objects
from app.uapi.confine import BROKER, Capability
from app.uapi.syscall import map_update
from tests.columns.kernel_maps import compile_btf, created, types_of
from tests.container import powerless
from tests.container.running import CAPABILITIES, ROOT, Container, Image, running, status_of

pytestmark = [pytest.mark.container, pytest.mark.kernel, pytest.mark.slow]

PUBLISHED = "127.0.0.1:9470"
"""Where a browser would find the container's 8470, published under another port."""
ENVIRONMENT = {"BPF_ATLAS_INSECURE_HTTP": "1", "BPF_ATLAS_ALLOWED_HOSTS": PUBLISHED}
SOURCE = """
enum verdict { PASS = 0, DROP = 1 };
struct flow_key { __u32 saddr; __u16 sport; __u16 dport; };
struct flow { __u64 packets; enum verdict verdict; char comm[8]; __u32 mark; };
"""
STOPS_WITHIN_S = 12.0
"""Docker gives ten seconds before SIGKILL, and two for a busy machine."""


@dataclass(frozen=True)
class HostMap:
    """A map of the host, made outside the container."""

    id: int
    pin: str
    entries: list[dict[str, Any]]


@dataclass(frozen=True)
class Service:
    """A running container and somebody who is signed in."""

    container: Container
    login_path: str
    cookie: str

    def json(self, path: str) -> Any:
        answer = self.container.get(path, host=PUBLISHED, cookie=self.cookie)
        assert answer.status == 200, answer.body
        return answer.json()

    def row(self, map_id: int) -> dict[str, Any]:
        rows: list[dict[str, Any]] = self.json("/api/v1/maps")["maps"]
        [found] = [row for row in rows if row["id"] == map_id]
        return found

    def entries(self, map_id: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.json(f"/api/v1/maps/{map_id}/entries?sort=key.sport")["entries"]
        return found

    def capabilities(self) -> dict[str, bool]:
        done = self.container.execute("bpf-atlas", "doctor", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return {each["name"]: each["works"] for each in json.loads(done.stdout)["capabilities"]}


@contextlib.contextmanager
def service(image: Image, folder: Path, environment: Mapping[str, str] = ENVIRONMENT, **more: Any) -> Iterator[Service]:
    with running(image, folder, environment=dict(environment), **more) as container:
        path = container.login_path()
        answer = container.get(path, host=PUBLISHED)
        assert answer.status == 303, answer.body
        yield Service(container, path, answer.headers["Set-Cookie"].split(";")[0])


@pytest.fixture(scope="module")
def host_map(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostMap]:
    folder = tmp_path_factory.mktemp("types")
    names = ("struct flow_key", "struct flow")
    _, [key_id, value_id] = types_of(SOURCE, folder, *names)
    keep = "".join(f"int use_{index}({name} *p) {{ return 0; }}\n" for index, name in enumerate(names))
    data = compile_btf(SOURCE + keep, folder)
    pin = f"/sys/fs/bpf/atlas_container_{os.getpid()}"
    entries = []
    with created(data, key_id, value_id, key_size=8, value_size=24, max_entries=16, name=b"ctr_flows") as (fd, map_id):
        for number in range(1, 6):
            key = (0x0A000000 + number).to_bytes(4, "little") + number.to_bytes(2, "little") + b"\xbb\x01"
            comm = f"job{number}".encode()
            value = (2**60 + number).to_bytes(8, "little") + bytes([number % 2, 0, 0, 0]) + comm.ljust(8, b"\0")
            map_update(fd, key, value + number.to_bytes(4, "little"))
            entries.append(
                {
                    "key": {"saddr": 0x0A000000 + number, "sport": number, "dport": 443},
                    "value": {
                        "packets": 2**60 + number,
                        "verdict": ("PASS", "DROP")[number % 2],
                        "comm": comm.decode(),
                        "mark": number,
                    },
                }
            )
        objects.obj_pin(pin, fd)
        try:
            yield HostMap(map_id, pin, entries)
        finally:
            Path(pin).unlink()


@pytest.fixture(scope="module")
def live(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(image, tmp_path_factory.mktemp("bundle")) as running_service:
        yield running_service


def test_the_hosts_maps_are_seen_with_their_entries_decoded(live: Service, host_map: HostMap) -> None:
    assert live.entries(host_map.id) == host_map.entries
    row = live.row(host_map.id)
    assert (row["name"], row["btf"], row["entries"], row["pins"]) == ("ctr_flows", True, 5, [host_map.pin])


def test_with_the_profile_for_edits_a_field_of_the_hosts_map_is_edited_and_taken_back(
    image: Image, host_map: HostMap, tmp_path: Path
) -> None:
    profile = json.loads((ROOT / "deploy" / "seccomp-edits.json").read_text())
    environment = {**ENVIRONMENT, "BPF_ATLAS_ALLOW_EDITS": "1"}
    with service(image, tmp_path, environment, seccomp=profile) as editing:
        key = json.dumps(host_map.entries[2]["key"])
        change = [
            "edit",
            str(host_map.id),
            "--key",
            key,
            "--set",
            "value.mark=99",
            "--reason",
            "in a container",
            "--json",
        ]
        done = editing.container.execute("bpf-atlas", *change)
        assert done.returncode == 0, done.stdout + done.stderr
        report = json.loads(done.stdout)
        expected = [*host_map.entries]
        expected[2] = {**expected[2], "value": {**expected[2]["value"], "mark": 99}}
        assert editing.entries(host_map.id) == expected
        undo = editing.container.execute("bpf-atlas", "undo", str(report["audit"]), "--reason", "enough")
        assert undo.returncode == 0, undo.stdout + undo.stderr
        assert editing.entries(host_map.id) == host_map.entries
        verified = editing.container.execute("bpf-atlas", "audit", "--verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr


def test_pages_come_with_their_templates_and_styles(live: Service, host_map: HostMap) -> None:
    page = live.container.get(f"/maps/{host_map.id}", host=PUBLISHED, cookie=live.cookie)
    assert page.status == 200
    assert b"ctr_flows" in page.body
    [style] = [part.split('"')[0] for part in page.body.decode().split('href="') if part.split('"')[0].endswith(".css")]
    assert live.container.get(style, host=PUBLISHED).status == 200


def test_login_link_is_of_no_use_a_second_time(live: Service) -> None:
    assert live.container.get(live.login_path, host=PUBLISHED).status in {401, 403}
    assert live.container.get("/api/v1/maps", host=PUBLISHED).status == 401


def test_only_the_names_that_it_was_given_are_answered(live: Service) -> None:
    assert live.container.get("/healthz", host="127.0.0.1:8470").status == 200
    for host in ("rebound.example", "127.0.0.1:9471", "198.51.100.7:8470"):
        assert live.container.get("/healthz", host=host).status == 421, host


def test_web_and_recorder_have_neither_root_nor_any_capability(live: Service) -> None:
    pids = live.container.pids()
    assert len(pids["web"]) == 2  # gunicorn's two
    for part, uid in (("web", "58470"), ("recorder", "58471")):
        for pid in pids[part]:
            status = status_of(pid)
            assert status["Uid"].split() == status["Gid"].split() == [uid] * 4
            assert status["Groups"] == ""
            for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                assert int(status[kind], 16) == 0, (part, kind)
            assert status["NoNewPrivs"] == "1"
            assert int(status["Seccomp_filters"]) >= 2  # the container's and its own


def test_broker_keeps_exactly_three_capabilities(live: Service) -> None:
    [pid] = live.container.pids()["broker"]
    status = status_of(pid)
    three = sum(1 << each for each in BROKER)
    assert three == 1 << Capability.BPF | 1 << Capability.PERFMON | 1 << Capability.SYS_ADMIN
    for kind in ("CapPrm", "CapEff", "CapBnd"):
        assert int(status[kind], 16) == three, kind
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0


def test_nothing_else_runs_in_the_container(live: Service) -> None:
    assert {part: len(pids) for part, pids in live.container.pids().items()} == {
        "supervisor": 1,
        "broker": 1,
        "recorder": 1,
        "web": 2,
    }


def test_doctor_finds_what_the_container_allows(live: Service) -> None:
    works = live.capabilities()
    assert {name for name, it_does in works.items() if not it_does} == {"processes"}
    assert works["passing"]


def test_container_is_healthy_by_its_own_check(live: Service, image: Image) -> None:
    kind, *command = image.config["Healthcheck"]["Test"]
    done = live.container.execute(*command)
    assert (kind, done.returncode) == ("CMD", 0), done.stdout + done.stderr
    assert '"broker":"ok"' in done.stdout


def test_health_check_fails_where_nothing_answers() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "deploy" / "healthcheck.py")],
        check=False,
        env={"BPF_ATLAS_LISTEN": "0.0.0.0:1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout == "the web does not answer: [Errno 111] Connection refused\n"


@pytest.mark.parametrize(
    ("attempt", "refusal"),
    [
        pytest.param("open('/opt/bpf-atlas/mark', 'w')", "OSError 30", id="write to the image"),
        pytest.param("objects.obj_pin('/sys/fs/bpf/mark', own())", "NotPermitted", id="pin a map"),
        pytest.param("map_update(own(), bytes(4), bytes(4))", "NotPermitted", id="write an entry"),
        pytest.param("map_update(objects.obj_get(PIN), bytes(8), bytes(24))", "NotPermitted", id="write a pinned map"),
        pytest.param("map_delete(own(), bytes(4))", "NotPermitted", id="delete an entry"),
        pytest.param(
            "call('int unshare(int);', 'unshare', 0x20000000)", "PermissionError 1", id="leave the namespaces"
        ),
        pytest.param("socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", "PermissionError 1", id="listen to the wire"),
    ],
)
def test_even_the_containers_root_is_refused(live: Service, host_map: HostMap, attempt: str, refusal: str) -> None:
    script = f"""
import os, socket
from cffi import FFI
from app.uapi import objects
from app.uapi.syscall import MapSpec, map_create, map_delete, map_update

PIN = {host_map.pin!r}

def call(declaration, name, *arguments):
    ffi = FFI()
    ffi.cdef(declaration)
    if getattr(ffi.dlopen(None), name)(*arguments):
        raise OSError(ffi.errno, name)

def own():
    return map_create(MapSpec(type=1, key_size=4, value_size=4, max_entries=1))

try:
    {attempt}
except OSError as error:
    print(type(error).__name__, error.errno)
except Exception as error:
    print(type(error).__name__)
"""
    done = live.container.execute("/opt/bpf-atlas/bin/python", "-c", script)
    assert done.stdout.strip() == refusal, done.stderr


def test_sigterm_stops_all_of_it_and_the_data_serves_again(image: Image, tmp_path: Path, host_map: HostMap) -> None:
    for _ in range(2):
        with service(image, tmp_path) as again:
            assert again.entries(host_map.id) == host_map.entries
            again.container.signal("TERM")
            began_s = time.monotonic()
            assert again.container.ended(STOPS_WITHIN_S) == 0, again.container.logged
            assert time.monotonic() - began_s < STOPS_WITHIN_S
            assert "Traceback" not in again.container.logged
    assert not (tmp_path / "data" / "broker.sock").exists()


def test_plain_http_beyond_loopback_has_to_be_asked_for(image: Image, tmp_path: Path) -> None:
    with running(image, tmp_path, environment={}) as container:
        assert container.ended(20) != 0
        assert "0.0.0.0 is not loopback" in container.logged
        assert "BPF_ATLAS_INSECURE_HTTP=1" in container.logged


def test_broker_reads_where_the_powerless_may_not(image: Image, tmp_path: Path, host_map: HostMap) -> None:
    listener = tmp_path / "ask.sock"
    with (
        powerless.refusing(listener) as refuser,
        service(image, tmp_path, seccomp=powerless.asking_profile(listener)) as proxied,
    ):
        assert refuser.refused  # the broker's child that is nobody
        tried, let = len(refuser.refused), refuser.let
        assert proxied.entries(host_map.id) == host_map.entries
        assert not proxied.capabilities()["passing"]
        assert refuser.let > let  # the broker's calls
        assert len(refuser.refused) == tried  # the web did not even try


def test_processes_are_found_with_the_hosts_pids(image: Image, tmp_path: Path, host_map: HostMap) -> None:
    with service(image, tmp_path, host_pids=True) as wide:
        assert os.getpid() in {holder["pid"] for holder in wide.row(host_map.id)["pids"]}
        assert wide.capabilities()["processes"]


def test_image_carries_the_service_and_nothing_of_the_machine_that_built_it(image: Image) -> None:
    home = image.tree / "opt" / "bpf-atlas"
    found = {path.name for path in next(home.glob("lib/python3.*")).joinpath("site-packages").iterdir()}
    assert {"app", "numpy", "flask"} <= found
    assert not found & {"pip", "setuptools", "demo", "tests", "pytest"}
    assert not (image.tree / "opt" / "pip").exists()
    for path in [*home.glob("bin/*"), home / "pyvenv.cfg"]:
        if path.is_file() and not path.is_symlink():
            assert str(ROOT) not in path.read_text(errors="replace"), path
    assert str(ROOT) not in json.dumps(image.config)
    assert list(home.rglob("app/web/__pycache__/factory.*.pyc"))  # a read-only root cannot make it up


def test_capabilities_given_are_all_that_the_container_has(live: Service) -> None:
    [pid] = live.container.pids()["supervisor"]
    status = status_of(pid)
    given = sum(1 << number for number in CAPABILITIES.values())
    for kind in ("CapPrm", "CapEff", "CapBnd"):
        assert int(status[kind], 16) == given, kind
