"""Version 2, the first: `schema` creates its tables, and later steps start from it."""

revision = "2"
down_revision = None


def upgrade() -> None:
    """Do nothing: a new ledger gets its tables and this version from `backends.versions`."""
