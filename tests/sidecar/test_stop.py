"""A sidecar that is asked to end: what is on file is taken in, ended, written and sent first."""

import json
import signal
import socket
import threading
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from livekit_exporter import contract, files
from livekit_exporter.ledger import outbox
from livekit_exporter.sidecar.export_files import file_name
from tests.conftest import Serve
from tests.intake import Intake
from tests.receivers import SECRET, Receiver
from tests.records import Writer, call, started, thought, write_journal
from tests.sidecars import total, wait_until


def journals(data_dir: Path) -> list[str]:
    """Names of the journals that are left."""
    return sorted(path.name for path in files.journals(data_dir).iterdir())


def call_files(data_dir: Path) -> set[str]:
    """Names of the files of calls."""
    return {path.name for path in files.calls(data_dir).glob("*/*.json")}


def finish(intake: Intake, within_seconds: float = 30.0) -> None:
    """Ask the loop to end, and let it."""
    intake.ingest.stop(within_seconds)
    intake.ingest.run()


def test_a_call_that_ended_just_before_is_ended_and_written(data_dir: Path) -> None:
    """Its writer was there when the sidecar last asked, less than a second ago."""
    intake = Intake(data_dir)
    with closing(intake.ingest):
        with Writer(data_dir) as journal:
            journal.put(*call())
            intake.passes()
            assert intake.figure("SELECT ended FROM sessions") == 0

        finish(intake)

        assert intake.figure("SELECT ended FROM sessions") == 1
        assert call_files(data_dir) == {"s1.json"}
        assert journals(data_dir) == []


def test_a_journal_with_a_writer_stays_for_the_next_start(data_dir: Path) -> None:
    """Its records so far are in; its call goes on, and the next sidecar ends it."""
    intake = Intake(data_dir)
    with Writer(data_dir) as journal:
        journal.put(started(), thought())
        with closing(intake.ingest):
            finish(intake)
            assert intake.figure("SELECT count(*) FROM usage") == 1
            assert intake.figure("SELECT ended FROM sessions") == 0
        journal.put(*call()[1:])
    again = Intake(data_dir)
    with closing(again.ingest):
        finish(again)

        assert again.figure("SELECT ended FROM sessions") == 1
        assert again.counter(contract.SESSIONS_CLOSED, reason="user_initiated") == 1


def test_every_call_that_ended_gets_its_file(data_dir: Path) -> None:
    """There may be more of them than one pass writes."""
    sessions = [f"s{number}" for number in range(120)]
    intake = Intake(data_dir)
    with closing(intake.ingest):
        with ExitStack() as writers:
            for session in sessions:
                writers.enter_context(Writer(data_dir, session)).put(*call(session))
            intake.passes()

        finish(intake)

        assert call_files(data_dir) == {f"{file_name(session)}.json" for session in sessions}


def test_a_pass_ends_when_time_is_up(data_dir: Path) -> None:
    """A huge backlog is left to the next start, at a whole transaction."""
    intake = Intake(data_dir)
    for number in range(3):
        write_journal(data_dir, call(f"s{number}"), f"j{number}")
    with closing(intake.ingest):
        intake.ingest.stop(0.0)
        intake.passes()
        assert intake.figure("SELECT count(*) FROM sessions") == 1
        intake.ingest.run()
        assert intake.figure("SELECT count(*) FROM sessions") == 1
    again = Intake(data_dir)
    with closing(again.ingest):
        finish(again)

        assert again.figure("SELECT sum(ended) FROM sessions") == 3
        assert again.counter(contract.SESSIONS_CLOSED) == 3


def test_a_ledger_that_is_back_in_time_gets_everything(data_dir: Path) -> None:
    """An error is tried again while there is time: with an emptyDir there is no next start."""
    write_journal(data_dir, call())
    files.ledger(data_dir).write_bytes(b"this is no database" * 1000)
    intake = Intake(data_dir)
    with closing(intake.ingest):
        intake.ingest.stop(60.0)
        finishing = threading.Thread(target=intake.ingest.run)
        finishing.start()
        wait_until(lambda: "cannot open" in (intake.ingest.problem() or ""), "it has failed")
        files.ledger(data_dir).unlink()
        finishing.join()

        assert intake.figure("SELECT ended FROM sessions") == 1


def test_a_ledger_that_stays_away_ends_with_the_time(data_dir: Path) -> None:
    """The journals keep the records."""
    write_journal(data_dir, call())
    files.ledger(data_dir).write_bytes(b"this is no database" * 1000)
    intake = Intake(data_dir)
    with closing(intake.ingest):
        finish(intake, 0.1)

    assert len(journals(data_dir)) == 1


def test_sigterm_after_the_last_call_sends_it(data_dir: Path, serve: Serve) -> None:
    """A pod that ends after its last call has no later; a second SIGTERM hurries nothing."""
    receiver = Receiver()
    config = data_dir.with_name("config.yaml")
    config.write_text(json.dumps({"webhook": {"url": receiver.url, "secret": SECRET}}))
    with receiver.up():
        sidecar = serve("--config", str(config))
        with Writer(data_dir) as journal:
            journal.put(*call())
            wait_until(
                lambda: total(sidecar.samples(), "livekit_agent_turns_total") == 1, "it is read"
            )
        sidecar.signal(signal.SIGTERM)
        sidecar.signal(signal.SIGTERM)

        assert sidecar.wait() == 0
    assert receiver.sessions == ["s1"]
    (sent,) = outbox.listed(files.ledger(data_dir), ("pending", "delivered", "dead"))
    assert sent.state == "delivered"
    assert call_files(data_dir) == {"s1.json"}


def test_a_database_that_does_not_answer_keeps_nobody(data_dir: Path, serve: Serve) -> None:
    """Who asked would kill the sidecar otherwise, and nobody would say what was left behind."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install -e '.[postgres]'")
    write_journal(data_dir, call())
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        options = "connect_timeout=300&sslmode=disable&gssencmode=disable"
        config = data_dir.with_name("config.yaml")
        config.write_text(
            json.dumps({"ledger": {"url": f"postgresql://u@{where}/ledger?{options}"}})
        )
        sidecar = serve("--config", str(config))
        # The first attempt, before there is a page, is refused; the second one waits.
        silent.accept()[0].close()
        with silent.accept()[0]:
            sidecar.signal(signal.SIGTERM)

            assert sidecar.wait() == 1
    assert "not ended after 9 s" in sidecar.said
    assert len(journals(data_dir)) == 1
