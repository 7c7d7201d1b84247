"""Real sockets in maps: pairs of streams under a verdict program, and four receivers that share one UDP port."""

from __future__ import annotations

import random
import socket
import struct
from contextlib import suppress

from demo.libbpf import Map
from demo.names import CLIENT_NETNS
from demo.network import inside
from demo.scene import U32, Scene

SK_SKB_STREAM_VERDICT = 5
SO_ATTACH_REUSEPORT_EBPF = 52
SHARED = ("127.0.0.1", 9000)
RECEIVERS = 4
PAIRS = 3
COOKIE_ROOM = struct.Struct("=Q")


def start(scene: Scene) -> None:
    """Load, attach, put the sockets in."""
    sockets = scene.load("sockets")
    streams = sockets.map("streams")
    sockets.program("pass_stream").attach_map(streams.fd, SK_SKB_STREAM_VERDICT)
    with inside(CLIENT_NETNS):
        pairs = [_tcp_pair() for _ in range(PAIRS)]
        receivers = [_receiver() for _ in range(RECEIVERS)]
    for sock in (*(end for pair in pairs for end in pair), *receivers):
        scene.keep(sock)
    for slot, sock in enumerate(end for pair in pairs for end in pair):
        streams.update(U32.pack(slot), COOKIE_ROOM.pack(sock.fileno()))
    receivers[0].setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, sockets.program("choose_socket").fd)
    _share(sockets.map("shared_port"), receivers)
    chance = random.Random(4)
    scene.every(0.3, lambda: _chat(chance.choice(pairs), bytes(chance.randrange(1, 600))))
    scene.every(0.2, lambda: _knock(receivers))


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    one.settimeout(0)
    other.settimeout(0)
    return one, other


def _receiver() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(SHARED)
    sock.settimeout(0)
    return sock


def _share(shared: Map, receivers: list[socket.socket]) -> None:
    for slot, sock in enumerate(receivers):
        shared.update(U32.pack(slot), COOKIE_ROOM.pack(sock.fileno()))


def _chat(pair: tuple[socket.socket, socket.socket], words: bytes) -> None:
    with suppress(OSError):
        pair[0].send(words)
        pair[1].recv(4096)
        pair[1].send(b"yes")
        pair[0].recv(4096)


def _knock(receivers: list[socket.socket]) -> None:
    """From a new port each time, so that the hash chooses anew."""
    with inside(CLIENT_NETNS), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"knock", SHARED)
    for receiver in receivers:
        with suppress(BlockingIOError):
            receiver.recv(64)
