"""Pins: what is listed, and every way to leave the bpffs through a path."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.broker.local import client as local_client
from app.settings import Settings
from app.uapi import loading, objects, syscall
from app.uapi.enums import BpfProgType
from app.uapi.errors import KernelError, NotPermitted
from app.uapi.loading import ProgSpec
from app.wire.ask import Client
from app.wire.bodies import PinFacts
from app.wire.errors import PinOutside
from tests.broker.conftest import fill, id_of
from tests.broker.test_objects import RETURN_0

pytestmark = pytest.mark.kernel


@pytest.fixture
def folder(bpffs: Path) -> Iterator[Path]:
    path = bpffs / "deep" / "er"
    path.mkdir(parents=True)
    yield path
    for below in path.iterdir():
        below.unlink()
    path.rmdir()
    path.parent.rmdir()


def test_every_kind_of_pin_is_listed(client: Client, folder: Path, make_map: Callable[..., int]) -> None:
    fd = make_map()
    prog = loading.prog_load(ProgSpec(type=BpfProgType.RAW_TRACEPOINT, insns=RETURN_0))
    link = loading.raw_tracepoint_open(b"sched_switch", prog)
    for name, each in (("a map", fd), ("prog", prog), ("link", link)):
        try:
            objects.obj_pin(str(folder / name), each)
        except NotPermitted:  # raw tracepoint links are pinned from 5.8 on
            assert name != "a map"
            raise
    try:
        pins = client.pins()
        assert pins.problem == ""  # though the kernel's own maps.debug is there, which cannot be opened
        assert [pin for pin in pins.pins if pin.path.startswith(str(folder))] == [
            PinFacts(str(folder / "a map"), "map", id_of(fd)),
            PinFacts(str(folder / "link"), "link", objects.link_info(link).id),
            PinFacts(str(folder / "prog"), "prog", objects.prog_info(prog).id),
        ]
    finally:
        os.close(prog)
        os.close(link)


def test_a_pinned_map_is_opened_for_reading_only(client: Client, folder: Path, make_map: Callable[..., int]) -> None:
    fd = make_map()
    fill(fd, 3)
    objects.obj_pin(str(folder / "m"), fd)
    opened, passed = client.pin_open(str(folder / "m"))
    assert passed is not None
    try:
        assert (opened.facts.id, opened.facts.entries) == (id_of(fd), 3)
        assert syscall.map_lookup(passed, bytes(4), bytearray(8))
        with pytest.raises(NotPermitted):
            syscall.map_update(passed, bytes(4), bytes(8))
    finally:
        os.close(passed)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "{bpffs}", "{bpffs}/", "{bpffs}/..", "{bpffs}/../x", "{bpffs}/deep/../m", "{bpffs}//m", "{bpffs}/./m",
        "{bpffs}x/m", "m", "", "../m", "{bpffs}/nothing", "{bpffs}/m\0", "{bpffs}/deep", "{bpffs}/\udcff", "{bpffs}/" + "x" * 300,
        "{bpffs}/deep/link", "{bpffs}/way/m",
    ],
)  # fmt: skip
def test_no_path_leads_out(client: Client, bpffs: Path, folder: Path, make_map: Callable[..., int], path: str) -> None:
    objects.obj_pin(str(folder / "m"), make_map())
    (folder.parent / "link").symlink_to(folder / "m")
    (bpffs / "way").symlink_to(folder)
    try:
        with pytest.raises((PinOutside, KernelError)):
            client.pin_open(path.format(bpffs=bpffs))
    finally:
        (folder.parent / "link").unlink()
        (bpffs / "way").unlink()


def test_a_pinned_program_is_no_map(client: Client, folder: Path) -> None:
    prog = loading.prog_load(ProgSpec(type=BpfProgType.SOCKET_FILTER, insns=RETURN_0))
    objects.obj_pin(str(folder / "prog"), prog)
    os.close(prog)
    with pytest.raises(PinOutside, match="pins no map"):
        client.pin_open(str(folder / "prog"))


def test_an_unmounted_bpffs_is_named(tmp_path: Path) -> None:
    with local_client(Settings(bpffs=tmp_path)) as client:
        assert client.pins().pins == ()
        assert f"mount -t bpf bpf {tmp_path}" in client.pins().problem
        assert {each.name: each.works for each in client.hello().capabilities}["bpffs"] is False
