"""The ledger's reader: one state, nothing changed, and the same from both databases."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from livekit_exporter import files
from livekit_exporter.ledger.backends import locate
from livekit_exporter.ledger.backends.database import LedgerError
from livekit_exporter.ledger.queries import Span, snapshot
from livekit_exporter.record import SessionStarted
from livekit_exporter.reports import calls, cost, latency, usage, waste
from livekit_exporter.reports.report import Value
from livekit_exporter.sidecar.config.settings import LedgerSettings
from tests.intake import Intake
from tests.questions import DAY, MIDNIGHT, question, reading, rows
from tests.records import AT, call, heard
from tests.reports.test_cost import CALL_USD, moved

TODAY = Span(MIDNIGHT, MIDNIGHT + DAY)


def test_snapshot_does_not_see_what_is_written_meanwhile(intake: Intake) -> None:
    """A report asks several questions; their answers fit together."""
    intake.take(*call())
    with snapshot(files.ledger(intake.config.data_dir)) as ledger:
        before = ledger.calls(TODAY)
        intake.take(*moved(call(), "s2", 60))

        assert ledger.calls(TODAY) == before
        assert ledger.usage(TODAY, ())[0].sums["cost_usd"] == pytest.approx(CALL_USD)
    with snapshot(files.ledger(intake.config.data_dir)) as ledger:
        assert len(ledger.calls(TODAY)) == 2


def test_reading_changes_nothing(intake: Intake) -> None:
    """Not even by mistake."""
    intake.take(*call())
    path = files.ledger(intake.config.data_dir)

    with (
        pytest.raises(LedgerError, match="attempt to write a readonly database"),
        locate.reading(path) as connection,
    ):
        connection.exec_driver_sql("DELETE FROM usage")

    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM usage").fetchone() == (3,)


def test_times_are_grouped_by_quarters(intake: Intake) -> None:
    """At both ends of one, and across the begin of the period."""
    quarter = AT // 900 * 900
    for number, at in enumerate((quarter, quarter + 899.999, quarter + 900)):
        intake.take(heard(f"s{number}", at=at))

    with snapshot(files.ledger(intake.config.data_dir)) as ledger:
        found = ledger.usage(TODAY, ("quarter",), ("reports",))

    assert [(int(key["quarter"] or 0) * 900 - quarter, sums["reports"]) for key, sums in found] == [
        (0, 2),
        (900, 1),
    ]


@pytest.mark.parametrize("by", [(), ("day", "model"), ("hour", "tenant"), ("session", "persona")])
def test_both_databases_give_the_same_answers(
    tmp_path: Path, database_url: str, by: tuple[str, ...]
) -> None:
    """To the last line and note, in a zone that no day of the rollups fits."""
    intakes = [
        Intake(tmp_path / "embedded"),
        Intake(tmp_path / "shared", ledger=LedgerSettings.model_validate({"url": database_url})),
    ]
    asked = question(*by, since=MIDNIGHT - DAY, zone=ZoneInfo("Asia/Kathmandu"))
    answers = []
    for intake in intakes:
        for number in range(5):
            first, *others = moved(call(f"s{number}"), f"s{number}", number * -7000)
            assert isinstance(first, SessionStarted)
            intake.take(replace(first, user=f"u-{number % 2}", labels={"tenant": "acme"}), *others)
        with reading(intake) as ledger:
            answers.append(
                [module.report(ledger, asked) for module in (cost, latency, usage, waste)]
                + [calls.listing(ledger, asked, "latest")]
            )
        intake.ingest.close()

    for one, other in zip(*answers, strict=True):
        assert one.notes == other.notes
        for line, same in zip(rows(one), rows(other), strict=True):
            assert _close(line, same)


def _close(line: dict[str, Value], same: dict[str, Value]) -> bool:
    return all(
        value == pytest.approx(same[name]) if isinstance(value, float) else value == same[name]
        for name, value in line.items()
    )


def test_span_is_half_open(intake: Intake) -> None:
    """Two periods side by side count everything once."""
    intake.take(*call())

    with snapshot(files.ledger(intake.config.data_dir)) as ledger:
        counts = [
            sum(sums["reports"] for _, sums in ledger.usage(Span(since, until), (), ("reports",)))
            for since, until in ((MIDNIGHT, AT + 2), (AT + 2, MIDNIGHT + DAY))
        ]

    assert counts == [1, 2]
