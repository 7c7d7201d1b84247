"""For `alembic revision`, with a connection of its own; app.history.migrate runs the migrations without it."""

from __future__ import annotations

from alembic import context

from app.history.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
