"""Questions to a ledger, for tests of reports."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, tzinfo

from livekit_exporter.ledger.queries import Snapshot, snapshot
from livekit_exporter.reports.period import Period
from livekit_exporter.reports.question import Question
from livekit_exporter.reports.report import Report, Value
from tests.intake import Intake
from tests.records import AT

DAY = 86400.0
MIDNIGHT = AT - AT % DAY
"""Begin of the UTC day of `AT`."""


def question(
    *by: str,
    since: float = MIDNIGHT,
    until: float = MIDNIGHT + DAY,
    zone: tzinfo = UTC,
    labels: dict[str, tuple[str, ...]] | None = None,
    limit: int | None = None,
    **only: str,
) -> Question:
    """A question about the day of `AT`, if nothing else is said."""
    return Question(
        period=Period(since, until, zone),
        by=by,
        only={name: (value,) for name, value in only.items()},
        labels=labels or {},
        limit=limit,
    )


@contextmanager
def reading(intake: Intake) -> Iterator[Snapshot]:
    """The ledger of an intake, as reports read it."""
    with snapshot(intake.config.ledger.where(intake.config.data_dir)) as opened:
        yield opened


def rows(report: Report) -> list[dict[str, Value]]:
    """Lines of an answer by column."""
    names = [column.name for column in report.columns]
    return [dict(zip(names, row, strict=True)) for row in report.rows]


def totals(report: Report) -> dict[str, Value]:
    """The last line of an answer by column."""
    assert report.totals is not None
    return dict(zip([column.name for column in report.columns], report.totals, strict=True))
