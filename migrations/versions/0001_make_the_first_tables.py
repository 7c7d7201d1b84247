"""Make the first tables"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:

    op.create_table(
        "chunk",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("codec", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("raw_bytes", sa.BigInteger(), nullable=False),
        sa.Column("base_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["base_id"], ["chunk.id"], name=op.f("fk_chunk_base_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chunk")),
        sa.UniqueConstraint("address", name=op.f("uq_chunk_address")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("chunk", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_chunk_base_id"), ["base_id"], unique=False)

    op.create_table(
        "meta",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_meta")),
    )
    op.create_table(
        "root",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("key_width", sa.Integer(), nullable=False),
        sa.Column("value_width", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_root")),
        sa.UniqueConstraint("address", name=op.f("uq_root_address")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "series",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pin", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("first_seen_ns", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_ns", sa.BigInteger(), nullable=False),
        sa.Column("checked_ns", sa.BigInteger(), nullable=False),
        sa.Column("map_id", sa.BigInteger(), nullable=False),
        sa.Column("boot_id", sa.Text(), nullable=False),
        sa.Column("settings", sa.LargeBinary(), nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_series")),
        sa.UniqueConstraint(
            "host", "pin", "name", "type", "owner", "ordinal", name=op.f("uq_series_host_pin_name_type_owner_ordinal")
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "layout",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("btf_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("base_btf_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("seal", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["base_btf_id"], ["chunk.id"], name=op.f("fk_layout_base_btf_id")),
        sa.ForeignKeyConstraint(["btf_id"], ["chunk.id"], name=op.f("fk_layout_btf_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_layout")),
        sa.UniqueConstraint("address", name=op.f("uq_layout_address")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("layout", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_layout_base_btf_id"), ["base_btf_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_layout_btf_id"), ["btf_id"], unique=False)

    op.create_table(
        "use",
        sa.Column("root_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("chunk_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(["chunk_id"], ["chunk.id"], name=op.f("fk_use_chunk_id")),
        sa.ForeignKeyConstraint(["root_id"], ["root.id"], name=op.f("fk_use_root_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("root_id", "chunk_id", name=op.f("pk_use")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("use", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_use_chunk_id"), ["chunk_id"], unique=False)

    op.create_table(
        "snapshot",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("series_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("layout_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("root_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("taken_ns", sa.BigInteger(), nullable=False),
        sa.Column("took_ns", sa.BigInteger(), nullable=False),
        sa.Column("map_id", sa.BigInteger(), nullable=False),
        sa.Column("boot_id", sa.Text(), nullable=False),
        sa.Column("completeness", sa.Text(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("bytes_added", sa.BigInteger(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["layout_id"], ["layout.id"], name=op.f("fk_snapshot_layout_id")),
        sa.ForeignKeyConstraint(["root_id"], ["root.id"], name=op.f("fk_snapshot_root_id")),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_snapshot_series_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshot")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("snapshot", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_snapshot_layout_id"), ["layout_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_snapshot_root_id"), ["root_id"], unique=False)
        batch_op.create_index("ix_snapshot_series_id_taken_ns", ["series_id", "taken_ns"], unique=False)
