"""The broker process: ``python -m app.broker --data DIR``.

Prepares everything that takes rights (the socket, the iterator programs, the probes), gives up all but three
capabilities, and answers until SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.broker import listen, log, probes
from app.broker.desk import Desk
from app.broker.edits import execute  # noqa: F401  (its answers import it late, for the sake of commands)
from app.broker.edits.recovery import recover
from app.broker.host import Host
from app.broker.peers import Peer
from app.errors import AppError
from app.settings import Settings, from_environment
from app.uapi import confine


def main(arguments: Sequence[str]) -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m app.broker", description="The privileged part of bpf-atlas.")
    parser.add_argument("--data", type=Path, help="the data directory; the socket is in it unless named otherwise")
    parser.add_argument("--socket", type=Path, help="listen here")
    parser.add_argument(
        "--listen-fd", type=int, help="a listening SOCK_SEQPACKET socket, inherited; its maker removes its path"
    )
    given = parser.parse_args(arguments)
    settings = from_environment(data=given.data)
    try:
        peers = who_may_ask(settings)
        if given.listen_fd is not None:
            with socket.socket(fileno=given.listen_fd) as sock:
                serve(sock, settings, peers)
            return 0
        path = given.socket or settings.socket
        with listen.bind(path, *_owner(settings)) as sock:
            try:
                serve(sock, settings, peers)
            finally:
                path.unlink(missing_ok=True)
    except AppError as error:
        log.write("stopped", reason=str(error))
        return 3
    return 0


def serve(sock: socket.socket, settings: Settings, peers: Mapping[int, Peer]) -> None:
    """Prepare, confine this process for good, and answer on `sock` until SIGTERM or SIGINT."""
    tried = () if settings.is_alone else probes.at_start()
    host = Host(
        bpffs=settings.bpffs,
        passes_descriptors=probes.passes(tried),
        tried=tried,
        open_desk=lambda: Desk.open(settings),
    )
    if not settings.is_alone:
        host.iterators.load_all()
    recover(host)  # opens the databases: nothing is opened for writing once the filter is closed
    confine.confine_broker(_rights(settings))
    listener = listen.Listener(sock, host, peers)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: listener.stop())
    log.write("ready", pid=os.getpid(), capabilities=f"{confine.effective():016x}", peers=sorted(peers))
    listener.run()
    log.write("stopping")
    listener.close()
    host.close()


def _rights(settings: Settings) -> confine.Rights:
    if settings.is_alone:
        return confine.Rights.ALONE
    if not settings.allow_edits:
        return confine.Rights.READ
    return confine.Rights.EDIT_SOCKETS if settings.edit_sockets else confine.Rights.EDIT


def who_may_ask(settings: Settings) -> dict[int, Peer]:
    """Uids that are let in: root, the broker's own, and the accounts of web and recorder.

    raises  BadSetting if there is no such account
    """
    peers: dict[int, Peer] = {}
    for uid, peer in (
        (0, Peer.ROOT),
        (os.geteuid(), Peer.ROOT),
        (confine.account(settings.web_user)[0], Peer.WEB),
        (confine.account(settings.recorder_user)[0], Peer.RECORDER),
    ):
        peers[uid] = peers.get(uid, peer) | peer
    return peers


def _owner(settings: Settings) -> tuple[int, int]:
    """Whom the socket's file belongs to: connecting takes the right to write, and two accounts need it."""
    if os.geteuid() != 0:
        return -1, -1
    return confine.account(settings.web_user)[0], confine.account(settings.recorder_user)[1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
