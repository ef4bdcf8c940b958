"""The end of a call in the ledger: when it was, what comes after it, and when it may go."""

import json
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from livekit_exporter import files
from livekit_exporter.ledger.rows import Batch, SessionRow
from livekit_exporter.ledger.store import Ledger
from tests.intake import Intake
from tests.ledger.test_store import SESSION, full_batch
from tests.records import AT, call, heard, started

DAY = 86400.0
NOW = time.time()
MONTH_AGO = NOW - 30 * DAY


def test_a_lost_call_ends_with_its_newest_record(intake: Intake) -> None:
    """Records of streams come out of order; the last line is not the newest one."""
    intake.take(started(), heard(at=AT + 60), heard(at=AT + 5))

    assert intake.ask("SELECT reason, closed_at, last_at FROM sessions") == [
        ("lost", AT + 60, AT + 60)
    ]


def test_what_comes_after_an_export_is_exported_again(intake: Intake) -> None:
    """The file says what the ledger says, and its newest state is written once."""
    intake.take(*call())
    (file,) = files.calls(intake.config.data_dir).glob("*/*")
    before = json.loads(file.read_text("utf-8"))

    intake.take(heard(at=AT + 9))

    after = json.loads(file.read_text("utf-8"))
    assert after["cost_usd"] > before["cost_usd"]
    assert after["cost_usd"] == intake.figure("SELECT cost_usd FROM sessions")
    assert intake.ask("SELECT exported_at IS NULL FROM sessions") == [(0,)]


def test_every_change_of_a_call_that_ended_asks_for_an_export(tmp_path: Path) -> None:
    """Whatever the sidecar knows of earlier ones."""
    row = replace(SESSION, ended=True, closed_at=AT)
    with closing(Ledger(tmp_path / "ledger.db")) as ledger:
        ledger.commit(Batch(sessions={"s1": row}))
        assert [each.session for each in ledger.to_export(9)] == ["s1"]
        ledger.exported({"s1": AT})
        assert ledger.to_export(9) == []

        ledger.commit(Batch(sessions={"s1": replace(row, turns=1)}))

        assert ledger.to_export(9) == [replace(row, turns=1)]


def old(**changed: object) -> SessionRow:
    """A call that was over long ago."""
    long_ago = NOW - 100 * DAY
    row = SessionRow(
        session="s1",
        journal="s1-aa.jsonl",
        agent="support",
        started_at=long_ago,
        last_at=long_ago + 60,
        closed_at=long_ago + 60,
        ended=True,
    )
    for name, value in changed.items():
        setattr(row, name, value)
    return row


@pytest.mark.parametrize(
    ("row", "goes"),
    [
        pytest.param(old(), True, id="over long ago"),
        pytest.param(old(ended=False), False, id="going on"),
        pytest.param(old(last_at=NOW), False, id="something came lately"),
        pytest.param(old(started_at=NOW), False, id="began lately, by its clock"),
    ],
)
def test_only_calls_that_were_over_before_are_forgotten(
    tmp_path: Path, row: SessionRow, *, goes: bool
) -> None:
    """With all their rows, or with none."""
    with closing(Ledger(tmp_path / "ledger.db")) as ledger:
        batch = full_batch()
        batch.sessions["s1"] = row
        ledger.commit(batch)

        assert ledger.forget_calls(MONTH_AGO, 9) == goes

        assert (ledger.session("s1") is None) == goes
        assert (ledger.turn("s1", "speech-1") is None) == goes
        assert bool(ledger.models(0.0)) != goes


def test_a_call_is_kept_until_it_is_delivered(tmp_path: Path) -> None:
    """Unless this sidecar delivers nothing any more."""
    with closing(Ledger(tmp_path / "ledger.db")) as ledger:
        ledger.commit(Batch(sessions={"s1": old(), "s2": old(session="s2")}, deliver=True))
        pending = {row.session: row for row in ledger.due(NOW + DAY, 9).deliveries}
        assert pending.keys() == {"s1", "s2"}
        assert ledger.forget_calls(MONTH_AGO, 9, deliver=True) == 0

        ledger.commit(Batch(deliveries=[replace(pending["s1"], state="delivered")]))
        assert ledger.forget_calls(MONTH_AGO, 9, deliver=True) == 1
        assert ledger.session("s1") is None
        assert ledger.session("s2") is not None

        assert ledger.forget_calls(MONTH_AGO, 9, deliver=False) == 1
