"""Alembic's way into the store: the connection comes from the caller."""

from alembic import context

from sluicegate.pipeline.review.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"], target_metadata=METADATA, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
