"""Versions of the ledger: an old one is upgraded once, with all its rows, by whoever comes."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from livekit_exporter import contract, files
from livekit_exporter.ledger import schema
from livekit_exporter.ledger.store import Ledger, LedgerError
from tests.intake import Intake
from tests.records import Writer, answered, closed, heard
from tests.sidecars import wait_until

VERSION_1 = Path(__file__).with_name("version_1.sql")

KEPT = {
    "sessions": "session, journal, agent, user, labels, room, started_at, last_at, closed_at,"
    " reason, ended, waiting, answered, turns, interrupted, unpriced_requests, cost_usd,"
    " wasted_usd, unassigned_usd",
    "turns": "session, speech, at, latency_seconds, spoken, answered, cost_usd, wasted_usd",
    "usage": "id, session, at, agent, speech, stage, provider, model, reported_provider, label,"
    " requests, cancelled, input_tokens, output_tokens, characters, audio_seconds, status,"
    " cost_usd, output_usd, price, prices_version",
    "failures": "id, session, at, agent, stage, provider, model, recoverable, error",
    "series": "family, labels, value, counts, touched_at",
    "positions": "journal, committed, discarding, finished_at",
    "daily": "day, agent, stage, provider, model, requests, unpriced_requests, input_tokens,"
    " output_tokens, characters, audio_seconds, connection_seconds, round(cost_usd, 12)",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger of version 1, as its program left it."""
    made = tmp_path / "ledger.db"
    with closing(sqlite3.connect(made)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(VERSION_1.read_text(encoding="utf-8"))
    return made


def ask(path: Path, query: str) -> list[tuple[object, ...]]:
    """Ask with nothing but SQLite."""
    with closing(sqlite3.connect(path)) as connection:
        return sorted(connection.execute(query).fetchall(), key=repr)


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row that both versions have."""
    return {
        table: ask(path, f"SELECT {columns} FROM {table}")  # noqa: S608 - a list
        for table, columns in KEPT.items()
    }


def structure(path: Path) -> Iterator[tuple[object, ...]]:
    """Columns, keys and indexes of a database, table by table."""
    with closing(sqlite3.connect(path)) as connection:
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        for (table,) in connection.execute(tables).fetchall():
            yield from connection.execute(
                'SELECT ?, name, upper(type), "notnull", dflt_value, pk FROM pragma_table_info(?)'
                " ORDER BY cid",
                (table, table),
            )
            yield from connection.execute(
                'SELECT ?, i.name, i."unique", i.origin, i.partial, c.seqno, c.name'
                " FROM pragma_index_list(?) AS i, pragma_index_info(i.name) AS c"
                " ORDER BY i.name, c.seqno",
                (table, table),
            )


def test_a_ledger_of_version_1_is_upgraded_with_all_its_rows(path: Path) -> None:
    """And opened again as what it is by then."""
    before = contents(path)
    assert all(before.values()), "the old ledger has rows of every kind"

    Ledger(path, "here").close()
    Ledger(path, "here").close()

    assert contents(path) == before
    for table in KEPT:
        owners = ask(path, f"SELECT DISTINCT instance FROM {table}")  # noqa: S608 - a list
        assert owners == [("here",)], table
    assert ask(path, "SELECT version_num FROM ledger_version") == [(schema.VERSION,)]


def test_usage_of_version_1_learns_whose_it_was_and_what_was_wasted(path: Path) -> None:
    """User and labels are the call's; a reply's waste is spread over what it was made of."""
    Ledger(path).close()

    assert ask(path, "SELECT DISTINCT session, user, labels, source FROM usage") == [
        ("s1", "u-42", '{"tenant": "acme", "tier": "gold"}', "reported"),
        ("s2", None, "{}", "reported"),
        ("s4", None, '{"tenant": "acme", "tier": "gold"}', "reported"),
    ]
    wasted = ask(
        path,
        "SELECT speech, stage, waste_reason, round(wasted_usd, 9) FROM usage WHERE wasted_usd > 0",
    )
    assert wasted == [
        ("speech-1", "llm", "interrupted", 0.00012),
        ("speech-1", "tts", "interrupted", 0.015),
        ("thrown-away", "llm", "speculative", 0.00056),
    ]
    assert ask(path, "SELECT round(sum(wasted_usd), 9) FROM daily") == [(0.01568,)]
    assert ask(path, "SELECT round(sum(wasted_usd), 9) FROM sessions") == [(0.01568,)]


def test_the_rollup_by_user_of_version_1_is_the_sum_of_its_rows(path: Path) -> None:
    """Calls by the day that they began, turns and cost by their own."""
    Ledger(path).close()

    told = ask(
        path,
        "SELECT day, agent, user, sessions, session_seconds, turns, unpriced_requests,"
        " round(cost_usd, 9), round(wasted_usd, 9) FROM daily_users",
    )
    assert told == [
        ("2026-11-18", "sales", None, 1, 2.0, 0, 0, 0.0, 0.0),
        ("2026-11-18", "support", "u-42", 1, 86409.0, 1, 0, 0.02096, 0.01512),
        ("2026-11-18", "support", None, 1, 0.0, 0, 0, 0.00096, 0.0),
        ("2026-11-18", "support", None, 1, 4.0, 1, 1, 0.0004, 0.0),
        ("2026-11-19", "support", "u-42", 0, 0.0, 1, 0, 0.00312, 0.00056),
    ]


def test_an_upgraded_ledger_has_the_tables_of_a_new_one(path: Path, tmp_path: Path) -> None:
    """Whichever way somebody came here, the next step starts from the same place."""
    fresh = tmp_path / "fresh.db"
    Ledger(fresh).close()
    Ledger(path).close()

    assert list(structure(path)) == list(structure(fresh))


def test_a_sidecar_goes_on_where_version_1_stopped(path: Path, data_dir: Path) -> None:
    """Counters continue, the open call is finished, and no journal is read twice."""
    with Writer(data_dir, "open-aa") as journal:
        shutil.copy(path, files.ledger(data_dir))
        journal.write(b" " * 907 + b"\n")
        intake = Intake(data_dir)
        with closing(intake.ingest):
            intake.passes()
            assert intake.counter(contract.SESSIONS) == 4
            journal.put(answered("s4"), heard("s4"), closed("s4"))
            journal.close()

            def ended() -> bool:
                intake.passes()
                return not intake.figure("SELECT count(*) FROM sessions WHERE NOT ended")

            wait_until(ended, "the open call is at its end")

            assert intake.counter(contract.SESSIONS) == 4
            assert intake.figure("SELECT turns FROM sessions WHERE session = 's4'") == 1
            assert intake.counter(contract.COST) == pytest.approx(
                intake.figure("SELECT sum(cost_usd) FROM daily")
            )
            owners = intake.ask("SELECT DISTINCT instance FROM usage")
            assert owners == [(files.read_instance(data_dir),)]


DYING = """
import os, sys
from pathlib import Path
from sqlalchemy import Engine, event
from livekit_exporter.ledger.store import Ledger

left = int(sys.argv[2])

@event.listens_for(Engine, "after_cursor_execute")
def die(connection, cursor, statement, *rest):
    global left
    if statement.split()[0].upper() in ("ALTER", "CREATE", "INSERT", "UPDATE", "DROP", "WITH"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)

Ledger(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("statements", [1, 8, 20, 30, 40])
def test_an_upgrade_that_is_killed_leaves_the_old_ledger(path: Path, statements: int) -> None:
    """And the next start does it."""
    before = contents(path)
    died = subprocess.run([sys.executable, "-c", DYING, str(path), str(statements)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert ask(path, "SELECT value FROM meta") == [("1",)]

    Ledger(path).close()

    assert contents(path) == before


@pytest.mark.parametrize("old", [True, False], ids=["upgrade", "creation"])
def test_two_processes_that_start_at_once_make_one_ledger(path: Path, *, old: bool) -> None:
    """One does it, the others find it done."""
    before = contents(path) if old else {}
    if not old:
        for file in path.parent.iterdir():
            file.unlink()
    code = (
        "import sys; from pathlib import Path; from livekit_exporter.ledger.store import Ledger;"
        " Ledger(Path(sys.argv[1]))"
    )
    racers = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for racer in racers:
        _, said = racer.communicate()
        assert racer.returncode == 0, said.decode()

    assert ask(path, "SELECT version_num FROM ledger_version") == [(schema.VERSION,)]
    assert not old or contents(path) == before


def test_a_full_disk_during_an_upgrade_is_one_clear_error_and_changes_nothing(path: Path) -> None:
    """A limit on its pages stands in for the disk: SQLite says the same of both."""
    before = contents(path)

    def fill(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA max_page_count = 40")

    event.listen(Engine, "connect", fill)
    try:
        with pytest.raises(LedgerError, match=r"ledger\.db': database or disk is full; free space"):
            Ledger(path)
    finally:
        event.remove(Engine, "connect", fill)

    assert contents(path) == before
    Ledger(path).close()
    assert contents(path) == before
