"""The tables, as SQLAlchemy maps them; migrations/ has how a database comes to have them.

Rows that mean something by themselves carry a checksum of what is in them (seal.py), or are named by the hash of it.
"""

from __future__ import annotations

from typing import cast

from sqlalchemy import (
    BigInteger,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

HEAD = "0001"
"""The newest migration: what this release reads and writes."""
FORMAT = 1
"""Of what chunks, roots and layouts hold; codec.py and root.py say how."""

_NEVER_AGAIN = {"sqlite_autoincrement": True}
"""A number that was given once is not given again after its row went: readers remember them."""
ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only in an INTEGER


class Blob(TypeDecorator[bytes]):
    """Bytes, handed on as the driver gives them: where a damaged row holds a number, a seal is to see that number."""

    impl = LargeBinary
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> None:
        """Nothing is to be done."""

    def result_processor(self, dialect: Dialect, coltype: object) -> None:
        """Nothing is to be done."""


class Base(DeclarativeBase):
    """Names of constraints are fixed, so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def table_of(of: type[Base]) -> Table:
    """Of a class; a statement on it is made in half the time of one on the class."""
    return cast("Table", of.__table__)


class Meta(Base):
    """Facts about the database itself, by name."""

    __tablename__ = "meta"
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[bytes] = mapped_column(Blob)
    seal: Mapped[bytes] = mapped_column(Blob)


class Series(Base):
    """One map as people know it, across restarts of programs and hosts."""

    __tablename__ = "series"
    __table_args__ = (UniqueConstraint("host", "pin", "name", "type", "owner", "ordinal"), _NEVER_AGAIN)
    id: Mapped[int] = mapped_column(ID, primary_key=True)
    host: Mapped[str] = mapped_column(Text)
    pin: Mapped[str] = mapped_column(Text)
    """Path of the pin that identifies it; empty: name, type and owner do."""
    name: Mapped[str] = mapped_column(Text)
    type: Mapped[int] = mapped_column(Integer)
    owner: Mapped[str] = mapped_column(Text)
    ordinal: Mapped[int] = mapped_column(Integer)
    """0, but for further maps of the same name, type and owner that live at the same time."""
    first_seen_ns: Mapped[int] = mapped_column(BigInteger)
    last_seen_ns: Mapped[int] = mapped_column(BigInteger)
    """When its map was last there."""
    checked_ns: Mapped[int] = mapped_column(BigInteger)
    """When its map was last read and compared with the newest snapshot."""
    map_id: Mapped[int] = mapped_column(BigInteger)
    """Of the newest map, for people to see."""
    boot_id: Mapped[str] = mapped_column(Text)
    settings: Mapped[bytes] = mapped_column(Blob)
    """What people chose for it (ignore-rules), msgpack."""
    seal: Mapped[bytes] = mapped_column(Blob)


class Layout(Base):
    """What the bytes of a snapshot mean; opaque here."""

    __tablename__ = "layout"
    __table_args__ = (_NEVER_AGAIN,)
    id: Mapped[int] = mapped_column(ID, primary_key=True)
    address: Mapped[bytes] = mapped_column(Blob, unique=True)
    """BLAKE2b-256 of the body and of the addresses of the two chunks."""
    body: Mapped[bytes] = mapped_column(Blob)
    btf_id: Mapped[int | None] = mapped_column(ForeignKey("chunk.id"), index=True)
    base_btf_id: Mapped[int | None] = mapped_column(ForeignKey("chunk.id"), index=True)
    """Of split BTF: what it is split from."""
    seal: Mapped[bytes] = mapped_column(Blob)


class Chunk(Base):
    """Bytes, stored once."""

    __tablename__ = "chunk"
    __table_args__ = (_NEVER_AGAIN,)
    id: Mapped[int] = mapped_column(ID, primary_key=True)
    address: Mapped[bytes] = mapped_column(Blob, unique=True)
    """BLAKE2b-256 of the bytes, however they are encoded."""
    codec: Mapped[int] = mapped_column(Integer)
    width: Mapped[int] = mapped_column(Integer)
    """Bytes of a row."""
    raw_bytes: Mapped[int] = mapped_column(BigInteger)
    base_id: Mapped[int | None] = mapped_column(ForeignKey("chunk.id"), index=True)
    """The chunk that a delta is against."""
    depth: Mapped[int] = mapped_column(Integer)
    """Deltas to undo before the bytes are whole."""
    data: Mapped[bytes] = mapped_column(Blob)
    seal: Mapped[bytes] = mapped_column(Blob)


class Root(Base):
    """The entries of one moment: a list of chunks of keys and of values."""

    __tablename__ = "root"
    __table_args__ = (_NEVER_AGAIN,)
    id: Mapped[int] = mapped_column(ID, primary_key=True)
    address: Mapped[bytes] = mapped_column(Blob, unique=True)
    """BLAKE2b-256 over the addresses of all its chunks: two roots of one address hold the same entries."""
    entries: Mapped[int] = mapped_column(BigInteger)
    key_width: Mapped[int] = mapped_column(Integer)
    value_width: Mapped[int] = mapped_column(Integer)
    body: Mapped[bytes] = mapped_column(Blob)
    seal: Mapped[bytes] = mapped_column(Blob)


class Use(Base):
    """A root needs a chunk: the database itself refuses to delete one in use."""

    __tablename__ = "use"
    __table_args__ = ({"sqlite_with_rowid": False},)
    root_id: Mapped[int] = mapped_column(ForeignKey("root.id", ondelete="CASCADE"), primary_key=True)
    chunk_id: Mapped[int] = mapped_column(ForeignKey("chunk.id"), primary_key=True, index=True)


class Snapshot(Base):
    """The entries of one map at one time."""

    __tablename__ = "snapshot"
    __table_args__ = (Index("ix_snapshot_series_id_taken_ns", "series_id", "taken_ns"), _NEVER_AGAIN)
    id: Mapped[int] = mapped_column(ID, primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"))
    layout_id: Mapped[int] = mapped_column(ForeignKey("layout.id"), index=True)
    root_id: Mapped[int] = mapped_column(ForeignKey("root.id"), index=True)
    taken_ns: Mapped[int] = mapped_column(BigInteger)
    """CLOCK_REALTIME when the reading ended."""
    took_ns: Mapped[int] = mapped_column(BigInteger)
    map_id: Mapped[int] = mapped_column(BigInteger)
    boot_id: Mapped[str] = mapped_column(Text)
    completeness: Mapped[str] = mapped_column(Text)
    trigger: Mapped[str] = mapped_column(Text)
    """`schedule`, `manual`, `pre-edit`, `import`."""
    author: Mapped[str] = mapped_column(Text)
    label: Mapped[str] = mapped_column(Text)
    """One with a label is kept until somebody deletes it."""
    bytes_added: Mapped[int] = mapped_column(BigInteger)
    notes: Mapped[str] = mapped_column(Text)
    """A sentence a line."""
    seal: Mapped[bytes] = mapped_column(Blob)
