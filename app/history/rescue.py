"""A SQLite file whose own facts are damaged, read by a copy that has them from a new history.

Before SQLite reads a row it needs the header of the file, the definitions of the tables and the pages that these begin at. All
of that is the same in every history of one schema, of which there are two forms: as it was made, and as VACUUM orders it. So a
damaged file is copied, and the copy gets the first page and the definitions of a new one. What the rows themselves say is not
touched, and each still has its seal: a form that does not fit gives rows that are damaged, and none that are wrong.
"""

from __future__ import annotations

import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import cache
from pathlib import Path

from app.history.errors import HistoryError

PAGE_BYTES = 4096
_LEAF = 0x0D
_HEADER_BYTES = 100
_CELLS, _RIGHTMOST = 3, 8
"""Offsets in a page of a tree: how many cells there are, and the child behind the last of them."""
_VERSIONS, _CHANGES, _SIZE, _FREE, _VALID_FOR = 18, 24, 28, 32, 92
"""Offsets in the header: journal modes, count of changes, pages, free pages, the count that the size was written at."""
_OUR_VERSION = (3, 4)
"""Pages of alembic_version and of its index."""


def copies(path: Path, folder: Path) -> Iterator[Path]:
    """Readable copies of a damaged file, one for each form that it may have, in a folder. None where there is no room for one."""
    size = path.stat().st_size
    if size < PAGE_BYTES or 3 * size > shutil.disk_usage(folder).free:
        return
    for number, form in enumerate(forms()):
        copy = folder / f"{number}.db"
        shutil.copyfile(path, copy)
        _take_in_log(path, copy)
        _put_in(copy, form)
        yield copy
        copy.unlink()


_MADE = (
    "alembic_version sqlite_autoindex_alembic_version_1 chunk sqlite_autoindex_chunk_1 sqlite_sequence ix_chunk_base_id"
    " meta sqlite_autoindex_meta_1 root sqlite_autoindex_root_1 series sqlite_autoindex_series_1 layout"
    " sqlite_autoindex_layout_1 ix_layout_base_btf_id ix_layout_btf_id use ix_use_chunk_id snapshot ix_snapshot_layout_id"
    " ix_snapshot_root_id ix_snapshot_series_id_taken_ns"
)
_VACUUMED = (
    "alembic_version sqlite_autoindex_alembic_version_1 chunk sqlite_autoindex_chunk_1 sqlite_sequence meta"
    " sqlite_autoindex_meta_1 root sqlite_autoindex_root_1 series sqlite_autoindex_series_1 layout sqlite_autoindex_layout_1"
    " use snapshot ix_chunk_base_id ix_layout_base_btf_id ix_layout_btf_id ix_use_chunk_id ix_snapshot_layout_id"
    " ix_snapshot_root_id ix_snapshot_series_id_taken_ns"
)
FIRST_PAGES = tuple({name: page for page, name in enumerate(form.split(), 3)} for form in (_MADE, _VACUUMED))
"""The page at which each table and index begins, in each form."""


@cache
def forms() -> tuple[bytes, ...]:
    """New histories, whole: as they are made, and after VACUUM."""
    from app.history.database import open_writing, sqlite_url

    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.db"
        open_writing(sqlite_url(path)).close()
        for statement in ("PRAGMA journal_mode=DELETE", "VACUUM"):
            with closing(sqlite3.connect(path)) as connection:
                connection.execute(statement)
            found.append(path.read_bytes())
    return tuple(found)


@cache
def definitions() -> dict[str, tuple[str, ...]]:
    """Of each table and index of a new history: its type, its table and the statement that makes it."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(forms()[0])
        return {
            name: tuple(map(str, rest))
            for name, *rest in connection.execute("SELECT name, type, tbl_name, sql FROM sqlite_schema")
        }


def _take_in_log(path: Path, copy: Path) -> None:
    """Bring what waits in the write-ahead log into a copy, as far as SQLite can."""
    log = path.with_name(f"{path.name}-wal")
    with suppress(OSError, sqlite3.Error, HistoryError):
        if log.stat().st_size:
            shutil.copyfile(log, copy.with_name(f"{copy.name}-wal"))
            with closing(sqlite3.connect(copy)) as connection:
                connection.execute("PRAGMA writable_schema=ON")  # errors of definitions are passed over
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for suffix in ("-wal", "-shm"):
        copy.with_name(copy.name + suffix).unlink(missing_ok=True)


def _put_in(copy: Path, form: bytes) -> None:
    """Give a copy the first page, the definitions and the number of the schema of a new history."""
    first = bytearray(_page(form, 1))
    with copy.open("rb+") as file:
        pages = -(-file.seek(0, 2) // PAGE_BYTES)
        for at in _children(first):  # the definitions, behind everything else
            (child,) = struct.unpack_from(">I", first, at)
            pages += 1
            file.seek((pages - 1) * PAGE_BYTES)
            file.write(_page(form, child))
            struct.pack_into(">I", first, at, pages)
        first[_VERSIONS : _VERSIONS + 2] = b"\1\1"
        struct.pack_into(">I", first, _CHANGES, 1)
        struct.pack_into(">I", first, _VALID_FOR, 1)
        struct.pack_into(">I", first, _SIZE, pages)
        struct.pack_into(">II", first, _FREE, 0, 0)
        for number, page in ((1, bytes(first)), *((each, _page(form, each)) for each in _OUR_VERSION)):
            file.seek((number - 1) * PAGE_BYTES)
            file.write(page)


def _page(form: bytes, number: int) -> bytes:
    return form[(number - 1) * PAGE_BYTES : number * PAGE_BYTES]


def _children(first: bytes | bytearray) -> list[int]:
    """Offsets in the first page at which the pages with the definitions are named."""
    if first[_HEADER_BYTES] == _LEAF:
        return []
    (cells,) = struct.unpack_from(">H", first, _HEADER_BYTES + _CELLS)
    pointers = struct.unpack_from(f">{cells}H", first, _HEADER_BYTES + _RIGHTMOST + 4)
    return [*pointers, _HEADER_BYTES + _RIGHTMOST]
