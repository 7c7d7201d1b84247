"""Where browsers report violations of the content security policy: counted, a few logged, none stored."""

from __future__ import annotations

import logging
import threading
import time

from flask import Blueprint, Response, make_response, request

from app.web.text import visible

log = logging.getLogger("bpf_atlas.csp")
MAX_BYTES = 4096
LOGGED_EACH_MINUTE = 5


class Tally:
    """How many reports came; says yes to the first few of each minute."""

    def __init__(self) -> None:
        self.count = 0
        self._minute = -1
        self._logged = 0
        self._lock = threading.Lock()

    def add(self) -> bool:
        """Count one; True if it may be logged."""
        minute = int(time.monotonic() // 60)
        with self._lock:
            self.count += 1
            if minute != self._minute:
                self._minute, self._logged = minute, 0
            self._logged += 1
            return self._logged <= LOGGED_EACH_MINUTE


def blueprint(tally: Tally) -> Blueprint:
    """POST /csp-report."""
    bp = Blueprint("headers", __name__)

    @bp.post("/csp-report")
    def csp_report() -> Response:
        body = request.stream.read(MAX_BYTES)
        if tally.add():
            log.warning("content security policy: %s", visible(body.decode("utf-8", "replace")))
        return make_response("", 204)

    return bp
