"""Versions of the ledger: made once, by whoever comes first, and led on by steps."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from livekit_exporter.ledger import migrations, schema
from livekit_exporter.ledger.backends import versions
from livekit_exporter.ledger.store import Ledger, LedgerError
from tests.ledger.test_store import full_batch

VERSION_2 = Path(__file__).with_name("version_2.sql")
TABLES = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name <> 'extra'"

STEP = """
import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"


def upgrade():
    op.create_table("extra", sa.Column("number", sa.Integer(), primary_key=True))
    op.execute("INSERT INTO extra VALUES (1)")
    op.execute("UPDATE sessions SET agent = 'renamed'")
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a ledger is to be."""
    return tmp_path / "ledger.db"


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A later program: it knows version 4, and the step to it, which can be changed."""
    steps = tmp_path / "steps"
    shutil.copytree(Path(str(migrations.__file__)).parent, steps)
    step = steps / "versions" / "version_4.py"
    step.write_text(STEP, encoding="utf-8")
    monkeypatch.setattr(schema, "VERSION", "4")
    monkeypatch.setattr(versions, "OLDER", frozenset(("2", "3")))
    monkeypatch.setattr(versions, "STEPS", str(steps))
    return step


def ask(path: Path, query: str) -> list[tuple[object, ...]]:
    """Ask with nothing but SQLite."""
    with closing(sqlite3.connect(path)) as connection:
        return sorted(connection.execute(query).fetchall(), key=repr)


def structure(path: Path) -> set[str]:
    """Statements that make tables and indexes; blanks do not count."""
    return {" ".join(str(sql).split()) for (sql,) in ask(path, TABLES)}


def made_before(path: Path) -> set[str]:
    """A ledger with rows, its tables made by the program that first had version 2."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(VERSION_2.read_text(encoding="utf-8"))
        connection.execute("INSERT INTO ledger_version VALUES ('2')")
        connection.commit()
    return structure(path)


def columns(path: Path) -> dict[str, set[tuple[object, ...]]]:
    """Name, type, whether it may be NULL, default and key of each column of each table."""
    tables = [
        str(name) for (name,) in ask(path, "SELECT name FROM sqlite_master WHERE type='table'")
    ]
    return {
        table: {row[1:] for row in ask(path, f"PRAGMA table_info({table})")} for table in tables
    }


def test_a_ledger_of_version_2_is_upgraded(path: Path, tmp_path: Path) -> None:
    """Its tables are then those of a new one, and it is written like one."""
    made_before(path)
    Ledger(tmp_path / "new.db").close()

    with closing(Ledger(path, "here")) as ledger:
        ledger.commit(full_batch())
    with closing(Ledger(path)) as ledger:
        assert ledger.instance == "here"
        assert ledger.session("s1") is not None

    assert columns(path) == columns(tmp_path / "new.db")
    assert ask(path, "SELECT version_num FROM ledger_version") == [(schema.VERSION,)]


def test_a_ledger_of_this_version_is_opened_as_it_is(path: Path) -> None:
    """Its tables stay."""
    Ledger(path, "here").close()
    before = structure(path)

    with closing(Ledger(path, "here")) as ledger:
        ledger.commit(full_batch())
    with closing(Ledger(path)) as ledger:
        assert ledger.instance == "here"
        assert ledger.session("s1") is not None

    assert structure(path) == before


def test_an_older_ledger_is_upgraded_with_its_rows(path: Path, later: Path) -> None:
    """Once; afterwards it is opened as what it is by then."""
    assert later.is_file()
    made_before(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO instances VALUES ('here', 1, 0.0, 0.0, 0)")
        connection.commit()

    Ledger(path, "here").close()
    Ledger(path, "here").close()

    assert ask(path, "SELECT version_num FROM ledger_version") == [("4",)]
    assert ask(path, "SELECT number FROM extra") == [(1,)]
    assert ask(path, "SELECT instance, commits FROM instances") == [("here", 3)]


def test_an_upgrade_that_fails_leaves_the_old_ledger(path: Path, later: Path) -> None:
    """And the next start does it."""
    before = made_before(path)
    later.write_text(STEP.replace("UPDATE sessions", "UPDATE no_such_table"), encoding="utf-8")
    with pytest.raises(LedgerError, match=r"cannot open ledger .*no such table"):
        Ledger(path)

    assert structure(path) == before
    assert ask(path, "SELECT version_num FROM ledger_version") == [("2",)]

    later.write_text(STEP, encoding="utf-8")
    Ledger(path).close()
    assert ask(path, "SELECT version_num FROM ledger_version") == [("4",)]


def test_readers_wait_for_the_sidecar_to_upgrade(path: Path, later: Path) -> None:
    """Reports change nothing; they say who does."""
    assert later.is_file()
    made_before(path)

    from livekit_exporter.ledger.queries import snapshot

    with (
        pytest.raises(LedgerError, match="it has version 2, this program reads version 4; let"),
        snapshot(path),
    ):
        pass


DYING = """
import os, sys
from pathlib import Path
from sqlalchemy import Engine, event
from livekit_exporter.ledger.store import Ledger

left = int(sys.argv[2])

@event.listens_for(Engine, "after_cursor_execute")
def die(connection, cursor, statement, *rest):
    global left
    if statement.split()[0].upper() in ("CREATE", "INSERT", "UPDATE"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)

Ledger(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("statements", [1, 8, 20])
def test_a_creation_that_is_killed_leaves_nothing(path: Path, statements: int) -> None:
    """And the next start does it."""
    died = subprocess.run([sys.executable, "-c", DYING, str(path), str(statements)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert ask(path, TABLES) == []

    Ledger(path).close()

    assert ask(path, "SELECT version_num FROM ledger_version") == [(schema.VERSION,)]


def test_processes_that_start_at_once_make_one_ledger(path: Path) -> None:
    """One does it, the others find it done."""
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


def test_a_full_disk_at_the_start_is_one_clear_error_and_leaves_nothing(path: Path) -> None:
    """A limit on its pages stands in for the disk: SQLite says the same of both."""

    def fill(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA max_page_count = 10")

    event.listen(Engine, "connect", fill)
    try:
        with pytest.raises(LedgerError, match=r"ledger\.db': database or disk is full; free space"):
            Ledger(path)
    finally:
        event.remove(Engine, "connect", fill)

    assert ask(path, TABLES) == []
    Ledger(path).close()
