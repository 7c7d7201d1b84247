"""Iterators where they work, and a broker where they do not: an older kernel, or one without BTF."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from app.broker import vmlinux
from app.broker.host import Host
from app.broker.iterators import Iterators
from app.broker.local import LocalTransport
from app.uapi import loading
from app.uapi.enums import BpfCmd
from app.uapi.errors import error_for
from app.wire.ask import Client
from app.wire.errors import UnusableHere
from tests.broker.conftest import fill, id_of

pytestmark = pytest.mark.kernel


def without_btf(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> None:
        raise UnusableHere("this kernel has no BTF")

    monkeypatch.setattr(vmlinux, "load", load)


def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def link_create(*_: object, **__: object) -> int:
        raise error_for(BpfCmd.LINK_CREATE, 22)  # EINVAL, as kernels before 5.7 answer

    monkeypatch.setattr(loading, "link_create", link_create)


def without_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    def prog_load(_: object) -> int:
        raise error_for(BpfCmd.PROG_LOAD, 1)

    monkeypatch.setattr(loading, "prog_load", prog_load)


@pytest.mark.parametrize("lack", [without_btf, without_links, without_programs], ids=lambda lack: lack.__name__)
def test_a_kernel_without_iterators_is_still_listed(
    monkeypatch: pytest.MonkeyPatch, make_map: Callable[..., int], lack: Callable[[pytest.MonkeyPatch], None]
) -> None:
    lack(monkeypatch)
    fd = make_map()
    fill(fd, 5)
    before = len(os.listdir("/proc/self/fd"))
    with Client(LocalTransport(Host(bpffs=Path("/sys/fs/bpf")))) as client:
        for _ in range(2):
            facts = {each.id: each for each in client.maps().maps}[id_of(fd)]
            assert (facts.max_entries, facts.entries) == (64, None)
            holders = {(each.pid, each.fd): each for each in client.holders().holders}
            assert holders[os.getpid(), fd].id == id_of(fd)
        capabilities = {each.name: each for each in client.hello().capabilities}
        assert not capabilities["counts"].works
        assert not capabilities["processes"].works
        assert capabilities["list"].works
    assert len(os.listdir("/proc/self/fd")) == before


def test_why_an_iterator_is_missing_is_told_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    without_btf(monkeypatch)
    loaded = Iterators()
    for _ in range(2):
        with pytest.raises(UnusableHere, match="this kernel has no BTF"):
            loaded.element_counts()


def test_loading_everything_again_leaves_no_descriptor(make_map: Callable[..., int]) -> None:
    fill(make_map(), 1)
    before = len(os.listdir("/proc/self/fd"))
    loaded = Iterators()
    for _ in range(3):
        loaded.load_all()
        assert loaded.element_counts()
        loaded.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_open_files_are_those_of_proc(tmp_path: Path) -> None:
    loaded = Iterators()
    long = tmp_path / ("x" * 200) / ("y" * 200)
    long.parent.mkdir()
    with (tmp_path / "plain").open("w") as plain, long.open("w") as too_long:
        found = {(pid, fd): path for pid, fd, path in loaded.open_files()}
        assert found[os.getpid(), plain.fileno()] == os.fsencode(tmp_path / "plain")
        assert found[os.getpid(), too_long.fileno()] == b""
    loaded.close()
