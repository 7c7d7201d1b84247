"""Memory files: what cannot change any more is read, anything else is refused."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from app.wire import sealed
from app.wire.errors import BadFrame


@pytest.mark.parametrize("size_bytes", [1, 4095, 4096, 10_000_000])
def test_content_comes_whole(size_bytes: int) -> None:
    data = os.urandom(size_bytes)
    file = sealed.hold(data)
    with sealed.opened(file, size_bytes) as view:
        assert view == data
        assert view.readonly
    os.close(file)


def test_nobody_can_change_it() -> None:
    file = sealed.hold(b"abc")
    for change in (lambda: os.write(file, b"x"), lambda: os.ftruncate(file, 1), lambda: os.ftruncate(file, 9)):
        with pytest.raises(PermissionError):
            change()
    with pytest.raises(PermissionError):
        fcntl.fcntl(
            file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_FUTURE_WRITE if hasattr(fcntl, "F_SEAL_FUTURE_WRITE") else 0x10
        )
    os.close(file)


def refuse(file: int, size_bytes: int) -> None:
    try:
        with pytest.raises(BadFrame, match="sealed memory file"), sealed.opened(file, size_bytes):
            pass
    finally:
        os.close(file)


@pytest.mark.parametrize("size_bytes", [0, 2, 4, 2**32])
def test_another_size_than_was_said_is_refused(size_bytes: int) -> None:
    refuse(sealed.hold(b"abc"), size_bytes)


@pytest.mark.parametrize(
    "seals",
    [0, fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE],
    ids=["none", "shrink", "all but the seal on seals"],
)
def test_missing_seals_are_refused(seals: int) -> None:
    file = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    os.write(file, b"abc")
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
    refuse(file, 3)


def test_a_plain_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    refuse(os.open(tmp_path / "x", os.O_RDONLY), 3)
    refuse(os.open("/dev/zero", os.O_RDONLY), 3)
