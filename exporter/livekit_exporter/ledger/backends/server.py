"""PostgreSQL: the ledger in a database that several sidecars may share."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    Table,
    create_engine,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from livekit_exporter.ledger import schema
from livekit_exporter.ledger.backends.database import Database, LedgerError, Remedies

_ALONE: Final = 0x6C6B_6578_706F_7274
"""Key of the advisory lock for transactions that create or change tables."""

_MEASURE_EVERY_SECONDS: Final = 60.0

_CONNECTION: Final = {
    "application_name": "livekit-exporter",
    "connect_timeout": "5",
    # A network that swallows packets must not hold the loop for the quarter of an hour that
    # TCP takes to give up.
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
# And a transaction whose client is gone must not hold its locks for hours.
_SESSION: Final = "-c lock_timeout=10s -c idle_in_transaction_session_timeout=60s"

_SIZE: Final = text(
    "SELECT sum(pg_total_relation_size(oid)) FROM pg_class"
    " WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(:tables)"
)

_REMEDIES: Final[Remedies] = {
    "25006": "it is a standby, name the primary",
    "28000": "see to user and password in ledger.url",
    "28P01": "see to user and password in ledger.url",
    "3D000": "create the database",
    "3F000": "create the schema",
    "42501": "the user needs the right to create tables in its schema, and those that are there",
    "53100": "free space on the server's disk",
    "53300": "raise max_connections, or use fewer clients",
    "55P03": "see who holds it in pg_locks",
}


class Server(Database):
    """A PostgreSQL database.

    Args:
        url: In the form of libpq: `postgresql://user:password@host:5432/database`.
        read_only: Never write.

    Raises:
        LedgerError: The URL is invalid, or the driver is missing.
    """

    elsewhere = "choose an empty one, or a schema of its own with '?options=-csearch_path%3Dname'"

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        parsed = _parsed(url)
        name = URL.create(
            "postgresql", host=parsed.host, port=parsed.port, database=parsed.database
        ).render_as_string()
        self._secrets = [
            str(secret)
            for secret in (
                parsed.password,
                *(value for key, value in parsed.query.items() if "password" in key),
            )
            if secret
        ]
        super().__init__(name, _engine(parsed, name, read_only=read_only))
        self._size = 0
        self._measured_at = float("-inf")

    def measure(self, connection: Connection) -> None:
        """Query the size, at most once a minute."""
        now = time.monotonic()
        if now - self._measured_at >= _MEASURE_EVERY_SECONDS:
            tables = {"tables": list(schema.metadata.tables)}
            self._size = int(connection.execute(_SIZE, tables).scalar() or 0)
            self._measured_at = now

    def renumber(self, connection: Connection) -> None:
        """Set the id sequences behind the highest ids."""
        for table in (schema.usage, schema.failures, schema.missing):
            sequence = func.pg_get_serial_sequence(table.name, table.c.id.name)
            highest = select(func.max(table.c.id)).scalar_subquery()
            connection.execute(
                select(func.setval(sequence, func.coalesce(highest, 1), highest.is_not(None)))
            )

    def size_bytes(self) -> int:
        """Return the size of the tables, of all sidecars, at most a minute old."""
        return self._size

    def insert(
        self,
        connection: Connection,
        table: Table,
        names: Sequence[str],
        rows: Sequence[Sequence[object]],
    ) -> None:
        """Insert rows with COPY."""
        columns = ", ".join(f'"{name}"' for name in names)
        driver = self.engine.dialect.loaded_dbapi
        try:
            cursor = connection.connection.cursor()
            with cursor.copy(f'COPY "{table.name}" ({columns}) FROM STDIN') as copy:
                for row in rows:
                    copy.write_row(row)
            cursor.close()
        except driver.Error as error:
            raise self.error("write", error) from error

    def upsert(self, table: Table) -> Insert:
        """Begin an insert of PostgreSQL."""
        return Insert(table)

    def day(self, at: Column[float]) -> ColumnElement[str]:
        """Format the UTC day of whole seconds: PostgreSQL rounds to microseconds."""
        moment = func.timezone("UTC", func.to_timestamp(func.floor(at)))
        return func.to_char(moment, "YYYY-MM-DD")

    @contextmanager
    def _begin(self, *, alone: bool) -> Iterator[Connection]:
        with self.engine.begin() as connection:
            if alone:
                # Making, changing and copying tables takes its time, some of it elsewhere.
                connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
                connection.execute(select(func.pg_advisory_xact_lock(literal(_ALONE))))
            yield connection

    @contextmanager
    def _begin_snapshot(self) -> Iterator[Connection]:
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    def _remedy(self, cause: BaseException) -> str | None:
        return _REMEDIES.get(getattr(cause, "sqlstate", None) or "")

    def _redacted(self, said: str) -> str:
        for secret in self._secrets:
            said = said.replace(secret, "***")
        return said


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        known = parsed.drivername == "postgresql+psycopg"
    except (ArgumentError, ValueError):
        known = False
    if not known:
        # Without the URL: what is wrong with it may be the password.
        raise LedgerError(
            "cannot open ledger: its URL is not 'postgresql://user:password@host:5432/database';"
            " characters such as '@' and '/' in a password are written '%40' and '%2F'"
        )
    return parsed


def _engine(url: URL, name: str, *, read_only: bool) -> Engine:
    settings = {key: value for key, value in _CONNECTION.items() if key not in url.query}
    if not read_only:
        own = url.query.get("options", "")
        settings["options"] = f"{own if isinstance(own, str) else ' '.join(own)} {_SESSION}".strip()
    try:
        return create_engine(
            url,
            connect_args=settings,
            hide_parameters=True,
            max_overflow=8,
            pool_pre_ping=True,
            pool_size=2,
        )
    except ImportError as error:
        raise LedgerError(
            f"cannot open ledger '{name}': PostgreSQL needs a driver, install it with: pip install"
            " 'livekit-exporter[postgres]'"
        ) from error
