"""Runs the steps in the transaction of the process that opens the ledger; loaded by Alembic."""

from alembic import context

from livekit_exporter.ledger import schema

context.configure(
    connection=context.config.attributes["connection"], version_table=schema.version.name
)
with context.begin_transaction():
    context.run_migrations()
