"""``python -m app.recorder --data DIR``: started by `bpf-atlas serve`."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from app.errors import AppError
from app.history.errors import OtherRecorder
from app.history.writer import Writer
from app.maps.host_names import boot_id
from app.recorder import listen
from app.recorder.jobs import Jobs
from app.recorder.record import Recorder
from app.recorder.watch import watch
from app.settings import Settings, from_environment
from app.timeline import place
from app.timeline.preload import preload
from app.uapi import confine
from app.wire.connection import connect

log = logging.getLogger("bpf_atlas.recorder")
PATIENCE_S = 30.0
"""A recorder of before may take so long to let go of the database."""


def main() -> int:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m app.recorder", description="The recorder process of bpf-atlas.")
    parser.add_argument("--data", type=Path, required=True, help="the data directory")
    settings = from_environment(data=parser.parse_args().data)
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s"
    )
    try:
        return run(settings)
    except AppError as problem:
        log.error("stopped: %s", problem)  # noqa: TRY400  (one sentence; the traceback of an error on purpose says nothing)
        return 1


def run(settings: Settings) -> int:
    """Prepare what takes rights, give them up, and work."""
    folder = settings.data / "recorder"
    uid, gid = os.geteuid(), os.getegid()
    uids = {0, uid}
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as problem:
        log.error("%s cannot be made (%s)", folder, problem.strerror)  # noqa: TRY400
        return 1
    place.prepare(settings)
    if uid == 0:
        uid, gid = confine.account(settings.recorder_user)
        web_uid, web_gid = confine.account(settings.web_user)
        uids |= {uid, web_uid}
        os.chown(folder, uid, gid)
        for left in folder.iterdir():
            os.chown(left, uid, gid, follow_symlinks=False)
        sock = listen.bind(settings.recorder_socket, uid, web_gid)
        preload(settings.history_url)
        confine.powerless(uid, gid)
    else:
        sock = listen.bind(settings.recorder_socket, uid, gid)
    stop = threading.Event()
    arrived = threading.Event()

    def end(_number: int, _frame: object) -> None:
        stop.set()
        arrived.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with connect(settings.socket) as client:
        hello = client.hello()
        writer = _writer(settings, hello.hostname, stop)
        try:
            recorder = Recorder.begin(writer, client, settings, hello.hostname, boot_id())
            jobs = Jobs(recorder, folder, arrived=arrived)
            listen.serve(sock, jobs, uids)
            gc.collect()
            gc.freeze()  # what is there now stays for good: collections need not look through it every other minute
            growth = threading.Thread(target=watch, args=(client, folder, stop), daemon=True)
            growth.start()
            recorder.run(stop, jobs.work, arrived)
            growth.join(5)
        finally:
            writer.close()
    return 0


def _writer(settings: Settings, host: str, stop: threading.Event) -> Writer:
    """The history, waited for where another process is just letting go of it."""
    until_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return place.writer(settings, host)
        except OtherRecorder:
            if time.monotonic() > until_s or stop.wait(0.5):
                raise


if __name__ == "__main__":
    sys.exit(main())
