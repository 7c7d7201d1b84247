"""The recorder's socket: who is let in, and a thread a connection that answers one question after another."""

from __future__ import annotations

import logging
import os
import socket
import struct
from collections.abc import Callable, Collection
from enum import IntEnum
from pathlib import Path
from threading import BoundedSemaphore, Thread
from typing import Any

import msgspec

from app.errors import AppError
from app.recorder.errors import CannotListen
from app.recorder.jobs import Jobs
from app.recorder.vouching import By
from app.wire import bodies, fdpass, frame, refusals
from app.wire.errors import BadFrame, BrokerFailed, Declined, WireError
from app.wire.recorder import MOST_BYTES, TASKS, Task

log = logging.getLogger("bpf_atlas.recorder")

Answer = Callable[[Any, By], bodies.Body]
CONNECTIONS = 64
SMALL_BYTES = 64
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid
_encoder = msgspec.msgpack.Encoder()
_decoders: dict[IntEnum, msgspec.msgpack.Decoder[Any]] = {
    task: msgspec.msgpack.Decoder(shape.question) for task, shape in TASKS.items()
}


def bind(path: Path, uid: int, gid: int) -> socket.socket:
    """A listening socket at `path`, in place of one that a dead recorder left; only uid and gid may connect.

    raises  CannotListen
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(mask)
        path.chmod(0o660)
        if os.geteuid() == 0:
            os.chown(path, uid, gid)
        sock.listen(CONNECTIONS)
    except OSError as problem:
        sock.close()
        raise CannotListen(path, problem.strerror or str(problem)) from problem
    return sock


def serve(sock: socket.socket, jobs: Jobs, uids: Collection[int]) -> None:
    """Answer on `sock` for as long as the process lives, in threads of its own."""
    answers: dict[int, Answer] = {
        Task.TAKE: jobs.take, Task.JOB: jobs.job, Task.LABEL: jobs.label, Task.FORGET: jobs.forget,
        Task.IGNORE: jobs.ignore, Task.STATE: jobs.state, Task.IMPORT: jobs.import_file, Task.TIDY: jobs.tidy,
        Task.SCHEDULE: jobs.schedule, Task.RULES: jobs.rules,
    }  # fmt: skip
    room = BoundedSemaphore(CONNECTIONS)

    def accept() -> None:
        while True:
            try:
                connection, _ = sock.accept()
            except OSError:
                return
            pid, uid, _gid = _CREDENTIALS.unpack(
                connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            )
            if uid not in uids or not room.acquire(blocking=False):
                log.warning("uid %s was turned away", uid)
                connection.close()
                continue
            Thread(target=converse, args=(connection, By(uid, pid)), daemon=True).start()

    def converse(connection: socket.socket, by: By) -> None:
        try:
            while datagram := fdpass.receive(connection, frame.DATAGRAM_BYTES):
                _answer(connection, datagram, answers, by)
        except (BadFrame, msgspec.MsgspecError, ValueError, RecursionError, OSError) as problem:
            log.warning("a connection was closed: %s", problem)
        finally:
            connection.close()
            room.release()

    Thread(target=accept, daemon=True).start()


def _answer(connection: socket.socket, datagram: bytes, answers: dict[int, Answer], by: By) -> None:
    question = frame.read_question(datagram)
    answer = answers.get(question.verb)
    if answer is None:
        raise BadFrame("a known task", str(question.verb))
    task = Task(question.verb)
    most_bytes = MOST_BYTES.get(task, SMALL_BYTES)
    if len(question.body) > most_bytes:
        raise BadFrame(f"at most {most_bytes} bytes for {task.name}", f"{len(question.body)}")
    body = _reply(answer, _decoders[task].decode(question.body), task, by)
    encoded = _encoder.encode(body)
    if len(encoded) > frame.INLINE_BYTES:
        body = refusals.refused(Declined("the answer is too long: ask for fewer at once"))
        encoded = _encoder.encode(body)
    outcome = frame.Outcome.REFUSED if isinstance(body, bodies.Refused) else frame.Outcome.ANSWERED
    fdpass.send(connection, frame.answer(outcome, frame.Place.INLINE, 0, question.request_id, len(encoded), encoded))


def _reply(answer: Answer, body: bodies.Body, task: Task, by: By) -> bodies.Body:
    try:
        return answer(body, by)
    except WireError as refusal:
        return refusals.refused(refusal)
    except AppError as refusal:
        return refusals.refused(Declined(str(refusal)))
    except Exception:  # (a bug in one answer must not end the others; it is logged whole)
        log.exception("%s failed", task.name)
        return refusals.refused(BrokerFailed(f"the recorder failed at {task.name}; its log says how"))
