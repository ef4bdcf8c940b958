"""`livekit-exporter webhook`: what it lists, and how it says no."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from livekit_exporter import files
from livekit_exporter.cli.app import app
from livekit_exporter.ledger.store import Ledger
from tests.ledger.test_deliveries import attempt, rows, sending
from tests.records import call


@pytest.fixture
def filled(data_dir: Path) -> Path:
    """A data directory with a delivery in each state."""
    intake = sending(data_dir)
    with closing(intake.ingest):
        for session in ("waits", "gone", "there"):
            intake.take(*call(session))
        attempt(intake, "gone", state="dead", status=410, error="HTTP 410 Gone")
        attempt(intake, "there", state="delivered", status=204, delivered_at=5.0)
        intake.passes()
    return data_dir


def webhook(data_dir: Path, *words: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(
        app, ["webhook", *words, "--data-dir", str(data_dir)], env={"COLUMNS": "200"}
    )


@pytest.mark.parametrize(
    ("options", "listed"),
    [
        ((), {"waits", "gone"}),
        (("--dead",), {"gone"}),
        (("--pending",), {"waits"}),
        (("--delivered",), {"there"}),
        (("--dead", "--delivered"), {"gone", "there"}),
    ],
)
def test_states_are_chosen(filled: Path, options: tuple[str, ...], listed: set[str]) -> None:
    """Without a choice what wants somebody's attention."""
    told = webhook(filled, "list", *options, "--json")
    shown = webhook(filled, "list", *options)

    assert {row["session"] for row in json.loads(told.stdout)} == listed
    assert {name for name in ("waits", "gone", "there") if name in shown.stdout} == listed


def test_json_has_everything_and_times_that_people_read(filled: Path) -> None:
    (row,) = json.loads(webhook(filled, "list", "--delivered", "--json").stdout)

    assert row["id"].startswith("call_")
    assert (row["state"], row["revision"], row["attempts"]) == ("delivered", 1, 1)
    assert (row["status"], row["first_attempt_at"]) == (204, None)
    assert row["delivered_at"] == "1970-01-01T00:00:05+00:00"


def test_nothing_to_list_is_said(data_dir: Path) -> None:
    files.make(data_dir)
    Ledger(files.ledger(data_dir)).close()

    assert webhook(data_dir, "list").stdout == "no delivery is dead or pending\n"
    assert json.loads(webhook(data_dir, "list", "--json").stdout) == []
    assert webhook(data_dir, "retry", "--all-dead").stdout == "0 to be sent again\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("retry",), "say which: ids as 'webhook list' shows them, --all-dead or --all-pending"),
        (("retry", "gone", "--all-dead"), "say which"),
        (("retry", "gone", "no-such-call"), "no delivery and no call is called 'no-such-call'"),
    ],
)
def test_a_mistake_is_one_line(filled: Path, words: tuple[str, ...], says: str) -> None:
    """And nothing is sent again."""
    result = webhook(filled, *words)

    assert result.exit_code == 1
    assert result.stderr.startswith(f"livekit-exporter: {says}")
    assert result.stderr.count("\n") == 1
    assert states(filled) == {"waits": "pending", "gone": "dead", "there": "delivered"}


@pytest.mark.parametrize("command", [("list",), ("retry", "--all-dead")])
def test_no_ledger_is_one_line(data_dir: Path, command: tuple[str, ...]) -> None:
    result = webhook(data_dir, *command)

    assert result.exit_code == 1
    assert "there is none; choose the data directory" in result.stderr
    assert not files.ledger(data_dir).exists()


def states(data_dir: Path) -> dict[str, str]:
    """Where each call is."""
    intake = sending(data_dir)
    with closing(intake.ingest):
        intake.passes()
        return {session: row.state for session, row in rows(intake).items()}


@pytest.mark.parametrize(
    ("words", "again"),
    [
        (("gone",), {"gone"}),
        (("there", "gone"), {"gone", "there"}),
        (("--all-dead",), {"gone"}),
        (("--all-pending",), {"waits"}),
        (("--all-dead", "--all-pending"), {"gone", "waits"}),
    ],
)
def test_what_is_named_is_sent_again(filled: Path, words: tuple[str, ...], again: set[str]) -> None:
    """Also what was delivered, when it is named."""
    result = webhook(filled, "retry", *words)

    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{len(again)} to be sent again\n"
    assert "no webhook is configured here" in result.stderr
    assert {name for name, state in states(filled).items() if state == "pending"} == again | {
        "waits"
    }


def test_the_id_of_a_listed_delivery_is_enough(filled: Path) -> None:
    (row,) = json.loads(webhook(filled, "list", "--dead", "--json").stdout)

    assert webhook(filled, "retry", row["id"]).stdout == "1 to be sent again\n"
    assert states(filled)["gone"] == "pending"


def test_an_id_of_a_call_cannot_draw_on_the_terminal(data_dir: Path) -> None:
    """It is the agent's word, and may be anything."""
    intake = sending(data_dir)
    with closing(intake.ingest):
        intake.take(*call("\x1b[2J[red]x"))

    shown = webhook(data_dir, "list").stdout

    assert "\x1b" not in shown
    assert "[red]x" in shown


def test_a_trial_needs_a_webhook() -> None:
    result = CliRunner().invoke(app, ["webhook", "test"])

    assert result.exit_code == 1
    assert "no webhook is configured; set webhook.url" in result.stderr
