"""Version 3: usage beside and after the session, and usage that nobody reported."""

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """Add a column, which is NULL for all usage so far, and a table."""
    op.add_column("usage", sa.Column("phase", sa.Text))
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "missing",
        sa.Column("id", number, primary_key=True),
        sa.Column("instance", sa.Text, nullable=False),
        sa.Column("session", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("persona", sa.Text),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("turns", sa.BigInteger, nullable=False),
    )
    op.create_index("missing_session", "missing", ["session"])
