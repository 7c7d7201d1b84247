"""Samples the kernel's counts at a steady pace and tells the rates."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from app.errors import AppError
from app.maps import growth
from app.wire.ask import Client

log = logging.getLogger("bpf_atlas.recorder")


def watch(client: Client, folder: Path, stop: threading.Event) -> None:
    """Sample until `stop` is set. A broker that does not answer is waited for; what is known so far stays."""
    window = growth.Window()
    target = folder / "growth.json"
    next_s = time.monotonic()
    while True:
        try:
            maps = client.maps().maps
            window.add(time.monotonic(), maps)
            growth.write(target, window.growth(maps))
        except AppError as problem:
            log.warning("no sample: %s", problem)
        except OSError as problem:  # a full disk: the next sample may fit
            log.warning("the sample was not written: %s", problem)
        next_s = max(next_s + growth.INTERVAL_S, time.monotonic())
        if stop.wait(next_s - time.monotonic()):
            return
