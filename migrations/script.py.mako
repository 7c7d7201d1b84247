"""${message}

Rules for a migration: forward only; in one transaction; SQLite alters a table by `op.batch_alter_table`; what an earlier
release wrote must read back the same (tests/history/golden holds a database of each); add the new number to
app.history.database.KNOWN and app.history.tables.HEAD.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
