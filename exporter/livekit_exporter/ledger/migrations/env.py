"""Run by Alembic: the steps happen in the transaction of whoever opens the ledger."""

from alembic import context

from livekit_exporter.ledger import schema

context.configure(
    connection=context.config.attributes["connection"], version_table=schema.version.name
)
with context.begin_transaction():
    context.run_migrations()
