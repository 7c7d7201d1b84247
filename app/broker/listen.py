"""The broker's socket: who is let in, and one thread a connection that answers one question after another."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from threading import BoundedSemaphore, Thread

import msgspec

from app.broker import log
from app.broker.errors import CannotListen
from app.broker.host import Host, Reply
from app.broker.peers import Asker, Peer
from app.broker.requests import BY_VERB, Request
from app.errors import AppError
from app.wire import bodies, fdpass, frame, refusals, sealed
from app.wire.errors import BadFrame, BrokerFailed, LimitExceeded

CONNECTIONS = 128
"""More are turned away: each has a thread."""
SEND_TIMEOUT_S = 30.0
"""A peer that does not take its answer within this loses the connection."""
ACCEPT_PAUSE_S = 0.2

_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid
_encoder = msgspec.msgpack.Encoder()


def bind(path: Path, uid: int = -1, gid: int = -1) -> socket.socket:
    """Make a listening socket at `path`, in place of one that a dead broker left behind.

    Its file belongs to `uid` and `gid`, so that two accounts can connect and no others; it is the peer's uid, though,
    that decides who is answered.

    raises  CannotListen; also when a live one listens there
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        if path.is_socket():
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
                if other.connect_ex(str(path)) == 0:
                    raise CannotListen(str(path), "a broker answers there")
            path.unlink()
        # Made closed to all, then opened as far as asked for: connecting needs write permission.
        mask = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(mask)
        path.chmod(0o660)
        os.chown(path, uid, gid)
        sock.listen(CONNECTIONS)
    except OSError as error:
        sock.close()
        raise CannotListen(str(path), error.strerror or str(error)) from None
    except BaseException:
        sock.close()
        raise
    return sock


class Listener:
    """Accepts until `stop`."""

    def __init__(self, sock: socket.socket, host: Host, peers: Mapping[int, Peer]) -> None:
        """`peers`: what each uid may be; any other uid is turned away."""
        self._sock = sock
        self._host = host
        self._peers = peers
        self._limited = log.Limited()
        self._room = BoundedSemaphore(CONNECTIONS)
        # Not by shutting the socket down: it may be shared with the parent that made it, for the next broker.
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def run(self) -> None:
        """Accept connections; returns after `stop`."""
        self._sock.settimeout(0)
        ready = select.poll()
        ready.register(self._sock, select.POLLIN)
        ready.register(self._stop, select.POLLIN)
        while True:
            if self._stop in (descriptor for descriptor, _ in ready.poll()):
                return
            try:
                connection, _ = self._sock.accept()
            except BlockingIOError:
                continue
            except OSError as error:  # Out of descriptors or memory: those that are connected go on.
                self._limited.write("cannot_accept", reason=str(error))
                time.sleep(ACCEPT_PAUSE_S)
                continue
            connection.settimeout(None)
            pid, uid, _ = _CREDENTIALS.unpack(
                connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            )
            peer = self._peers.get(uid)
            if peer is None:
                self._limited.write("stranger", uid=uid, pid=pid)
                connection.close()
            elif not self._room.acquire(blocking=False):
                self._limited.write("too_many_connections", uid=uid, pid=pid)
                connection.close()
            else:
                Thread(target=self._converse, args=(connection, Asker(peer, uid, pid)), daemon=True).start()

    def stop(self) -> None:
        """Make `run` return; safe in a signal handler."""
        os.eventfd_write(self._stop, 1)

    def close(self) -> None:
        """Let go of what `stop` needs; the socket is its maker's."""
        os.close(self._stop)

    def _converse(self, connection: socket.socket, asker: Asker) -> None:
        uid, pid = asker.uid, asker.pid
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(SEND_TIMEOUT_S), 0))
            while (datagram := fdpass.receive(connection, frame.DATAGRAM_BYTES)) and self._answer(
                connection, asker, datagram
            ):
                pass
        except BadFrame as error:
            self._limited.write("bad_frame", uid=uid, pid=pid, reason=str(error))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # text that is no UTF-8 is a ValueError
            self._limited.write("bad_body", uid=uid, pid=pid, reason=str(error))
        except OSError as error:
            self._limited.write("connection_lost", uid=uid, pid=pid, reason=str(error))
        finally:
            connection.close()
            self._room.release()

    def _answer(self, connection: socket.socket, asker: Asker, datagram: bytes) -> bool:
        """One question; False, after a line in the log, when the connection is to be closed instead of answered."""
        question = frame.read_question(datagram)
        request = BY_VERB.get(question.verb)
        if request is None:
            raise BadFrame("a known verb", str(question.verb))
        if len(question.body) > request.body_limit_bytes:
            raise BadFrame(f"at most {request.body_limit_bytes} bytes for {request.verb.name}", f"{len(question.body)}")
        if not asker.peer & request.needs:
            self._limited.write("not_allowed", verb=request.verb.name, peer=str(asker.peer))
            return False
        reply = self._reply(request, request.decoder.decode(question.body), asker)
        descriptors = [] if reply.descriptor is None else [reply.descriptor]
        try:
            _send(connection, question.request_id, reply.body, descriptors)
        finally:
            fdpass.close_all(descriptors)
        return True

    def _reply(self, request: Request, body: bodies.Body, asker: Asker) -> Reply:
        try:
            return request.reply(self._host, body, asker)
        except AppError as error:
            return Reply(refusals.refused(error))
        except Exception as error:  # noqa: BLE001  (a bug in one answer must not end the others; it is logged whole)
            log.write("failed", verb=request.verb.name, error=repr(error), traceback=traceback.format_exc())
            return Reply(refusals.refused(BrokerFailed(f"the broker failed at {request.verb.name}; its log says how")))


def _send(connection: socket.socket, request_id: int, body: bodies.Body, descriptors: list[int]) -> None:
    """Encode and send, in the datagram or in a memory file."""
    encoded = _encoder.encode(body)
    if len(encoded) > frame.ANSWER_BYTES:
        body = refusals.refused(
            LimitExceeded(f"the answer has {len(encoded)} bytes, {frame.ANSWER_BYTES} are the limit")
        )
        encoded, descriptors = _encoder.encode(body), []
    outcome = frame.Outcome.REFUSED if isinstance(body, bodies.Refused) else frame.Outcome.ANSWERED
    passed, size_bytes = len(descriptors), len(encoded)
    if size_bytes <= frame.INLINE_BYTES:
        datagram = frame.answer(outcome, frame.Place.INLINE, passed, request_id, size_bytes, encoded)
        fdpass.send(connection, datagram, descriptors)
        return
    file = sealed.hold(encoded)
    try:
        datagram = frame.answer(outcome, frame.Place.MEMORY_FILE, passed, request_id, size_bytes)
        fdpass.send(connection, datagram, [file, *descriptors])
    finally:
        os.close(file)
