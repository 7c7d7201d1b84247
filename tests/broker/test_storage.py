"""Owners of socket and inode storages, found without a list of them."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from app.uapi import loading, syscall
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.wire.ask import Client
from app.wire.errors import WrongMapType
from tests.broker.conftest import Running, id_of

pytestmark = pytest.mark.kernel

SO_COOKIE = 57


def storage(make_map: Callable[..., int], type_: BpfMapType, value_size: int) -> int:
    """A local storage map; those must have BTF: key int, value char[value_size]."""
    names = b"\0int\0char\0"
    types = (
        struct.pack("<IIII", 1, 1 << 24, 4, 1 << 24 | 32)  # 1: int
        + struct.pack("<IIII", 5, 1 << 24, 1, 1 << 24 | 8)  # 2: char
        + struct.pack("<III", 0, 3 << 24, 0)  # 3: char[value_size]
        + struct.pack("<III", 2, 1, value_size)
    )
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(names))
    btf = loading.btf_load(header + types + names)
    try:
        return make_map(
            type_, 4, value_size, 0, flags=BpfMapFlag.NO_PREALLOC, btf_fd=btf, btf_key_type_id=1, btf_value_type_id=3
        )
    finally:
        os.close(btf)


def put(map_fd: int, owner_fd: int, value: bytes) -> None:
    syscall.map_update(map_fd, owner_fd.to_bytes(4, "little"), value)


@pytest.mark.parametrize("value_size", [1, 8, 255, 256, 257, 4096, 20_000])
def test_a_socket_is_found_with_its_cookie_addresses_and_value(
    client: Client, make_map: Callable[..., int], value_size: int
) -> None:
    fd = storage(make_map, BpfMapType.SK_STORAGE, value_size)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as mine:
        value = os.urandom(value_size)
        put(fd, mine.fileno(), value)
        (cookie,) = struct.unpack("=Q", mine.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))
        answer = client.sk_storage(id_of(fd))
        assert answer.problem == ""
        (entry,) = answer.entries
        here, there = mine.getsockname(), mine.getpeername()
        assert entry.label == f"tcp {here[0]}:{here[1]} → {there[0]}:{there[1]}"
        assert (entry.owner_id, entry.value) == (cookie, value)


def test_sockets_of_other_families_are_labelled(client: Client, make_map: Callable[..., int]) -> None:
    fd = storage(make_map, BpfMapType.SK_STORAGE, 8)
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four,
    ):
        six.bind(("::1", 0))
        four.bind(("127.0.0.2", 0))
        for each in (six, unix, four):
            put(fd, each.fileno(), bytes(8))
        labels = {entry.label for entry in client.sk_storage(id_of(fd)).entries}
        assert labels == {f"udp [::1]:{six.getsockname()[1]}", "unix", f"udp 127.0.0.2:{four.getsockname()[1]}"}


def test_many_sockets_fill_more_than_one_page_of_the_iterator(client: Client, make_map: Callable[..., int]) -> None:
    fd = storage(make_map, BpfMapType.SK_STORAGE, 1000)
    sockets = [socket.socket(socket.AF_UNIX) for _ in range(200)]
    for number, each in enumerate(sockets):
        put(fd, each.fileno(), bytes([number]) * 1000)
    entries = client.sk_storage(id_of(fd)).entries
    assert sorted(entry.value[0] for entry in entries) == list(range(200))
    assert all(entry.value == entry.value[:1] * 1000 for entry in entries)
    for each in sockets:
        each.close()
    assert client.sk_storage(id_of(fd)).entries == ()


def test_a_file_held_open_by_another_process_is_found(
    broker: Running, client: Client, make_map: Callable[..., int], tmp_path: Path
) -> None:
    fd = storage(make_map, BpfMapType.INODE_STORAGE, 16)
    held, named = tmp_path / "held open", tmp_path / "named"
    named.write_text("x")
    with held.open("w") as file:
        put(fd, file.fileno(), b"of the held one.")
        found = client.inode_storage(id_of(fd))
        assert [(entry.owner_id, entry.label, entry.value) for entry in found.entries] == [
            (held.stat().st_ino, str(held), b"of the held one.")
        ]
        with named.open() as other:
            put(fd, other.fileno(), b"of the named one")
        assert len(client.inode_storage(id_of(fd)).entries) == 1, "nobody holds it open, nobody named it"
        both = client.inode_storage(id_of(fd), (str(named), "/no/such/file", "nul\0"))
        assert {entry.label for entry in both.entries} == {str(held), str(named)}
        assert both.problem.startswith("only files that a process holds open, and 3 given paths, were tried")
        assert "could not be opened" in both.problem


def test_a_hard_link_is_the_same_file(client: Client, make_map: Callable[..., int], tmp_path: Path) -> None:
    fd = storage(make_map, BpfMapType.INODE_STORAGE, 16)
    one, two = tmp_path / "one", tmp_path / "two"
    one.touch()
    two.hardlink_to(one)
    with one.open() as file:
        put(fd, file.fileno(), bytes(16))
    assert len(client.inode_storage(id_of(fd), (str(one), str(two))).entries) == 1


def test_other_types_are_declined(client: Client, make_map: Callable[..., int]) -> None:
    with pytest.raises(WrongMapType, match="not SK_STORAGE"):
        client.sk_storage(id_of(make_map()))
    with pytest.raises(WrongMapType, match="not INODE_STORAGE"):
        client.inode_storage(id_of(make_map()))
