"""The web process: gunicorn with threads, on a socket that the parent bound, without any privilege.

`python -m app.web --listen-fd N --data DIR` is started by `bpf-atlas serve`. One worker, because the views that pages
are cut from live in its memory.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import logging
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

from app.errors import AppError
from app.settings import Settings, from_environment
from app.uapi import confine
from app.web.preload import preload
from app.web.private import Folder
from app.web.wsgi import make

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Flask

GRACE_S = 10
STALLED_S = 60
SHARED_MEMORY = "/dev/shm"  # noqa: S108  (gunicorn makes an unnamed file there, for its heartbeat)


class Web(BaseApplication):  # type: ignore[misc]
    """gunicorn without a command line or configuration file of its own."""

    def __init__(self, listen_fd: int, settings: Settings, app: Flask) -> None:
        self._listen_fd = listen_fd
        self._app = app
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Fixed settings: nothing is read from the environment, and no proxy header is believed."""
        fixed: dict[str, Any] = {
            "bind": [f"fd://{self._listen_fd}"],
            "worker_class": "gthread",
            "workers": 1,
            "threads": self._settings.threads,
            "worker_connections": 1000,
            "timeout": 120,
            "graceful_timeout": GRACE_S,
            "keepalive": 15,
            "forwarded_allow_ips": "",
            "secure_scheme_headers": {},
            "limit_request_line": 8190,
            "limit_request_fields": 64,
            "accesslog": None,
            "errorlog": "-",
            "loglevel": "warning",
            "proc_name": "bpf-atlas web",
            # gunicorn's defaults are the account at import, which was root's.
            "user": os.geteuid(),
            "group": os.getegid(),
            "worker_tmp_dir": SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None,
        }
        if "control_socket_disable" in self.cfg.settings:  # gunicorn 25.1
            fixed["control_socket_disable"] = True
        for name, value in fixed.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """The application, made before this process gave up its rights; called in the worker."""
        return self._app


def let_go_of_stalled(listen_fd: int) -> None:
    """Give up on a client that takes nothing for STALLED_S, by an option that connections inherit: each holds a thread."""
    listener = socket.socket(fileno=os.dup(listen_fd))
    try:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_S * 1000)
    finally:
        listener.close()
    logging.getLogger("gunicorn.error").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """That a client was given up is no fault of ours."""
    return not (record.exc_info and isinstance(record.exc_info[1], TimeoutError))


def address_of(listen_fd: int) -> str:
    """HOST:PORT that a bound socket listens on."""
    bound = socket.socket(fileno=os.dup(listen_fd))
    try:
        host, port = bound.getsockname()[:2]
        return f"[{host}]:{port}" if bound.family == socket.AF_INET6 else f"{host}:{port}"
    finally:
        bound.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m app.web", description="The web process of bpf-atlas.")
    parser.add_argument("--listen-fd", type=int, required=True, help="a bound TCP socket, inherited")
    parser.add_argument("--data", type=Path, required=True, help="the data directory")
    given = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s"
    )
    settings = dataclasses.replace(from_environment(data=given.data), listen=address_of(given.listen_fd))
    let_go_of_stalled(given.listen_fd)
    preload(settings.database_url)
    try:
        app = make(settings, Folder.prepare(settings))
    except AppError as problem:
        logging.getLogger("bpf_atlas.web").error("%s", problem)  # noqa: TRY400  (one sentence; the traceback says nothing more)
        return 1
    if os.geteuid() == 0:
        confine.powerless(*confine.account(settings.web_user))
    else:
        confine.powerless(os.geteuid(), os.getegid())
    # What is there now stays for good: a full collection would look through all of it, 45 ms every dozen pages.
    gc.collect()
    gc.freeze()
    Web(given.listen_fd, settings, app).run()
    return 0
