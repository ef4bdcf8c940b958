"""The loop: what fails is tried again, what is garbage is counted, nothing counts twice."""

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from livekit_exporter import contract, files
from livekit_exporter.record import (
    MAX_LINE_BYTES,
    CollectorReport,
    MessageAdded,
    Record,
    SessionClosed,
    TurnCommitted,
    to_line,
)
from livekit_exporter.sidecar.config.settings import MetricsSettings
from livekit_exporter.sidecar.lock import HeldError
from tests.intake import Intake
from tests.records import AT, Writer, answered, asked, call, closed, heard, started, thought
from tests.sidecars import wait_until


def reasons(intake: Intake) -> dict[str, float]:
    """Rejected records by reason, those that there were."""
    return {
        labels[0]: value
        for labels, value in intake.values(contract.RECORDS_REJECTED).items()
        if isinstance(value, float) and value
    }


def test_garbage_is_counted_by_reason_and_stops_nothing(data_dir: Path, intake: Intake) -> None:
    """What stands before, between and after it is taken."""
    good = b"".join(to_line(record) for record in call())
    garbage = (
        b"\x00\xff\xfe binary \x80\n",
        b"{}{}\n",
        b'{"v":1,"kind":"dream","session":"s1","at":1795000000}\n',
        b'{"v":2,"kind":"usage"}\n',
        b'{"v":1,"kind":"message","session":"s1","at":1795000000}\n',
        b'{"v":1,"kind":"session_closed","session":"s1","at":0,"reason":"x"}\n',
        b"x" * (MAX_LINE_BYTES + 10) + b"\n",
        b"\n\n",
    )
    with Writer(data_dir) as journal:
        journal.write(garbage[0] + good[: good.index(b"\n") + 1])
        journal.write(b"".join(garbage[1:]) + good[good.index(b"\n") + 1 :] + b'{"v":1,"ki')

    def read() -> bool:
        intake.passes()
        return not journal.path.exists()

    wait_until(read, "the journal is at its end")

    assert reasons(intake) == {
        "not_json": 2,
        "kind": 1,
        "version": 1,
        "invalid": 1,
        "out_of_range": 1,
        "too_long": 1,
        "torn": 1,
    }
    assert intake.counter(contract.RECORDS) == len(call())
    assert intake.counter(contract.TURNS) == 1


@pytest.mark.parametrize(
    "poison",
    [
        MessageAdded(session="s1", at=AT, role="assistant", characters=2**70, speech="x"),
        MessageAdded(session="s1", at=AT, role="assistant", characters=-(2**70), speech="x"),
        replace(thought(), requests=10**300),
        replace(thought(), tokens_per_second=1.7e308, first_seconds=1.7e308),
        replace(thought(), first_seconds=-1.7e308, speech=""),
        TurnCommitted(session="s1", at=AT, eou_delay_seconds=1.7e308, speech="\U0010ffff"),
        CollectorReport(session="s1", at=AT, dropped={"": 10**4000}),
        CollectorReport(session="", at=AT, rejected={"\n": 3}),
        SessionClosed(session="s1", at=7_258_118_399.0, reason="\u2028"),
        SessionClosed(session="s1", at=1_577_836_800.0, reason=""),
        replace(started(), labels={"": "", "tenant": "\ufffe"}, agent=""),
        replace(thought(), provider="\ud800", model="\x00"),
    ],
    ids=lambda record: record.kind,
)
def test_no_record_stops_the_others(data_dir: Path, intake: Intake, poison: Record) -> None:
    """One line must not be able to keep every call of a fleet out of the ledger."""
    with Writer(data_dir) as journal:
        journal.put(started(), poison, poison, heard(), closed())
    intake.take(*call("s2"))
    intake.passes()

    assert intake.counter(contract.REQUESTS, stage="stt") == 2
    assert intake.figure("SELECT count(*) FROM usage WHERE stage = 'stt'") == 2
    for accept in ("text/plain", "application/openmetrics-text"):
        page = intake.page(accept)
        assert "Inf\n" not in page
        assert "NaN" not in page


def test_a_page_is_not_ready_before_the_first_pass(intake: Intake) -> None:
    """A scrape of a sidecar that has read nothing would look like a reset."""
    assert intake.ingest.problem() is not None
    intake.passes()
    assert intake.ingest.problem() is None


def test_journals_are_deleted_once_they_are_in_the_ledger(data_dir: Path, intake: Intake) -> None:
    """Those of calls that go on stay."""
    with Writer(data_dir, "open-aa") as journal:
        journal.put(started("open"))
        intake.take(*call())

        assert [path.name for path in files.journals(data_dir).iterdir()] == ["open-aa.jsonl"]
        assert intake.figure("SELECT count(*) FROM positions WHERE finished_at IS NULL") == 1


def test_a_journal_that_comes_back_is_not_counted_again(data_dir: Path) -> None:
    """A file system that lost power may bring a deleted file back."""
    with Writer(data_dir) as journal:
        journal.put(*call())
    content = journal.path.read_bytes()
    for _ in range(2):
        intake = Intake(data_dir)
        with closing(intake.ingest):
            intake.passes()
            assert not journal.path.exists()
            journal.path.write_bytes(content)
            intake.passes()

            assert not journal.path.exists()
            assert intake.counter(contract.SESSIONS) == 1
            assert intake.figure("SELECT count(*) FROM usage") == 3


def test_a_data_directory_is_the_same_instance_for_ever(data_dir: Path) -> None:
    """Also when the file that says so is gone: with another id, journals would count twice."""
    names = set()
    for _ in range(3):
        intake = Intake(data_dir)
        with closing(intake.ingest):
            intake.take(*call())
            names.add(files.read_instance(data_dir))
            assert intake.counter(contract.SESSIONS) == 1
        (data_dir / "instance").write_text("" if len(names) % 2 else "\n")

    assert len(names) == 1


def test_a_locked_ledger_is_said_and_nothing_is_lost_or_counted_twice(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody opened it with a tool: the journals keep the records."""
    monkeypatch.setattr("livekit_exporter.ledger.backends.embedded._BUSY_SECONDS", 0.05)
    intake = Intake(data_dir)
    path = files.ledger(data_dir)
    with closing(intake.ingest), Writer(data_dir) as journal:
        journal.put(started(), asked(), thought(), answered())
        intake.passes()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            journal.put(thought(speech="speech-2"), asked(), answered(speech="speech-2"))
            for _ in range(3):
                assert not intake.ingest.attempt()
            problem = intake.ingest.problem()
            assert problem is not None
            assert str(path) in problem
            assert "locked" in problem
            assert intake.counter(contract.LEDGER_ERRORS) == 3
            assert intake.counter(contract.TURNS) == 1
            assert "livekit_exporter_journal_lag_bytes 0.0" not in intake.page()
            other.execute("ROLLBACK")
        intake.passes()

        assert intake.ingest.problem() is None
        assert intake.counter(contract.TURNS) == 2
        assert intake.counter(contract.REQUESTS) == 2
        assert intake.figure("SELECT count(*) FROM usage") == 2
        assert intake.figure("SELECT turns FROM sessions") == 2
        assert intake.counter(contract.COST) == pytest.approx(
            intake.figure("SELECT sum(cost_usd) FROM sessions")
        )
        assert intake.counter(contract.LEDGER_ERRORS) == 3


def test_a_full_disk_keeps_the_journals_and_is_over_when_there_is_room(data_dir: Path) -> None:
    """A limit on the pages of its file stands in for the disk: SQLite says the same of both."""
    intake = Intake(data_dir)
    limit = 60

    def fill(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {limit}")

    event.listen(Engine, "checkout", fill)
    try:
        with closing(intake.ingest), Writer(data_dir) as journal:
            intake.passes()
            journal.put(started(), *(thought(speech=f"speech-{n}") for n in range(1000)), heard())
            for _ in range(2):
                assert not intake.ingest.attempt()
            problem = intake.ingest.problem()
            assert problem is not None
            assert "database or disk is full; free space on its disk" in problem
            assert journal.path.exists()
            assert intake.counter(contract.REQUESTS) == 0
            assert intake.figure("SELECT count(*) FROM usage") == 0

            limit = 100_000

            def read() -> bool:
                intake.passes()
                return intake.counter(contract.REQUESTS, stage="stt") == 1

            wait_until(read, "there is room")
            assert intake.figure("SELECT count(*) FROM usage") == 1001
            assert intake.counter(contract.LEDGER_ERRORS) == 2
    finally:
        event.remove(Engine, "checkout", fill)


def test_errors_of_the_ledger_survive_a_restart(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A counter must not fall because the trouble is over."""
    monkeypatch.setattr("livekit_exporter.ledger.backends.embedded._BUSY_SECONDS", 0.05)
    intake = Intake(data_dir)
    with closing(intake.ingest):
        intake.passes()
        with closing(sqlite3.connect(files.ledger(data_dir), isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            with Writer(data_dir) as journal:
                journal.put(*call())
            assert not intake.ingest.attempt()
            db.execute("ROLLBACK")
        intake.passes()
    again = Intake(data_dir)
    with closing(again.ingest):
        again.passes()

        assert again.counter(contract.LEDGER_ERRORS) == 1


def test_a_failed_start_is_retried(data_dir: Path) -> None:
    """The data directory may be mounted later."""
    data_dir.write_text("a file, not a folder")
    intake = Intake(data_dir)
    with closing(intake.ingest):
        assert not intake.ingest.attempt()
        problem = intake.ingest.problem()
        assert problem is not None
        assert str(data_dir) in problem
        assert intake.page()

        data_dir.unlink()
        intake.take(*call())
        assert intake.ingest.problem() is None
        assert intake.counter(contract.TURNS) == 1


def test_a_directory_has_one_sidecar(data_dir: Path, intake: Intake) -> None:
    """Two would each count half, or all twice."""
    intake.passes()
    intake.ingest.listening("http://127.0.0.1:7889")
    other = Intake(data_dir)

    with closing(other.ingest), pytest.raises(HeldError) as caught:
        other.ingest.open()

    assert str(os.getpid()) in str(caught.value)
    assert "http://127.0.0.1:7889" in str(caught.value)


def test_a_call_whose_journal_was_taken_away_ends_as_lost(data_dir: Path, intake: Intake) -> None:
    """It would be active for ever; a file system that is away for a moment ends no call."""
    with Writer(data_dir) as journal:
        journal.put(started(), heard())
        intake.passes()
        assert 'livekit_agent_active_sessions{agent="support"} 1.0' in intake.page()
        journal.path.unlink()
        intake.passes()
        intake.clock.advance(29)
        intake.passes()
        assert intake.counter(contract.SESSIONS_CLOSED) == 0
        intake.clock.advance(1)
        intake.passes()

    assert intake.counter(contract.SESSIONS_CLOSED, reason="lost") == 1
    assert 'livekit_agent_active_sessions{agent="support"} 0.0' in intake.page()


def test_series_that_nothing_touches_leave_page_and_ledger(data_dir: Path) -> None:
    """Their label values make room for others; the ledger keeps their sums."""
    metrics = MetricsSettings(idle_days=1e-9, label_values_of={"model": 4})
    intake = Intake(data_dir, metrics)
    with closing(intake.ingest):
        intake.take(*call(), thought(model="old-1"), thought(model="old-2"))
        assert intake.counter(contract.REQUESTS) > 0

        intake.clock.advance(3600)
        intake.passes()

        assert intake.values(contract.REQUESTS) == {}
        assert intake.figure("SELECT count(*) FROM usage") == 5
        assert intake.figure("SELECT count(*) FROM series WHERE family LIKE '%requests'") == 0
        intake.take(started("s2"), thought("s2", model="new-1"))
        assert intake.counter(contract.REQUESTS, model="new-1") == 1


def test_a_large_backlog_is_taken_in_several_transactions(data_dir: Path, intake: Intake) -> None:
    """Progress can be seen, and its end is exact."""
    for number in range(3):
        with Writer(data_dir, f"j{number}-aa") as journal:
            session = f"s{number}"
            journal.put(
                started(session),
                *(thought(session, speech=f"speech-{n}") for n in range(2000)),
                closed(session),
            )

    def read() -> bool:
        intake.passes()
        return not any(files.journals(data_dir).iterdir())

    wait_until(read, "all journals are at their end")

    assert intake.counter(contract.REQUESTS) == 6_000
    assert intake.figure("SELECT count(*) FROM usage") == 6_000
    assert intake.count(contract.LEDGER_COMMIT) >= 2


def test_the_loop_drains_what_came_before_it_was_told_to_stop(data_dir: Path) -> None:
    """A pause of the poll loop must not cost records."""
    intake = Intake(data_dir)
    with Writer(data_dir) as journal:
        journal.put(*call())
    intake.ingest.stop(30.0)
    with closing(intake.ingest):
        intake.ingest.run()

        assert intake.counter(contract.SESSIONS_CLOSED, reason="user_initiated") == 1


def test_a_page_can_be_read_while_records_come(data_dir: Path) -> None:
    """Each scrape sees one state between two batches: as many requests as first tokens."""
    intake = Intake(data_dir)
    loop = threading.Thread(target=intake.ingest.run)
    with closing(intake.ingest), Writer(data_dir) as journal:
        loop.start()
        try:
            journal.put(replace(started(), models=()))
            seen = watch(intake, lambda turn: journal.put(thought(speech=f"speech-{turn}")))
        finally:
            intake.ingest.stop(30.0)
            loop.join()

    assert all(requests == tokens for requests, tokens in seen)
    assert [requests for requests, _ in seen] == sorted(requests for requests, _ in seen)


def watch(intake: Intake, write: Callable[[int], None]) -> list[tuple[float, float]]:
    """Requests and first tokens on the page, while records are written."""
    seen = []
    for turn in range(60):
        write(turn)
        lines = dict(line.rsplit(" ", 1) for line in intake.page().splitlines() if line[0] != "#")
        sums = [
            sum(float(value) for name, value in lines.items() if name.startswith(prefix))
            for prefix in ("livekit_agent_requests_total{", "livekit_agent_llm_ttft_seconds_count{")
        ]
        seen.append((sums[0], sums[1]))
    return seen
