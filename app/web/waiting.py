"""Waiting for what the recorder was asked to do: a little, and never for ever."""

from __future__ import annotations

import time

from app.wire.recorder import JobFacts, RecorderClient

FIRST_S, MOST_S = 0.01, 0.3


def wait_for(recorder: RecorderClient, job: JobFacts, most_s: float) -> JobFacts:
    """A job when it is done, or as it is after `most_s`. raises WireError"""
    until_s, pause_s = time.monotonic() + most_s, FIRST_S
    while job.state != "done" and time.monotonic() < until_s:
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, MOST_S)
        job = recorder.job(job.id)
    return job
