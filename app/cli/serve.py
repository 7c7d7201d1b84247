"""`bpf-atlas serve`."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import ipaddress
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

from app.cli.errors import AddressTaken, DataTaken, DataUnusable, Exposed, ServeNeedsRoot
from app.cli.service import listens
from app.cli.supervise import Part, Supervisor
from app.errors import BadSetting, UsageError
from app.settings import PREFIX, Settings, from_environment

RECORDER_S = 10.0
MALLOC = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
"""For glibc in the service's processes: what a sort took goes back to the system, not to one of 32 threads' heaps."""


@click.command("serve")
@click.option(
    "--listen", metavar="HOST:PORT", help="Where the web listens.  [default: 127.0.0.1:8470; env: BPF_ATLAS_LISTEN]"
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory of socket and secrets.  [default: /var/lib/bpf-atlas; env: BPF_ATLAS_DATA]",
)
@click.option("--demo", is_flag=True, help="Load the demo's programs and maps as well.")
@click.option(
    "--allow-edits", is_flag=True, help="Let editors edit, as far as roles and policy go.  [env: BPF_ATLAS_ALLOW_EDITS]"
)
@click.option(
    "--history",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Show this history by itself: no live maps, no root needed.",
)
def command(*, listen: str | None, data: Path | None, demo: bool, allow_edits: bool, file: Path | None) -> None:
    """Start the dashboard: broker, recorder and web. Prints a one-time login link.

    \b
    Examples:
      bpf-atlas serve
      bpf-atlas serve --demo --listen 127.0.0.1:9000 --data /tmp/atlas
      bpf-atlas serve --allow-edits
      bpf-atlas serve --history incident.db
    """
    if file is not None:
        if demo or allow_edits:
            raise UsageError("--history shows what was: neither --demo nor --allow-edits goes with it")
        with history_alone(file, data) as folder:
            serve(from_environment(listen=listen, data=folder), demo=False)
        return
    settings = from_environment(
        listen=listen, data=data.absolute() if data else None, allow_edits=True if allow_edits else None
    )
    if os.geteuid() != 0:
        raise ServeNeedsRoot
    serve(settings, demo=demo)


def serve(settings: Settings, *, demo: bool) -> None:
    """Run the service until SIGTERM or SIGINT."""
    if listens(settings.socket):
        raise DataTaken(settings.data)
    with _bound(settings) as listener, _claimed(settings.data):
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        settings = dataclasses.replace(settings, listen=shown, data=settings.data.absolute())
        for name, value in MALLOC.items():
            os.environ.setdefault(name, value)
        # By environment, as every other setting reaches the processes: a flag here counts more than what was set there.
        os.environ["BPF_ATLAS_ALLOW_EDITS"] = "1" if settings.allow_edits else "0"
        data = ["--data", str(settings.data)]
        supervisor = Supervisor(say=lambda text: print(f"bpf-atlas: {text}", file=sys.stderr, flush=True))
        supervisor.heed_signals()
        try:
            supervisor.start(Part("broker", ["-m", "app.broker", *data]), is_ready=lambda: _answers(settings))
            if not settings.is_alone:
                recorder = Part("recorder", ["-m", "app.recorder", *data])
                supervisor.start(recorder, is_ready=lambda: True)
                _wait_for(recorder, settings)
            web = ["-m", "app.web", "--listen-fd", str(listener.fileno()), *data]
            supervisor.start(Part("web", web, pass_fds=(listener.fileno(),)), is_ready=lambda: _healthy(shown))
            if demo:
                supervisor.start(Part("demo", ["-m", "demo"]), is_ready=lambda: True)
            if not supervisor.stopping:
                _greet(settings)
            supervisor.run()
        finally:
            supervisor.stop()


@contextlib.contextmanager
def history_alone(file: Path, data: Path | None) -> Iterator[Path]:
    """The data directory of a service that shows one history by itself; without one that was named, it goes with the service.

    raises  NoHistory, NotAHistory, TooNew, DatabaseUnusable
    """
    from app.history.database import Upkeep, open_reading, sqlite_url

    open_reading(sqlite_url(file.absolute()), Upkeep.NOBODY).close()
    with tempfile.TemporaryDirectory(prefix="bpf-atlas-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        chosen = {"history_file": file.absolute(), "web_user": os.geteuid()}
        if os.geteuid() == 0:  # the web becomes somebody else, who may not be let in where the file is
            chosen = {"history_file": folder / "history.db"}
            shutil.copyfile(file, folder / "history.db")
            (folder / "history.db").chmod(0o644)
        for setting, value in chosen.items():
            os.environ[f"{PREFIX}{setting.upper()}"] = str(value)
        yield data.absolute() if data else folder / "data"


@contextlib.contextmanager
def _claimed(data: Path) -> Iterator[None]:
    """The data directory, made, and this service's alone: also while its broker is being started again.

    raises  DataUnusable, DataTaken
    """
    try:
        data.mkdir(mode=0o755, parents=True, exist_ok=True)
        directory = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as problem:
        raise DataUnusable(data, problem.strerror or str(problem)) from problem
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as taken:
            raise DataTaken(data) from taken
        yield
    finally:
        os.close(directory)


def _bound(settings: Settings) -> socket.socket:
    host, colon, port = settings.listen.rpartition(":")
    host = host.strip("[]")
    if not colon or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004  (u16)
        raise BadSetting("listen", settings.listen, "HOST:PORT")
    if not settings.insecure_http and not settings.behind_tls and not _is_loopback(host):
        raise Exposed(host or "every address")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, int(port)))
        listener.listen(256)
    except OSError as problem:
        listener.close()
        raise AddressTaken(settings.listen, problem.strerror or str(problem)) from problem
    return listener


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _wait_for(recorder: Part, settings: Settings) -> None:
    """Until the recorder can be asked, or is found to have ended: without it maps can still be looked at."""
    until_s = time.monotonic() + RECORDER_S
    while time.monotonic() < until_s and recorder.process is not None and recorder.process.poll() is None:
        if listens(settings.recorder_socket):
            return
        time.sleep(0.05)


def _answers(settings: Settings) -> bool:
    from app.wire.connection import connect
    from app.wire.errors import WireError

    try:
        with connect(settings.socket) as client:
            client.hello()
    except WireError:
        return False
    return True


def _healthy(listen: str) -> bool:
    from http.client import HTTPConnection

    host, _, port = listen.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104  (no name that the web answers to)
    connection = HTTPConnection(host.strip("[]"), int(port), timeout=5)
    try:
        connection.request("GET", "/healthz", headers={"Host": f"{host}:{port}"})
        return connection.getresponse().status == 200  # noqa: PLR2004
    except OSError:
        return False
    finally:
        connection.close()


def _greet(settings: Settings) -> None:
    from app.web.address import login_link
    from app.wire.connection import connect

    with connect(settings.socket) as client:
        link = login_link(settings, client.link_make().value)
    mode = (
        "a history by itself" if settings.is_alone else "editors may edit" if settings.allow_edits else "reading only"
    )
    print(f"bpf-atlas listens on http://{settings.listen}, {mode}. Open this link, it works once:", flush=True)
    print(f"\n    {link}\n", flush=True)
    print("`bpf-atlas login` makes a new one; Ctrl-C stops the service.", flush=True)
