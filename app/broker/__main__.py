"""The broker process: ``python -m app.broker --socket PATH``.

Prepares everything that takes rights (the socket, the iterator programs, the probes), gives up all but three
capabilities, and answers until SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import pwd
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.broker import listen, log, probes
from app.broker.errors import UnknownAccount
from app.broker.host import Host
from app.broker.requests import Peer
from app.errors import AppError
from app.settings import Settings, from_environment
from app.uapi import confine


def main(arguments: Sequence[str]) -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m app.broker", description="the privileged part of bpf-atlas")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--socket", type=Path, help="listen here")
    where.add_argument(
        "--listen-fd", type=int, help="a listening SOCK_SEQPACKET socket, inherited; its maker removes its path"
    )
    parser.add_argument(
        "--group", type=int, help="numeric group that may connect to --socket (mode 0660, otherwise 0600)"
    )
    chosen = parser.parse_args(arguments)
    try:
        settings = from_environment()
        peers = who_may_ask(settings)
        if chosen.socket is not None:
            sock = listen.bind(
                chosen.socket, 0o600 if chosen.group is None else 0o660, -1 if chosen.group is None else chosen.group
            )
        else:
            sock = socket.socket(fileno=chosen.listen_fd)
        with sock:
            serve(sock, settings, peers)
    except AppError as error:
        log.write("stopped", reason=str(error))
        return 3
    finally:
        if chosen.socket is not None:
            chosen.socket.unlink(missing_ok=True)
    return 0


def serve(sock: socket.socket, settings: Settings, peers: Mapping[int, Peer]) -> None:
    """Prepare, confine this process for good, and answer on `sock` until SIGTERM or SIGINT."""
    tried = probes.at_start()
    host = Host(bpffs=settings.bpffs, passes_descriptors=probes.passes(tried), tried=tried)
    host.iterators.load_all()
    confine.confine_broker()
    listener = listen.Listener(sock, host, peers)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: listener.stop())
    log.write("ready", pid=os.getpid(), capabilities=f"{confine.effective():016x}", peers=sorted(peers))
    listener.run()
    log.write("stopping")


def who_may_ask(settings: Settings) -> dict[int, Peer]:
    """Uids that are let in: root, the broker's own, and the accounts of web and recorder.

    raises  UnknownAccount
    """
    peers: dict[int, Peer] = {}
    for uid, peer in (
        (0, Peer.ROOT),
        (os.geteuid(), Peer.ROOT),
        (_uid("web_user", settings.web_user), Peer.WEB),
        (_uid("recorder_user", settings.recorder_user), Peer.RECORDER),
    ):
        peers[uid] = peers.get(uid, peer) | peer
    return peers


def _uid(setting: str, account: str) -> int:
    if account.isdecimal():
        return int(account)
    try:
        return pwd.getpwnam(account).pw_uid
    except KeyError:
        raise UnknownAccount(setting, account) from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
