"""Moving a ledger: every row, or none and the reason."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("psycopg", reason="needs psycopg: pip install -e '.[postgres]'")

import psycopg
from sqlalchemy import select

from livekit_exporter import contract, files
from livekit_exporter.ledger import copying, schema
from livekit_exporter.ledger.backends.locate import reading
from livekit_exporter.ledger.checking import findings
from livekit_exporter.ledger.store import Ledger, LedgerError
from livekit_exporter.sidecar.config import settings as config
from livekit_exporter.sidecar.lock import Lock
from tests.intake import Intake
from tests.postgres import PASSWORD
from tests.records import Writer, call, closed, started, thought


@pytest.fixture
def filled(data_dir: Path) -> Iterator[Path]:
    """A data directory with a ledger that has rows of every kind, and a call that goes on."""
    intake = Intake(data_dir)
    with Writer(data_dir, "open-aa") as journal:
        with closing(intake.ingest):
            journal.put(started("open"), thought("open"))
            intake.take(*call())
            intake.take(started("s2", agent="sales"), thought("s2", model="none"), closed("s2"))
        yield data_dir


def contents(where: Path | str) -> dict[str, list[dict[str, object]]]:
    """Every row of every table."""
    with reading(where) as connection:
        return {
            table.name: [
                dict(row)
                for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()
            ]
            for table in schema.metadata.sorted_tables
            if table is not schema.version
        }


def silent(_table: str, _done: int, _total: int) -> None:
    """Nobody watches."""


def program(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `livekit-exporter ledger copy`."""
    return subprocess.run(
        [sys.executable, "-m", "livekit_exporter", "ledger", "copy", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_ledger_moves_to_postgresql_and_back(
    filled: Path, tmp_path: Path, database_url: str
) -> None:
    """To the last digit, both ways."""
    ledger = files.ledger(filled)
    before = contents(ledger)
    there = program("--from", str(filled), "--to", database_url)
    assert there.returncode == 0, there.stderr
    assert there.stdout.endswith("rows copied, counts and sums are the same\n")
    assert contents(database_url) == before
    assert list(findings(database_url)) == []

    back = program("--from", database_url, "--to", str(tmp_path / "back"))

    assert back.returncode == 0, back.stderr
    assert contents(files.ledger(tmp_path / "back")) == before


def test_a_sidecar_goes_on_where_it_moved_to(filled: Path, database_url: str) -> None:
    """Its counters continue, the open call is finished, and new rows have new ids."""
    assert program("--from", str(filled), "--to", database_url).returncode == 0
    moved = Intake(filled, ledger=config.LedgerSettings(url=database_url))  # type: ignore[arg-type]
    with closing(moved.ingest):
        moved.take(*call("s3"))

        assert moved.counter(contract.SESSIONS) == 4
        assert moved.figure("SELECT count(DISTINCT id) FROM usage") == 8
        assert moved.figure("SELECT count(DISTINCT instance) FROM sessions") == 1
        assert moved.counter(contract.COST) == pytest.approx(
            moved.figure("SELECT sum(cost_usd) FROM usage")
        )


def test_a_ledger_without_the_file_that_says_whose_it_is_takes_its_name_along(
    filled: Path, database_url: str
) -> None:
    """Otherwise the sidecar would begin anew there, and read open journals twice."""
    instance = files.read_instance(filled)
    (filled / "instance").unlink()

    assert program("--from", str(filled), "--to", database_url).returncode == 0

    assert files.read_instance(filled) == instance


def test_a_target_with_rows_is_refused_and_left_alone(filled: Path, database_url: str) -> None:
    """Two ledgers are never mixed."""
    with closing(Ledger(database_url, "other")):
        pass
    before = contents(database_url)

    refused = program("--from", str(filled), "--to", database_url)

    assert refused.returncode == 1
    assert "it has rows in 'instances'" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert PASSWORD not in refused.stderr
    assert contents(database_url) == before


def test_a_source_that_a_sidecar_serves_is_refused(filled: Path, database_url: str) -> None:
    """What it takes in after the copy would be lost."""
    with closing(Lock(filled)):
        refused = program("--from", str(filled), "--to", database_url)

    assert refused.returncode == 1
    assert "is served by process" in refused.stderr


def test_a_source_that_was_written_to_meanwhile_is_refused(filled: Path, database_url: str) -> None:
    """And nothing of it stays in the target."""
    ledger = files.ledger(filled)

    def write(table: str, done: int, _total: int) -> None:
        if table == "usage" and done == 0:
            Ledger(ledger).close()

    with pytest.raises(LedgerError, match="it was written to meanwhile"):
        copying.copy(ledger, database_url, write)

    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM usage").fetchone() == (0,)
    copying.copy(ledger, database_url, silent)


def test_a_copy_that_differs_is_undone(filled: Path, database_url: str) -> None:
    """A trigger stands in for whatever may change a row on its way."""
    Ledger(database_url, "gone").close()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DELETE FROM instances")
        connection.execute(
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN NEW.cost_usd := 1; RETURN NEW; END'"
        )
        connection.execute(
            "CREATE TRIGGER spoil BEFORE INSERT ON usage FOR EACH ROW EXECUTE FUNCTION spoil()"
        )

        with pytest.raises(LedgerError, match="'cost_usd' of 'usage' adds up to"):
            copying.copy(files.ledger(filled), database_url, silent)

        assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (0,)


def test_a_source_that_is_none_makes_no_target(tmp_path: Path, database_url: str) -> None:
    """One line, and nothing is there that was not there before."""
    missing = program("--from", str(tmp_path / "none"), "--to", database_url)

    assert missing.returncode == 1
    assert "there is none" in missing.stderr
    assert not (tmp_path / "none").exists()
    with psycopg.connect(database_url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert tables.fetchone() == (0,)
