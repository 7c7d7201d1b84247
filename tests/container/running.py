"""The image as a running container, by runc alone: what `docker run` with docs/container.md's options comes to."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cffi import FFI

ROOT = Path(__file__).resolve().parents[2]
STORE = ROOT / "build" / "image" / "store"
SECCOMP = ROOT / "deploy" / "seccomp.json"

CAPABILITIES = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_FOWNER": 3,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SETPCAP": 8,
    "CAP_SYS_ADMIN": 21,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}
"""What docs/container.md says to give, with the numbers of ``linux/capability.h``."""
OUTSIDE_ADDRESS = "198.51.100.7"
"""Another address of the container than loopback (TEST-NET-2), in its own network namespace alone."""
STARTS_WITHIN_S = 60.0
_CLONE_NEWNET = 0x40000000

_ffi = FFI()
_ffi.cdef("int setns(int fd, int kind);")
_C: Any = _ffi.dlopen(None)


@dataclass(frozen=True)
class Image:
    """An image's file tree and what it says of itself."""

    tree: Path
    config: dict[str, Any]

    @property
    def environment(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for pair in self.config["Env"])


def buildah(*arguments: str) -> str:
    done = subprocess.run(
        ["buildah", "--root", str(STORE), "--runroot", str(STORE / "run"), *arguments],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"buildah {arguments}: {done.stderr}"
    return done.stdout.strip()


@contextlib.contextmanager
def built() -> Iterator[Image]:
    """The image of this checkout, its tree mounted until the block ends."""
    tag = "bpf-atlas:test"
    done = subprocess.run(
        [str(ROOT / "tools" / "image.sh"), "--store", str(STORE), tag],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    config = json.loads(buildah("inspect", "--type", "image", tag))["Docker"]["config"]
    container = buildah("from", "--pull-never", tag)
    try:
        yield Image(Path(buildah("mount", container)), config)
    finally:
        buildah("rm", container)


@dataclass
class Container:
    """One container; `logged` is all that it wrote, in order."""

    name: str
    bundle: Path
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def logged(self) -> str:
        return "".join(self.lines)

    def login_path(self) -> str:
        """Path and query of the one-time link, as soon as it is printed."""
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not (found := re.search(r"http://127\.0\.0\.1:8470(/login\?token=\S+)", self.logged)):
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.logged}"
            assert time.monotonic() < deadline, f"no login link: {self.logged}"
            time.sleep(0.05)
        return found[1]

    def pids(self) -> dict[str, list[int]]:
        """Host pids by part: supervisor, broker, recorder, web."""
        inside = Path(f"/proc/{self.init_pid}/ns/mnt").readlink()
        parts: dict[str, list[int]] = {}
        for name in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if name.isdecimal() and Path(f"/proc/{name}/ns/mnt").readlink() == inside:
                    words = Path(f"/proc/{name}/cmdline").read_text().split("\0")
                    part = next((word.removeprefix("app.") for word in words if word.startswith("app.")), "supervisor")
                    parts.setdefault(part, []).append(int(name))
        return parts

    @property
    def init_pid(self) -> int:
        return int(json.loads(_runc("state", self.name).stdout)["pid"])

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """As `docker exec` does."""
        return _runc("exec", self.name, *command)

    def get(self, path: str, *, host: str, cookie: str = "", address: str = OUTSIDE_ADDRESS) -> Answer:
        connection = http.client.HTTPConnection(address, 8470, timeout=30)
        connection.sock = self._connect(address)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Host": host, **({"Cookie": cookie} if cookie else {})})
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())

    def signal(self, name: str) -> None:
        assert _runc("kill", self.name, name).returncode == 0

    def ended(self, within_s: float) -> int:
        status = self.process.wait(within_s)
        self._reader.join(5)
        return status

    def close(self) -> None:
        self._reader.join(5)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _connect(self, address: str) -> socket.socket:
        """A connection made within the container's network namespace, where a thread of ours goes for it."""
        made: list[socket.socket | BaseException] = []

        def enter() -> None:
            try:
                with open(f"/proc/{self.init_pid}/ns/net", "rb") as namespace:
                    assert _C.setns(namespace.fileno(), _CLONE_NEWNET) == 0
                made.append(socket.create_connection((address, 8470), timeout=30))
            except BaseException as problem:
                made.append(problem)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if isinstance(made[0], BaseException):
            raise made[0]
        return made[0]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@contextlib.contextmanager
def running(
    image: Image,
    folder: Path,
    *,
    environment: dict[str, str],
    command: tuple[str, ...] = (),
    seccomp: dict[str, Any] | None = None,
    host_pids: bool = False,
) -> Iterator[Container]:
    """A container that is gone after the block, from a bundle made in `folder`; its /data is a folder in there."""
    data = folder / "data"
    data.mkdir(mode=0o755, exist_ok=True)
    name = f"bpf-atlas-test-{os.getpid()}-{time.monotonic_ns()}"
    config = bundle_config(
        image,
        name=name,
        data=data,
        environment=environment,
        command=command,
        seccomp=shipped_profile() if seccomp is None else seccomp,
        host_pids=host_pids,
    )
    (folder / "config.json").write_text(json.dumps(config))
    process = subprocess.Popen(
        ["runc", "run", "--bundle", str(folder), name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
        errors="backslashreplace",
    )
    container = Container(name, folder, process)
    try:
        yield container
    finally:
        _runc("delete", "--force", name)
        process.wait(20)
        container.close()


def bundle_config(
    image: Image,
    *,
    name: str,
    data: Path,
    environment: dict[str, str],
    command: tuple[str, ...],
    seccomp: dict[str, Any],
    host_pids: bool,
) -> dict[str, Any]:
    """The OCI runtime configuration: Docker's defaults, with the options of docs/container.md."""

    def mount(target: str, kind: str, source: str, *options: str) -> dict[str, Any]:
        return {"destination": target, "type": kind, "source": source, "options": list(options)}

    namespaces = ("ipc", "uts", "mount", "network", *(() if host_pids else ("pid",)))
    words = [*image.config["Entrypoint"], *(command or image.config["Cmd"])]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": words,
            "env": [f"{key}={value}" for key, value in (image.environment | environment).items()],
            "cwd": "/",
            "noNewPrivileges": True,
            "capabilities": {kind: list(CAPABILITIES) for kind in ("bounding", "effective", "permitted")},
            "rlimits": [],
        },
        "root": {"path": str(image.tree), "readonly": True},
        "hostname": "atlas-container",
        "mounts": [
            mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
            mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
            mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
            mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
            mount("/sys/fs/bpf", "bind", "/sys/fs/bpf", "rbind", "rslave", "ro"),
            mount("/tmp", "tmpfs", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777"),
            mount("/data", "bind", str(data), "rbind", "rw"),
        ],
        "hooks": {
            "createRuntime": [
                {
                    "path": "/bin/sh",
                    "args": [
                        "sh",
                        "-c",
                        "pid=$(sed -E 's/.*\"pid\":([0-9]+).*/\\1/'); "
                        f"nsenter --net=/proc/$pid/ns/net ip address add {OUTSIDE_ADDRESS}/32 dev lo",
                    ],
                    "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
                }
            ]
        },
        "linux": {
            "cgroupsPath": f"/{name}",
            "namespaces": [{"type": kind} for kind in namespaces],
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "seccomp": seccomp,
            "maskedPaths": [
                "/proc/acpi",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/proc/sched_debug",
                "/proc/scsi",
                "/sys/firmware",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


def shipped_profile() -> dict[str, Any]:
    profile: dict[str, Any] = json.loads(SECCOMP.read_text())
    return profile


def status_of(pid: int) -> dict[str, str]:
    """/proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _runc(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["runc", *arguments], check=False, capture_output=True, text=True, timeout=60)
