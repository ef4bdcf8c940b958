"""Rules of sums that Python and SQL both apply, each written once for either, side by side.

A property test compares every pair.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from sqlalchemy import Column, ColumnElement, Table, and_, case, func, true

from livekit_exporter.ledger import schema
from livekit_exporter.ledger.rows import UsageRow
from livekit_exporter.prices.pricing import Status
from livekit_exporter.record import at_least_one

Sql: TypeAlias = ColumnElement[Any]

Equal: TypeAlias = Mapping[str, Sequence[str]]
"""Values that a column may have, by its name; any where it is not named."""

_USAGE: Final = schema.usage.c


def unpriced_requests(requests: int, status: Status) -> int:
    """Count the requests of a usage row that have no price; see `UNPRICED_REQUESTS`."""
    return at_least_one(requests) if status == "unpriced" else 0


REQUESTS: Final[Sql] = case((_USAGE.requests > 0, _USAGE.requests), else_=1)
"""`record.at_least_one` of a usage row."""

UNPRICED_REQUESTS: Final[Sql] = case((_USAGE.status == "unpriced", REQUESTS), else_=0)
"""`unpriced_requests` of a usage row."""

COST_USD: Final[Sql] = func.coalesce(_USAGE.cost_usd, 0.0)
"""Cost of a usage row, 0 while there is no price."""


def _larger(first: Sql, second: Sql) -> Sql:
    return case((first > second, first), else_=second)


CACHED_TOKENS: Final = _larger(
    _USAGE.cached_input_tokens, _USAGE.cached_audio_tokens + _USAGE.cached_image_tokens
)
"""`cached_input` of `prices.rules.token_buckets`, of all modalities."""

ASKED_TOKENS: Final = _larger(
    _larger(_USAGE.input_tokens, CACHED_TOKENS + _USAGE.cache_write_tokens),
    _larger(_USAGE.input_audio_tokens, _USAGE.cached_audio_tokens)
    + _larger(_USAGE.input_image_tokens, _USAGE.cached_image_tokens),
)
"""`prices.rules.asked_tokens`: cached and cache-written ones included."""

ANSWERED_TOKENS: Final = _larger(
    _larger(_USAGE.output_tokens, _USAGE.total_tokens - ASKED_TOKENS),
    _USAGE.output_audio_tokens + _USAGE.output_image_tokens,
)
"""`prices.rules.answered_tokens`."""


def same_call(table: Table) -> ColumnElement[bool]:
    """Join a table with `sessions`: a call is identified by session and instance."""
    calls = schema.sessions.c
    return and_(table.c["session"] == calls.session, table.c["instance"] == calls.instance)


@dataclass(frozen=True, slots=True)
class Span:
    """Rows of a time that have given values in some columns.

    Args:
        since: First moment, Unix seconds.
        until: End, exclusive.
        equal: Values that a column may have, by its name; any where it is not named.
    """

    since: float
    until: float
    equal: Equal = field(default_factory=dict)

    def holds(self, row: UsageRow) -> bool:
        """Return `True` for a usage row that is in it; see `within`."""
        return self.since <= row.at < self.until and all(
            getattr(row, name) in values for name, values in self.equal.items()
        )


def within(
    table: Table, span: Span, *, at: str = "at", elsewhere: Table | None = None
) -> ColumnElement[bool]:
    """Select the rows that `Span.holds`.

    Args:
        table: Table of the rows.
        span: Time and values.
        at: Column of the time.
        elsewhere: A joined table that has the columns which the table does not have.
    """
    return and_(
        table.c[at] >= span.since,
        table.c[at] < span.until,
        equal_to(table, span.equal, elsewhere),
    )


def equal_to(table: Table, equal: Equal, elsewhere: Table | None = None) -> ColumnElement[bool]:
    """Select rows with given values; see `within`."""
    named = (column(table, name, elsewhere).in_(values) for name, values in equal.items())
    return and_(true(), *named)


def column(table: Table, name: str, elsewhere: Table | None = None) -> Column[Any]:
    """Return a column of a table, or of the joined table where that does not have it."""
    return table.c[name] if elsewhere is None or name in table.c else elsewhere.c[name]
