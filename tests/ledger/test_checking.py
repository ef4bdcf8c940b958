"""Finding what is wrong with a ledger, and saying so in one line each."""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from livekit_exporter import files
from livekit_exporter.ledger.checking import findings
from livekit_exporter.sidecar.config.settings import LedgerSettings
from tests.intake import Intake
from tests.records import call, closed, started, thought

DAY = 86400.0


@pytest.fixture
def path(data_dir: Path) -> Path:
    """A ledger with some calls of several days."""
    intake = Intake(data_dir)
    with closing(intake.ingest):
        intake.take(*call())
        now = time.time()
        for number in range(5):
            session, at = f"old-{number}", now - number * 40 * DAY
            intake.take(
                started(session, at=at),
                thought(session, at=at, model="no-such-model"),
                thought(session, at=at + 30000),
                closed(session, at=at + 40000),
            )
    return files.ledger(data_dir)


def change(path: Path, statement: str) -> None:
    """Do what no program of ours does."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def test_a_ledger_in_order_is_in_order(path: Path) -> None:
    """Also while calls go on."""
    assert list(findings(path)) == []


def test_a_ledger_of_which_calls_were_deleted_is_in_order(path: Path, data_dir: Path) -> None:
    """Rows of old days are fewer than the rollup says, and may be."""
    intake = Intake(data_dir, ledger=LedgerSettings(keep_days=50))
    with closing(intake.ingest):
        intake.passes()
        assert intake.figure("SELECT count(*) FROM sessions WHERE session LIKE 'old-%'") == 2

    assert list(findings(path)) == []
    change(path, "DELETE FROM usage WHERE session = 'old-0'")
    assert len(list(findings(path))) > 0


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "UPDATE daily SET cost_usd = cost_usd + 0.001 WHERE stage = 'tts'",
            "daily: cost_usd is 0.003, its rows add up to 0.002 (",
        ),
        ("DELETE FROM daily WHERE stage = 'stt'", "daily: audio_seconds is 0, its rows add up to"),
        ("UPDATE daily_users SET turns = 7 WHERE turns = 1", "daily_users: turns is 7, its rows"),
        ("DELETE FROM sessions WHERE session = 's1'", "usage: 3 rows of call 's1', which is not"),
        (
            "UPDATE usage SET at = at + 86400 WHERE stage = 'tts'",
            "daily: requests is 1, its rows add up to 0 (",
        ),
    ],
)
def test_what_is_wrong_is_said(path: Path, statement: str, said: str) -> None:
    """Where, what it is, and what it should be."""
    change(path, statement)

    told = list(findings(path))
    assert any(line.startswith(said) for line in told), told


def program(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `livekit-exporter ledger check`."""
    return subprocess.run(
        [sys.executable, "-m", "livekit_exporter", "ledger", "check", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_says_ok_or_what_is_wrong(path: Path, data_dir: Path) -> None:
    """One line for each finding, and the exit code."""
    fine = program(str(data_dir))
    assert (fine.returncode, fine.stdout, fine.stderr) == (0, "ok\n", "")

    change(path, "UPDATE daily SET cost_usd = 7 WHERE stage = 'tts'")
    wrong = program(str(data_dir))
    assert wrong.returncode == 1
    assert wrong.stdout.startswith("daily: cost_usd is 7")
    assert wrong.stdout.count("\n") == 1

    none = program(str(data_dir / "none"))
    assert none.returncode == 1
    assert none.stderr.count("\n") == 1
    assert "there is none" in none.stderr


def test_damage_is_said(path: Path) -> None:
    """A page of the file is not what it was."""
    with path.open("r+b") as file:
        file.seek(8 * 4096)
        file.write(b"\xff" * 4096)

    said = subprocess.run(
        [sys.executable, "-m", "livekit_exporter", "ledger", "check", str(path.parent)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 1
    assert said.stdout + said.stderr
    assert "Traceback" not in said.stderr
