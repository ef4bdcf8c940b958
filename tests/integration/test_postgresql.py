"""Sidecars and a real PostgreSQL: it is killed, comes late, is shared, and nothing counts twice."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

pytest.importorskip("psycopg", reason="needs psycopg: pip install -e '.[postgres]'")

import psycopg

from livekit_exporter.record import Record
from livekit_exporter.sidecar.config.settings import LedgerSettings
from tests.conftest import Serve
from tests.intake import Intake
from tests.postgres import PASSWORD, Postgres
from tests.records import (
    AT,
    Writer,
    answered,
    asked,
    closed,
    committed,
    heard,
    spoken,
    started,
    thought,
    write_journal,
)
from tests.sidecars import Samples, Sidecar, parse, total, wait_until

CALLS: Final = 50
TURNS: Final = 33
COUNTERS: Final = (
    "livekit_agent_cost_usd_total",
    "livekit_agent_wasted_cost_usd_total",
    "livekit_agent_requests_total",
    "livekit_agent_tokens_total",
    "livekit_agent_turns_total",
    "livekit_agent_sessions_total",
    "livekit_agent_sessions_closed_total",
    "livekit_agent_turn_latency_seconds_count",
    "livekit_agent_turn_latency_seconds_sum",
    "livekit_exporter_records_total",
)


def a_call(session: str) -> list[Record]:
    """Two hundred records, every third turn talked over."""
    records: list[Record] = [started(session)]
    for turn in range(TURNS):
        at, speech = AT + turn * 10, f"speech-{turn}"
        records += [
            heard(session, at=at),
            committed(session, at=at, speech=speech),
            asked(session, at=at),
            thought(session, at=at, speech=speech),
            spoken(session, at=at, speech=speech, characters=90),
            answered(session, at=at, speech=speech, interrupted=turn % 3 == 0),
        ]
    return [*records, closed(session, at=AT + 600)]


EVENTS: Final = CALLS * len(a_call("x"))


@pytest.fixture
def own_server() -> Iterator[Postgres]:
    """A server that the test may kill."""
    with Postgres() as server:
        yield server


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration file; what stands in it is the test's business."""
    return tmp_path / "exporter.yml"


def truth(folder: Path) -> Samples:
    """What the page says of the same calls when nothing goes wrong."""
    intake = Intake(folder)
    with closing(intake.ingest):
        for number in range(CALLS):
            write_journal(folder, a_call(f"s{number}"), f"s{number}-aa")

        def done() -> bool:
            intake.passes()
            return not any((folder / "journal").iterdir())

        wait_until(done, "the truth is known")
        return parse(intake.page())


def assert_true(samples: Samples, told: Samples, url: str) -> None:
    """Counters, histograms and rows are those of the truth, none twice, none missing."""
    for name in COUNTERS:
        assert total(samples, name) == pytest.approx(total(told, name), abs=1e-9), name
    with psycopg.connect(url) as ledger:
        rows = ledger.execute(
            "SELECT count(*), count(DISTINCT (session, at, stage)), sum(cost_usd), sum(wasted_usd)"
            " FROM usage"
        ).fetchone()
        sums = ledger.execute("SELECT sum(cost_usd), sum(wasted_usd) FROM daily").fetchone()
        turns = ledger.execute("SELECT sum(turns), sum(sessions) FROM daily_users").fetchone()
    cost = total(told, "livekit_agent_cost_usd_total")
    wasted = total(told, "livekit_agent_wasted_cost_usd_total")
    assert rows is not None
    assert rows[:2] == (CALLS * TURNS * 3, CALLS * TURNS * 3)
    assert rows[2:] == (pytest.approx(cost), pytest.approx(wasted))
    assert sums == (pytest.approx(cost), pytest.approx(wasted))
    assert turns == (CALLS * TURNS, CALLS)


def finished(data_dir: Path) -> bool:
    """Whether every journal is in the ledger to its end."""
    return not any((data_dir / "journal").iterdir())


def wait_not_ready(sidecar: Sidecar) -> None:
    """Wait until the sidecar says that something is wrong."""
    wait_until(lambda: sidecar.get("/-/ready")[0] == 503, "the sidecar notices")


def no_secret(*said: str) -> None:
    """The password is in nothing that anybody may read."""
    for text in said:
        assert PASSWORD not in text
        assert "s3cr3t" not in text


def test_a_server_killed_in_the_middle_of_ten_thousand_events_loses_and_repeats_none(
    tmp_path: Path, data_dir: Path, serve: Serve, config: Path, own_server: Postgres
) -> None:
    """The server dies three times and the sidecar once; the totals are the truth."""
    url = own_server.url(own_server.new_database())
    config.write_text(f"ledger:\n  url: {url}\n")
    assert EVENTS >= 10_000
    sidecar = serve("--config", str(config))
    sidecar.wait_ready()
    journals = [Writer(data_dir, f"s{number}-aa") for number in range(CALLS)]
    calls = [a_call(f"s{number}") for number in range(CALLS)]
    for begin in range(0, len(calls[0]), 20):
        for journal, records in zip(journals, calls, strict=True):
            journal.put(*records[begin : begin + 20])
        if begin in (40, 100, 160):
            own_server.kill()
        if begin in (60, 120, 180):
            wait_not_ready(sidecar)
            assert total(sidecar.samples(), "livekit_exporter_journal_lag_bytes") > 0
            no_secret(sidecar.get("/-/ready")[1], sidecar.get("/")[1], sidecar.said)
            if begin == 120:
                sidecar.kill()
                sidecar = serve("--config", str(config))
            own_server.start()
    for journal in journals:
        journal.close()
    wait_until(lambda: finished(data_dir), "all journals are in the ledger")
    sidecar.wait_ready()

    assert_true(sidecar.samples(), truth(tmp_path / "truth"), url)
    assert "ready: reading journals" in sidecar.said


def test_a_sidecar_starts_without_its_database_and_waits_for_it(
    tmp_path: Path, data_dir: Path, serve: Serve, config: Path, own_server: Postgres
) -> None:
    """It serves its page, says why it is not ready, and takes everything in when it can."""
    url = own_server.url(own_server.new_database())
    own_server.kill()
    secret = tmp_path / "url"
    secret.write_text(f"{url}\n")
    config.write_text(f"ledger:\n  url_file: {secret}\n")
    for number in range(CALLS):
        write_journal(data_dir, a_call(f"s{number}"), f"s{number}-aa")
    sidecar = serve("--config", str(config))

    wait_until(lambda: "cannot open ledger" in sidecar.get("/-/ready")[1], "it says why")
    samples = sidecar.samples()
    assert total(samples, "livekit_exporter_journal_lag_bytes") > 100_000
    assert total(samples, "livekit_exporter_journal_files") == CALLS
    no_secret(sidecar.get("/-/ready")[1], sidecar.get("/")[1], sidecar.said)

    own_server.start()
    wait_until(lambda: finished(data_dir), "all journals are in the ledger")
    sidecar.wait_ready()
    assert_true(sidecar.samples(), truth(tmp_path / "truth"), url)
    sidecar.signal(signal.SIGTERM)
    assert sidecar.wait() == 0
    no_secret(sidecar.said)


def test_sidecars_that_share_a_database_add_up_to_the_truth(
    tmp_path: Path, serve: Serve, config: Path, postgres: Postgres, database_url: str
) -> None:
    """They start at once on an empty database, take different calls, and one is killed."""
    del postgres
    config.write_text(f"ledger:\n  url: {database_url}\n")
    folders = [tmp_path / "one", tmp_path / "two"]
    for number in range(CALLS):
        write_journal(folders[number % 2], a_call(f"s{number}"), f"s{number}-aa")

    def begin(folder: Path) -> Sidecar:
        return serve("--config", str(config), directory=folder)

    sidecars = [begin(folder) for folder in folders]
    wait_until(lambda: total(sidecars[1].samples(), "livekit_agent_requests_total") > 0)
    sidecars[1].kill()
    sidecars[1] = begin(folders[1])
    for folder in folders:
        wait_until(lambda folder=folder: finished(folder), "all journals are in the ledger")  # type: ignore[misc]
    for sidecar in sidecars:
        sidecar.wait_ready()

    pages = [sidecar.samples() for sidecar in sidecars]
    for page in pages:
        assert total(page, "livekit_agent_sessions_total") == CALLS / 2
    together: Samples = {
        (name, frozenset()): sum(total(page, name) for page in pages) for name in COUNTERS
    }
    assert_true(together, truth(tmp_path / "truth"), database_url)


def test_reports_read_the_ledger_that_the_settings_name(data_dir: Path, database_url: str) -> None:
    """Without an option that says where it is."""
    ledger = LedgerSettings(url=database_url)  # type: ignore[arg-type]
    intake = Intake(data_dir, ledger=ledger)
    with closing(intake.ingest):
        intake.take(*a_call("s1"))
        cost = intake.figure("SELECT sum(cost_usd) FROM usage")

    report = subprocess.run(
        [
            *(sys.executable, "-m", "livekit_exporter", "report", "cost", "--json"),
            *("--since", "2026-11-01", "--until", "2026-12-01"),
        ],
        env={**os.environ, "LIVEKIT_EXPORTER_LEDGER_URL": database_url},
        capture_output=True,
        text=True,
        check=False,
    )

    assert report.returncode == 0, report.stderr
    no_secret(report.stdout, report.stderr)
    rows = json.loads(report.stdout)["rows"]
    assert sum(float(row["cost_usd"]) for row in rows) == pytest.approx(cost)
