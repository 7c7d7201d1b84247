"""``python -m app.recorder --data DIR``: started by `bpf-atlas serve`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from app.recorder.watch import watch
from app.settings import from_environment
from app.uapi import confine
from app.wire.connection import connect


def main() -> int:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m app.recorder", description="The recorder process of bpf-atlas.")
    parser.add_argument("--data", type=Path, required=True, help="the data directory")
    settings = from_environment(data=parser.parse_args().data)
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s"
    )
    folder = settings.data / "recorder"
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as problem:
        logging.getLogger("bpf_atlas.recorder").error("%s cannot be made (%s)", folder, problem.strerror)  # noqa: TRY400
        return 1
    if os.geteuid() == 0:
        uid, gid = confine.account(settings.recorder_user)
        os.chown(folder, uid, gid)
        for left in folder.iterdir():
            os.chown(left, uid, gid, follow_symlinks=False)
        confine.powerless(uid, gid)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with connect(settings.socket) as client:
        watch(client, folder, stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
