"""A journal, or any beginning of one, that comes again changes nothing."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekit_exporter import contract
from livekit_exporter.record import Record, to_line
from livekit_exporter.sidecar import reader
from livekit_exporter.sidecar.config.settings import LedgerSettings
from livekit_exporter.sidecar.registry import Distribution
from tests.intake import Intake
from tests.ledger.test_rollups import calls
from tests.records import Writer

if TYPE_CHECKING:
    from tests.postgres import Postgres

State: TypeAlias = dict[str, object]


def state(intake: Intake) -> State:
    """Every series of the page and every sum in the ledger, to the last digit."""
    return {
        family.name: {
            labels: (value.counts, value.total) if isinstance(value, Distribution) else value
            for labels, value in intake.values(family).items()
        }
        for family in contract.FAMILIES
        if family.about_agents or family is contract.RECORDS
    } | {
        table: intake.ask(f"SELECT {columns} FROM {table} ORDER BY {columns}")  # noqa: S608 - a list
        for table, columns in {
            "usage": "session, at, stage, model, cost_usd, wasted_usd",
            "turns": "session, speech, cost_usd, wasted_usd, latency_seconds",
            "sessions": "session, turns, cost_usd, wasted_usd, ended",
            "daily": "day, agent, stage, model, requests, cost_usd, wasted_usd",
            "daily_users": "day, agent, labels, sessions, turns, cost_usd",
        }.items()
    }


def replayed(
    root: Path, records: Sequence[Record], cut: float, ledger: LedgerSettings | None
) -> None:
    """Take in a beginning, start again, see it again; then its end, start again, see it again."""
    data = b"".join(map(to_line, records))
    beginning = data[: int(len(data) * cut)]

    def begin() -> Intake:
        intake = Intake(root, ledger=ledger)
        intake.passes()
        return intake

    def same(expected: State) -> None:
        for _ in range(2):
            intake = begin()
            with closing(intake.ingest):
                intake.passes()
                assert state(intake) == expected

    with Writer(root) as journal:
        journal.write(beginning)
        intake = begin()
        with closing(intake.ingest):
            known = state(intake)
        same(known)
        journal.write(data[len(beginning) :])
    intake = begin()
    with closing(intake.ingest):
        intake.passes()
        assert not journal.path.exists()
        known = state(intake)
    for again in (beginning, data, data + data):
        journal.path.write_bytes(again)
        same(known)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_ASK_EVERY_SECONDS", 0.0)


@settings(max_examples=15)
@given(records=calls("s1"), cut=st.floats(0, 1))
def test_any_beginning_of_a_journal_that_comes_again_changes_nothing(
    records: Sequence[Record], cut: float
) -> None:
    """Wherever it was cut, within a line as well."""
    with TemporaryDirectory() as folder:
        replayed(Path(folder), records, cut, None)


def test_the_same_in_postgresql(new_database: Callable[[], str]) -> None:
    """Its positions are those of the instance, and not of anybody else's journal of that name."""

    @settings(max_examples=5)
    @given(records=calls("s1"), cut=st.floats(0, 1))
    def replay(records: Sequence[Record], cut: float) -> None:
        url = new_database()
        with TemporaryDirectory() as first, TemporaryDirectory() as second:
            for folder in (first, second):
                ledger = LedgerSettings(url=url)  # type: ignore[arg-type]
                replayed(Path(folder), records, cut, ledger)

    replay()


@pytest.fixture
def new_database(postgres: "Postgres") -> Callable[[], str]:
    """Makes empty PostgreSQL databases."""
    return lambda: postgres.url(postgres.new_database())
