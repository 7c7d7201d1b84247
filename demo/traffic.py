"""Traffic between the demo's two namespaces: UDP, TCP and ICMP, a few hundred packets a second at most."""

from __future__ import annotations

import random
import selectors
import socket
import struct
import threading
from contextlib import suppress

from demo.names import (
    BACKEND_ADDRESSES,
    BACKEND_PORT,
    CLIENT_ADDRESS,
    CLIENT_ALIASES,
    CLIENT_NETNS,
    CONGESTION,
    SERVER_ADDRESS,
    SERVER_NETNS,
    SERVICE_ADDRESSES,
    SERVICE_PORTS,
)
from demo.network import inside
from demo.scene import Scene

UDP_PORTS = (53, 123, 443, 514, 1812, 4789, 5001, 5002, 5003, 5004, 5005, 6081, 7001, 7002, 7003, 8472)
TCP_PORTS = (80, 443, 5432, 6379, 8080)
UDP_SOCKETS = 40
TCP_LASTING = 4


class Server:
    """Echoes UDP at half the ports, answers each TCP request with one to three kilobytes."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._stop = threading.Event()
        self._chance = random.Random(1)
        with inside(SERVER_NETNS):
            for port in UDP_PORTS:
                self._listen(socket.SOCK_DGRAM, SERVER_ADDRESS, port)
            for address in BACKEND_ADDRESSES:
                self._listen(socket.SOCK_DGRAM, address, BACKEND_PORT)
            for port in TCP_PORTS:
                self._listen(socket.SOCK_STREAM, SERVER_ADDRESS, port)
        self._thread = threading.Thread(target=self._serve, name="demo-server", daemon=True)
        self._thread.start()

    def _listen(self, kind: socket.SocketKind, address: str, port: int) -> None:
        sock = socket.socket(socket.AF_INET, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.settimeout(0)
        answer = self._echo
        if kind == socket.SOCK_STREAM:
            sock.listen(16)
            answer = self._accept
        self._selector.register(sock, selectors.EVENT_READ, answer)

    def _serve(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.5):
                with suppress(OSError):
                    key.data(key.fileobj)

    def _echo(self, sock: socket.socket) -> None:
        data, sender = sock.recvfrom(2048)
        if sock.getsockname()[1] % 2 or sock.getsockname()[1] == BACKEND_PORT:
            sock.sendto(data, sender)

    def _accept(self, sock: socket.socket) -> None:
        connection, _ = sock.accept()
        connection.settimeout(0)
        self._selector.register(connection, selectors.EVENT_READ, self._answer)

    def _answer(self, sock: socket.socket) -> None:
        try:
            request = sock.recv(2048)
        except OSError:
            request = b""
        if not request:
            self._selector.unregister(sock)
            sock.close()
            return
        sock.send(b"x" * self._chance.randrange(1000, 3000))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()


class Clients:
    """Senders of the client's namespace; driven by the scene's ticks."""

    def __init__(self) -> None:
        self._chance = random.Random(2)
        self._sequence = 0
        with inside(CLIENT_NETNS):
            self._udp = [self._sender() for _ in range(UDP_SOCKETS)]
            self._icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._icmp.settimeout(0)
        self._lasting: list[socket.socket] = []

    def _sender(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((self._chance.choice((CLIENT_ADDRESS, *CLIENT_ALIASES)), 0))
        sock.settimeout(0)
        return sock

    def send_udp(self) -> None:
        for _ in range(6):
            sock = self._chance.choice(self._udp)
            with suppress(OSError):
                data = bytes(min(int(self._chance.expovariate(1 / 180)), 1400))
                sock.sendto(data, (SERVER_ADDRESS, self._chance.choice(UDP_PORTS)))
                self._drain(sock)

    def send_services(self) -> None:
        for _ in range(2):
            sock = self._chance.choice(self._udp)
            with suppress(OSError):
                where = (self._chance.choice(SERVICE_ADDRESSES), self._chance.choice(SERVICE_PORTS))
                sock.sendto(bytes(self._chance.randrange(20, 300)), where)
                self._drain(sock)

    def _drain(self, sock: socket.socket) -> None:
        with suppress(BlockingIOError):
            while True:
                sock.recv(2048)

    def renew(self) -> None:
        """Take a new source port, and so new flows."""
        slot = self._chance.randrange(UDP_SOCKETS)
        self._udp[slot].close()
        with inside(CLIENT_NETNS):
            self._udp[slot] = self._sender()

    def ping(self) -> None:
        self._sequence += 1
        body = struct.pack("!HH", 4711 + self._sequence % 5, self._sequence & 0xFFFF) + b"bpf-atlas"
        data = b"\x08\0\0\0" + body + b"\0"
        total = sum(struct.unpack(f"!{len(data) // 2}H", data))
        total = (total & 0xFFFF) + (total >> 16)
        with suppress(OSError):
            self._icmp.sendto(data[:2] + struct.pack("!H", ~total & 0xFFFF) + body + b"\0", (SERVER_ADDRESS, 0))
        self._drain(self._icmp)

    def connect(self) -> None:
        """One short connection; some of them under the demo's own congestion control."""
        with inside(CLIENT_NETNS), socket.socket() as sock, suppress(OSError):
            if self._chance.random() < 0.5:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION.encode())
                # Closed by a reset, so that no orphan of the socket holds the congestion control after the demo's end.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.settimeout(0.5)
            sock.connect((SERVER_ADDRESS, self._chance.choice(TCP_PORTS)))
            sock.send(b"GET / HTTP/1.0\r\n\r\n")
            sock.recv(4096)

    def talk(self) -> None:
        """Keep a few connections open and say something on each."""
        with inside(CLIENT_NETNS), suppress(OSError):
            while len(self._lasting) < TCP_LASTING:
                sock = socket.create_connection((SERVER_ADDRESS, TCP_PORTS[len(self._lasting)]), timeout=0.5)
                sock.settimeout(0)
                self._lasting.append(sock)
        for sock in list(self._lasting):
            try:
                self._drain(sock)
                sock.send(b"GET /more HTTP/1.1\r\n\r\n")
            except OSError:
                self._lasting.remove(sock)
                sock.close()

    def close(self) -> None:
        for sock in (*self._udp, *self._lasting, self._icmp):
            sock.close()


def start(scene: Scene) -> None:
    """Begin; the ticks of `scene` keep it going."""
    scene.keep(Server())
    clients = scene.keep(Clients())
    scene.every(0.05, clients.send_udp)
    scene.every(0.1, clients.send_services)
    scene.every(0.5, clients.renew)
    scene.every(0.4, clients.ping)
    scene.every(0.5, clients.connect)
    scene.every(1.0, clients.talk)
