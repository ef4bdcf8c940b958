"""The ledger: all of a batch or nothing, exact sums, and one clear line when it cannot be used."""

import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from livekit_exporter.ledger.rows import (
    Batch,
    Position,
    SeriesRow,
    SessionRow,
    TurnRow,
    UsageRow,
    utc_day,
)
from livekit_exporter.ledger.store import Ledger, LedgerError
from livekit_exporter.record import Usage
from livekit_exporter.sidecar.periods import period_start
from tests.records import AT

SESSION = SessionRow(
    session="s1", journal="s1-aa.jsonl", agent="support", started_at=AT, last_at=AT
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger is."""
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    with closing(Ledger(path)) as opened:
        yield opened


def usage(at: float = AT, cost: float | None = 0.5, agent: str = "support") -> UsageRow:
    """A row of usage that nothing was used for."""
    return UsageRow(
        session="s1",
        at=at,
        agent=agent,
        stage="llm",
        provider="openai",
        model="gpt-4.1-mini",
        reported_provider="api.openai.com",
        usage=Usage(),
        status="unpriced" if cost is None else "priced",
        cost_usd=cost,
    )


def batch_of(*rows: UsageRow) -> Batch:
    """A batch with rows of usage."""
    return Batch(usage=list(rows))


def full_batch() -> Batch:
    """One row of everything."""
    batch = batch_of(usage())
    batch.sessions["s1"] = replace(SESSION)
    batch.turns["s1", "speech-1"] = TurnRow(session="s1", speech="speech-1", at=AT)
    batch.series.append(SeriesRow("livekit_agent_turns", '{"agent": "support"}', 1.0, None, AT))
    batch.series.append(SeriesRow("livekit_agent_x_seconds", "{}", 0.4, (0, 1, 0), AT))
    batch.positions["s1-aa.jsonl"] = Position(100, discarding=True)
    return batch


def count(path: Path, table: str) -> int:
    """Rows of a table, asked with nothing but SQLite."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608


def message(path: Path) -> str:
    """What is said when a ledger cannot be opened."""
    with pytest.raises(LedgerError) as caught:
        Ledger(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def test_what_was_committed_is_there_after_a_restart(path: Path) -> None:
    """Calls, turns, series and positions, to the last digit."""
    with closing(Ledger(path)) as ledger:
        ledger.commit(full_batch())
    with closing(Ledger(path)) as ledger:
        assert ledger.open_sessions() == [SESSION]
        assert ledger.session("s1") == SESSION
        assert ledger.turn("s1", "speech-1") == TurnRow(session="s1", speech="speech-1", at=AT)
        assert ledger.series() == full_batch().series
        assert ledger.positions() == {"s1-aa.jsonl": Position(100, discarding=True)}
        assert ledger.last_record_at() == AT


def test_an_empty_ledger_knows_nothing(ledger: Ledger) -> None:
    """And says so without an error."""
    assert ledger.open_sessions() == []
    assert ledger.session("s1") is None
    assert ledger.turn("s1", "x") is None
    assert ledger.spend(0.0) == {}
    assert ledger.models(0.0) == []
    assert ledger.last_record_at() is None
    assert ledger.size_bytes() > 0


def test_a_batch_that_fails_leaves_nothing(ledger: Ledger, path: Path) -> None:
    """Its last row is refused by the database, long after its first was written."""
    batch = full_batch()
    batch.positions["bad"] = Position(None)  # type: ignore[arg-type]

    with pytest.raises(LedgerError, match="cannot write ledger"):
        ledger.commit(batch)

    for table in ("usage", "sessions", "turns", "series", "positions", "daily", "failures"):
        assert count(path, table) == 0, table
    ledger.commit(full_batch())
    assert count(path, "usage") == 1


def test_rows_are_replaced_and_daily_sums_added(ledger: Ledger, path: Path) -> None:
    """A call is one row for as long as it lasts; a day's cost is the sum of its usage."""
    ledger.commit(full_batch())
    again = full_batch()
    again.sessions["s1"].turns = 3
    ledger.commit(again)

    assert count(path, "sessions") == count(path, "turns") == count(path, "daily") == 1
    assert count(path, "usage") == 2
    found = ledger.session("s1")
    assert found is not None
    assert found.turns == 3
    assert ledger.spend(0.0) == {("support", "reported"): 1.0}


def test_instances_in_one_database_do_not_see_one_another(path: Path) -> None:
    """Each has its own calls, turns, series, positions and spend, under the same names."""
    with closing(Ledger(path, "one")) as one, closing(Ledger(path, "two")) as two:
        one.commit(full_batch())
        assert not any((two.open_sessions(), two.turns("s1"), two.series(), two.models(0.0)))
        assert not any((two.session("s1"), two.turn("s1", "speech-1"), two.last_record_at()))
        assert not any((two.positions(), two.spend(0.0)))

        two.commit(full_batch())
        changed = full_batch()
        changed.sessions["s1"].turns = 5
        changed.series = [replace(row, touched_at=1.0) for row in changed.series]
        two.commit(changed)
        assert len(two.forget(series_before=2.0, now=AT)) == 1

        assert one.session("s1") == SESSION
        assert one.series() == full_batch().series
        assert (one.spend(0.0), two.spend(0.0)) == (
            {("support", "reported"): 0.5},
            {("support", "reported"): 1.0},
        )


def test_a_ledger_knows_the_instance_that_it_belongs_to(path: Path) -> None:
    """It may have been restored without the file that says so."""
    with closing(Ledger(path)) as first, closing(Ledger(path)) as second:
        assert first.instance == second.instance
        assert len(first.instance) == 16
    with closing(Ledger(path, "other")) as other:
        assert other.instance == "other"


def test_who_was_overtaken_writes_nothing_until_he_has_read_again(path: Path) -> None:
    """A transaction whose outcome nobody knew, or a copy of a data directory."""
    with closing(Ledger(path, "one")) as one, closing(Ledger(path, "one")) as again:
        with pytest.raises(LedgerError, match="something else has written as instance 'one'"):
            one.commit(full_batch())
        assert count(path, "usage") == 0

        again.commit(full_batch())
        one.claim()
        one.commit(full_batch())
        with pytest.raises(LedgerError):
            again.forget(series_before=0.0, now=AT)
        assert count(path, "usage") == 2


def test_ended_calls_are_not_open(ledger: Ledger) -> None:
    """They are still found by their id."""
    batch = full_batch()
    batch.sessions["s1"].ended = True
    ledger.commit(batch)

    assert ledger.open_sessions() == []
    assert ledger.session("s1") is not None


def test_models_are_summed_with_their_unpriced_requests(ledger: Ledger) -> None:
    """For the landing page."""
    ledger.commit(batch_of(usage(), usage(cost=None), usage(at=AT - 100)))

    assert ledger.models(AT) == [("llm", "openai", "gpt-4.1-mini", 2, 1, 0.5)]


def test_idle_series_and_old_positions_are_forgotten(ledger: Ledger) -> None:
    """What was touched since, and journals that have not ended, stay."""
    batch = Batch()
    old = SeriesRow("a", '{"agent": "x"}', 1.0, None, AT - 10)
    batch.series += [old, SeriesRow("b", '{"agent": "x"}', 1.0, None, AT + 10)]
    batch.positions |= {
        "old": Position(1, finished_at=AT - 30 * 86400),
        "young": Position(1, finished_at=AT - 60),
        "open": Position(1),
    }
    ledger.commit(batch)

    gone = ledger.forget(series_before=AT, now=AT)

    assert gone == [old]
    assert [row.family for row in ledger.series()] == ["b"]
    assert set(ledger.positions()) == {"young", "open"}


def test_series_of_an_instance_that_is_gone_are_forgotten(path: Path) -> None:
    """A pod's directory goes with it; how far it had read stays, as long as that may matter."""
    with closing(Ledger(path, "gone")) as gone, closing(Ledger(path, "here")) as here:
        batch = full_batch()
        batch.positions["done.jsonl"] = Position(9, finished_at=20.0)
        gone.commit(batch)
        here.forget(series_before=30.0, now=AT)
        assert gone.series() == full_batch().series

        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE instances SET committed_at = 1 WHERE instance = 'gone'")
        here.forget(series_before=10.0, now=AT)
        assert gone.series() == []
        assert set(gone.positions()) == {"s1-aa.jsonl", "done.jsonl"}

        here.forget(series_before=30.0, now=AT)
        assert set(gone.positions()) == {"s1-aa.jsonl"}
        assert gone.session("s1") == SESSION


ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia")
OFFSETS = st.floats(-40 * 86400, 40 * 86400, allow_nan=False)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    offsets=st.lists(OFFSETS, min_size=1, max_size=30),
    now=OFFSETS,
    zone=st.sampled_from(ZONES),
    period=st.sampled_from(["day", "month"]),
)
def test_spend_of_a_period_is_the_plain_sum_of_its_usage(
    tmp_path_factory: pytest.TempPathFactory,
    offsets: list[float],
    now: float,
    zone: str,
    period: str,
) -> None:
    """Days of UTC come from a rollup, and midnight elsewhere is in the middle of one."""
    rows = [
        usage(at=AT + offset, cost=None if index % 5 == 4 else 0.25, agent=("a", "b")[index % 2])
        for index, offset in enumerate(offsets)
    ]
    since = period_start(period, AT + now, ZoneInfo(zone))
    expected: dict[tuple[str, str], float] = {}
    for row in rows:
        if row.at >= since:
            key = (row.agent, "reported")
            expected[key] = expected.get(key, 0.0) + (row.cost_usd or 0.0)

    with closing(Ledger(tmp_path_factory.mktemp("spend") / "ledger.db")) as ledger:
        ledger.commit(batch_of(*rows))

        assert dict(ledger.spend(since)) == expected


@pytest.mark.parametrize("zone", ZONES)
def test_usage_at_midnight_belongs_to_the_new_day(ledger: Ledger, zone: str) -> None:
    """And that of the microsecond before to the old one."""
    since = period_start("day", AT, ZoneInfo(zone))
    ledger.commit(batch_of(usage(at=since - 1e-5, cost=1.0), usage(at=since, cost=2.0)))

    assert ledger.spend(since) == {("support", "reported"): 2.0}


def test_a_newer_ledger_is_refused(path: Path) -> None:
    """This program does not know what it would destroy."""
    Ledger(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE ledger_version SET version_num = '99'")

    assert "version 99" in message(path)


@pytest.mark.parametrize("size", [100, 5000, 200_000])
def test_a_file_that_is_no_database_is_refused(path: Path, size: int) -> None:
    """Nothing of it is overwritten."""
    garbage = b"no database, but somebody's text. " * size
    path.write_bytes(garbage[:size])

    assert message(path).startswith("cannot open ledger")
    assert path.read_bytes() == garbage[:size]


@pytest.mark.parametrize("kept", [0.9, 0.5, 0.2])
def test_a_truncated_ledger_is_one_clear_error(path: Path, kept: float) -> None:
    """When it is opened, or at the first reading that meets the hole; never another exception."""
    with closing(Ledger(path)) as ledger:
        ledger.commit(batch_of(*(usage(at=AT + n) for n in range(500))))
        ledger.commit(full_batch())
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * kept))

    with pytest.raises(LedgerError, match=r"ledger\.db"):
        use_everything(path)


def use_everything(path: Path) -> None:
    """Open a ledger, read all of it and write."""
    with closing(Ledger(path)) as ledger:
        ledger.series()
        ledger.positions()
        ledger.models(0.0)
        ledger.commit(full_batch())


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE customers (name TEXT)",
        "CREATE TABLE meta (name TEXT)",
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT); CREATE TABLE people (name TEXT)",
        "CREATE TABLE usage (name TEXT)",
    ],
)
def test_another_programs_database_is_refused_and_left_alone(path: Path, script: str) -> None:
    """Whatever its tables are called."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    before = tables(path)

    assert message(path).startswith("cannot open ledger")
    assert tables(path) == before


def tables(path: Path) -> list[str]:
    """Names of the tables of a database."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return sorted(name for (name,) in found)


def test_a_directory_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    """Where and what."""
    assert message(tmp_path / "none" / "ledger.db").startswith("cannot open ledger")


def test_a_ledger_that_is_a_folder_is_one_clear_error(path: Path) -> None:
    """Where and what."""
    path.mkdir()

    assert message(path).startswith("cannot open ledger")


DYING = """
import os, sys
from pathlib import Path
from sqlalchemy import Engine, event
from livekit_exporter.ledger.store import Ledger

left = int(sys.argv[2])

@event.listens_for(Engine, "after_cursor_execute")
def die(connection, cursor, statement, *rest):
    global left
    if statement.lstrip().upper().startswith(("CREATE", "INSERT")):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)

Ledger(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("statements", [1, 2, 5, 9, 12])
def test_a_first_start_that_was_killed_can_be_repeated(path: Path, statements: int) -> None:
    """Tables without a version are our own half-made ledger, not another program's database."""
    died = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DYING), str(path), str(statements)], check=False
    )
    assert died.returncode == -9

    with closing(Ledger(path)) as ledger:
        ledger.commit(full_batch())
        assert ledger.session("s1") == SESSION


def test_a_ledger_that_another_process_holds_is_one_clear_error(
    ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody opened it with a tool; nothing is written, and nothing is once it is free."""
    monkeypatch.setattr("livekit_exporter.ledger.backends.embedded._BUSY_SECONDS", 0.05)
    impatient = Ledger(path)
    with closing(impatient), closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="locked"):
            impatient.commit(full_batch())
        other.execute("ROLLBACK")
        assert impatient.series() == []

        impatient.commit(full_batch())
        assert ledger.session("s1") == SESSION


def test_only_its_owner_reads_the_ledger(path: Path) -> None:
    """It says who called and what they cost; with setgid the group shares it."""
    Ledger(path).close()
    assert path.stat().st_mode & 0o777 == 0o600

    path.parent.chmod(0o2770)
    Ledger(path).close()
    assert path.stat().st_mode & 0o777 == 0o660


def test_days_of_the_rollup_are_those_of_utc() -> None:
    """Whatever the zone of the machine."""
    at = datetime(2026, 11, 23, 23, 59, 59, tzinfo=UTC).timestamp()

    assert (utc_day(at), utc_day(at + 1)) == ("2026-11-23", "2026-11-24")
