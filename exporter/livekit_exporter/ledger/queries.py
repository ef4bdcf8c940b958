"""Queries of reports: sums and rows of a period, all of one state of the ledger.

Nothing here writes.  The database groups and sums; reports put days of any time zone together
from quarters of an hour, because every zone's midnight falls on one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Integer,
    Label,
    Row,
    Select,
    Table,
    and_,
    case,
    cast,
    func,
    literal_column,
    select,
)

from livekit_exporter import contract
from livekit_exporter.ledger import schema
from livekit_exporter.ledger.backends.locate import reading
from livekit_exporter.ledger.expressions import (
    ANSWERED_TOKENS,
    ASKED_TOKENS,
    CACHED_TOKENS,
    REQUESTS,
    UNPRICED_REQUESTS,
    Equal,
    Span,
    column,
    equal_to,
    same_call,
    within,
)
from livekit_exporter.ledger.read import SESSION, USAGE, call_rows
from livekit_exporter.ledger.rows import (
    QUANTITIES,
    CallRows,
    SessionRow,
    UsageRow,
    usage_row,
    utc_day,
)

__all__ = [
    "QUARTER_SECONDS",
    "FirstWait",
    "Kept",
    "Key",
    "ListedCall",
    "Snapshot",
    "Span",
    "Sums",
    "TurnTimes",
    "snapshot",
]

QUARTER_SECONDS: Final = 900

Key: TypeAlias = Mapping[str, str | int | None]


class Sums(NamedTuple):
    """Sums of the rows that are alike in some columns.

    Args:
        key: Values of these columns.
        sums: Sums by name.
    """

    key: Key
    sums: Mapping[str, float]


class ListedCall(NamedTuple):
    """A call as lists and comparisons show it."""

    session: str
    agent: str
    user: str | None
    labels: str
    started_at: float
    closed_at: float | None
    reason: str | None
    ended: bool
    turns: int
    interrupted: int
    unpriced_requests: int
    cost_usd: float
    wasted_usd: float


class TurnTimes(NamedTuple):
    """Latency of a reply, of its parts, and its cost.

    Args:
        answered: It answers the user, so it counts as a turn.
        derived: Its latency is the sum of its parts; LiveKit measured none.
    """

    answered: bool
    interrupted: bool
    derived: bool
    latency_seconds: float | None
    eou_delay_seconds: float | None
    transcription_delay_seconds: float | None
    callback_seconds: float | None
    cost_usd: float


class FirstWait(NamedTuple):
    """The wait for the first token or byte of one request."""

    stage: str
    seconds: float


class Kept(NamedTuple):
    """Oldest rows and rollups of the ledger.

    Args:
        rows_since: Time before which rows may be gone, Unix seconds.
        days_since: Oldest day of the rollups, `YYYY-MM-DD`.
    """

    rows_since: float | None
    days_since: str | None


_USAGE: Final = schema.usage.c


def _counted(condition: ColumnElement[bool], count: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.sum(case((condition, count), else_=0))


_USAGE_SUMS: Final[Mapping[str, ColumnElement[Any]]] = {
    "reports": func.count(),
    "requests": func.sum(_USAGE.requests),
    "cancelled_requests": func.sum(cast(_USAGE.cancelled, Integer)),
    "unpriced_requests": func.sum(UNPRICED_REQUESTS),
    "without_usage_requests": _counted(
        and_(
            _USAGE.status == "nothing_to_bill",
            _USAGE.stage.in_(contract.REQUESTS_WITHOUT_USAGE.init_at_zero),
        ),
        _USAGE.requests,
    ),
    "free_requests": _counted(and_(_USAGE.status == "priced", _USAGE.cost_usd == 0.0), REQUESTS),
    **{name: func.sum(_USAGE[name]) for name in QUANTITIES},
    "tokens_input": func.sum(ASKED_TOKENS - CACHED_TOKENS - _USAGE.cache_write_tokens),
    "tokens_cached_input": func.sum(CACHED_TOKENS),
    "tokens_cache_write": func.sum(_USAGE.cache_write_tokens),
    "tokens_output": func.sum(ANSWERED_TOKENS),
    "cost_usd": func.coalesce(func.sum(_USAGE.cost_usd), 0.0),
    "wasted_usd": func.sum(_USAGE.wasted_usd),
}
"""Sums of usage rows, by name."""


class Snapshot:
    """One state of the ledger, whatever is written meanwhile.

    Args:
        connection: In a transaction that sees one state.

    Attributes:
        expected: Number of rows that `used` reads, `None` before; for a progress bar.
        read: Number of them read so far.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # One answer takes several looks at the same sums, and they cannot change meanwhile.
        self._known: dict[str, list[Sums]] = {}
        self.expected: int | None = None
        self.read = 0

    def usage(
        self, span: Span, by: Sequence[str], names: Sequence[str] | None = None
    ) -> list[Sums]:
        """Sum up usage rows.

        Args:
            span: Rows to sum up.
            by: Columns to group by; `quarter` is the time in quarters of an hour since 1970.
            names: Names of the sums; all when not given.
        """
        chosen = {
            name: expression
            for name, expression in _USAGE_SUMS.items()
            if names is None or name in names
        }
        query = select(
            *self._keys(schema.usage, by), *(each.label(name) for name, each in chosen.items())
        ).where(within(schema.usage, span))
        return self._sums(query, by, tuple(chosen))

    def daily(self, days: tuple[str, str], equal: Equal, by: Sequence[str]) -> list[Sums]:
        """Sum up the rollup by UTC day and model.

        Args:
            days: First day, and end (exclusive).
            equal: Values that a column may have.
            by: Columns to group by.
        """
        return self._rolled_up(schema.daily, days, equal, by)

    def daily_users(self, days: tuple[str, str], equal: Equal, by: Sequence[str]) -> list[Sums]:
        """Sum up the rollup by UTC day, agent, user and labels; otherwise like `daily`."""
        return self._rolled_up(schema.daily_users, days, equal, by)

    def calls(self, span: Span) -> list[ListedCall]:
        """Read calls that began within a span, oldest first."""
        columns = schema.sessions.c
        query = (
            select(*(columns[name] for name in ListedCall._fields))
            .where(within(schema.sessions, span, at="started_at"))
            .order_by(columns.started_at, columns.session)
        )
        return [ListedCall(*row) for row in self._connection.execute(query)]

    def turns(
        self, span: Span, by: Sequence[str]
    ) -> Iterator[tuple[tuple[str | int | None, ...], TurnTimes]]:
        """Stream replies within a span, in no order.

        Args:
            span: Replies to read.
            by: Columns of the reply or its call that come first, as for `usage`.
        """
        columns = schema.turns.c
        query = (
            select(
                *self._keys(schema.turns, by, schema.sessions),
                *(columns[name] for name in TurnTimes._fields),
            )
            .join_from(schema.turns, schema.sessions, same_call(schema.turns))
            .where(within(schema.turns, span, elsewhere=schema.sessions))
        )
        for row in self._stream(query):
            yield row[: len(by)], TurnTimes._make(row[len(by) :])

    def waits(
        self, span: Span, by: Sequence[str]
    ) -> Iterator[tuple[tuple[str | int | None, ...], FirstWait]]:
        """Stream measured waits for a first token or byte, in no order; otherwise like `turns`."""
        query = select(*self._keys(schema.usage, by), _USAGE.stage, _USAGE.first_seconds).where(
            within(schema.usage, span), _USAGE.first_seconds.is_not(None)
        )
        for row in self._stream(query):
            yield row[: len(by)], FirstWait._make(row[len(by) :])

    def used(self, span: Span) -> Iterator[UsageRow]:
        """Stream usage rows, in no order."""
        which = within(schema.usage, span)
        count = select(func.count()).select_from(schema.usage).where(which)
        self.expected, self.read = self._connection.execute(count).scalar() or 0, 0
        for row in self._stream(select(*USAGE).where(which)):
            self.read += 1
            yield usage_row(row)

    def failures(self, span: Span, by: Sequence[str]) -> list[Sums]:
        """Count failed attempts at a provider, as `errors`."""
        query = (
            select(*self._keys(schema.failures, by, schema.sessions), func.count().label("errors"))
            .join_from(schema.failures, schema.sessions, same_call(schema.failures))
            .where(within(schema.failures, span, elsewhere=schema.sessions))
        )
        return self._sums(query, by, ("errors",))

    def missing(self, span: Span, by: Sequence[str]) -> list[Sums]:
        """Count the turns of which nobody reported some usage, as `missing_turns`."""
        turns = func.sum(schema.missing.c.turns).label("missing_turns")
        query = (
            select(*self._keys(schema.missing, by, schema.sessions), turns)
            .join_from(schema.missing, schema.sessions, same_call(schema.missing))
            .where(within(schema.missing, span, elsewhere=schema.sessions))
        )
        return self._sums(query, by, ("missing_turns",))

    def call(self, prefix: str) -> list[SessionRow]:
        """Read up to nine calls whose id has this prefix, or the one with exactly this id."""
        column = schema.sessions.c.session
        query = select(*SESSION)
        for which in (column == prefix, column.startswith(prefix, autoescape=True)):
            rows = self._connection.execute(query.where(which).order_by(column).limit(9))
            found = [SessionRow(**row) for row in rows.mappings()]
            if found:
                return found
        return []

    def rows_of(self, session: str) -> CallRows:
        """Read the turns, usage and failures of a call, each in their order."""
        return call_rows(self._connection, session)

    def usage_of(self, session: str, by: Sequence[str]) -> list[Sums]:
        """Sum up the usage rows of one call."""
        query = select(
            *self._keys(schema.usage, by),
            *(each.label(name) for name, each in _USAGE_SUMS.items()),
        ).where(_USAGE.session == session)
        return self._sums(query, by, tuple(_USAGE_SUMS))

    def labels(self, since: float, until: float) -> list[str]:
        """Read the distinct labels of calls on the UTC days of a span, as JSON."""
        columns = schema.daily_users.c
        query = select(columns.labels).distinct()
        within = columns.day.between(utc_day(since), utc_day(until))
        return list(self._connection.execute(query.where(within)).scalars())

    def kept(self) -> Kept:
        """Read how far back rows and rollups go."""
        query = select(
            select(func.max(schema.instances.c.kept_from)).scalar_subquery(),
            select(func.min(schema.daily.c.day)).scalar_subquery(),
        )
        return Kept(*self._connection.execute(query).one())

    def answers(self, span: Span, by: Sequence[str]) -> list[Sums]:
        """Count answered turns as `turns`, and those talked over as `interrupted`."""
        columns = schema.turns.c
        query = (
            select(
                *self._keys(schema.turns, by, schema.sessions),
                func.count().label("turns"),
                func.sum(cast(columns.interrupted, Integer)).label("interrupted"),
            )
            .join_from(schema.turns, schema.sessions, same_call(schema.turns))
            .where(
                within(schema.turns, span, elsewhere=schema.sessions), columns.answered.is_(True)
            )
        )
        return self._sums(query, by, ("turns", "interrupted"))

    def longest(self, span: Span) -> list[Sums]:
        """Find the longest turn latency by call within a span, as `latency_seconds`."""
        columns = schema.turns.c
        query = (
            select(columns.session, func.max(columns.latency_seconds).label("latency_seconds"))
            .join_from(schema.turns, schema.sessions, same_call(schema.turns))
            .where(
                within(schema.turns, span, elsewhere=schema.sessions),
                columns.latency_seconds.is_not(None),
            )
        )
        return self._sums(query, ("session",), ("latency_seconds",))

    def endings(self, span: Span) -> list[Sums]:
        """Count calls that began within a span by `ended` and `reason`, as `calls`."""
        columns = schema.sessions.c
        by = ("ended", "reason")
        query = select(columns.ended, columns.reason, func.count().label("calls")).where(
            within(schema.sessions, span, at="started_at")
        )
        return self._sums(query, by, ("calls",))

    def counted(self, family: str) -> float:
        """Sum up all series of a counter, since the ledger began."""
        columns = schema.series.c
        query = select(func.sum(columns.value)).where(columns.family == family)
        return self._connection.execute(query).scalar() or 0.0

    def _keys(
        self, table: Table, by: Sequence[str], elsewhere: Table | None = None
    ) -> list[Label[Any]]:
        """Name the columns to group by; the joined table has those that the table lacks."""
        made: dict[str, Callable[[Table], ColumnElement[Any]]] = {
            "quarter": self._quarter,
            "phase": _phase,
        }
        return [
            (made[name](table) if name in made else column(table, name, elsewhere)).label(name)
            for name in by
        ]

    def _quarter(self, table: Table) -> ColumnElement[int]:
        # A literal: PostgreSQL takes two parameters, here and in GROUP BY, for different ones.
        quarters = table.c["at"] / literal_column(f"{QUARTER_SECONDS}.0", Float)
        # SQLite may be built without FLOOR and cuts off; PostgreSQL rounds where it casts.
        cut = self._connection.dialect.name == "sqlite"
        return cast(quarters if cut else func.floor(quarters), Integer)

    def _rolled_up(
        self, table: Table, days: tuple[str, str], equal: Equal, by: Sequence[str]
    ) -> list[Sums]:
        columns = table.c
        names = tuple(
            column.name
            for column in columns
            if not column.primary_key and column.name not in ("agent", "user", "labels", "source")
        )
        query = select(
            *(columns[name].label(name) for name in by),
            *(func.sum(columns[name]).label(name) for name in names),
        ).where(columns.day >= days[0], columns.day < days[1], equal_to(table, equal))
        asked = repr((table.name, days, sorted(equal.items()), tuple(by)))
        if asked not in self._known:
            self._known[asked] = self._sums(query, by, names)
        return self._known[asked]

    def _sums(self, query: Select[Any], by: Sequence[str], names: Sequence[str]) -> list[Sums]:
        """Group a query by its first columns and read the rest as sums."""
        grouped = query.group_by(*query.selected_columns[: len(by)]) if by else query
        found = []
        for row in self._connection.execute(grouped):
            values = [0 if value is None else value for value in row[len(by) :]]
            if not by and not any(values):
                continue  # the sum of no rows at all is a row, too
            found.append(
                Sums(
                    dict(zip(by, row, strict=False)),
                    # PostgreSQL adds 64-bit numbers up to a decimal one.
                    {
                        name: value if isinstance(value, float) else int(value)
                        for name, value in zip(names, values, strict=True)
                    },
                )
            )
        return found

    def _stream(self, query: Select[Any]) -> Iterator[Row[Any]]:
        yield from self._connection.execution_options(yield_per=5000).execute(query)


@contextmanager
def snapshot(where: Path | str) -> Iterator[Snapshot]:
    """Open a ledger to read one state of it.

    Args:
        where: The embedded ledger's file, or the URL of a PostgreSQL database.

    Raises:
        LedgerError: It is missing, has another version, or cannot be read.
    """
    with reading(where) as connection:
        yield Snapshot(connection)


def _phase(table: Table) -> ColumnElement[str]:
    """Say when usage was: `call` in the session, where turns and failures are, too."""
    # A column even where there is none, and no parameter: PostgreSQL groups by neither.
    said = table.c.phase if "phase" in table.c else func.nullif(table.c.session, table.c.session)
    return func.coalesce(said, literal_column("'call'"))
