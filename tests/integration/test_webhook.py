"""A real sidecar and a real receiver, each of them away for a while: no call is lost."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from livekit_exporter.ledger import outbox
from livekit_exporter.ledger.rows import DeliveryRow, DeliveryState
from tests.conftest import Serve
from tests.receivers import SECRET, Received, Receiver, answering, settings
from tests.records import Writer, call, closed, started, write_journal
from tests.sidecars import Sidecar, total, wait_until

EVERY: tuple[DeliveryState, ...] = ("pending", "delivered", "dead")


@pytest.fixture(params=["embedded", "server"])
def ledger(request: pytest.FixtureRequest, data_dir: Path) -> Path | str:
    """Where the ledger is: both kinds of database."""
    if request.param == "embedded":
        return data_dir / "ledger.db"
    return str(request.getfixturevalue("database_url"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The configuration file."""
    return tmp_path / "exporter.json"


def configure(file: Path, ledger: Path | str, receiver: Receiver, **webhook: object) -> None:
    """Write it, whole or not at all."""
    written = json.loads(settings(receiver, **webhook))
    if isinstance(ledger, str):
        written["ledger"] = {"url": ledger}
    hidden = file.with_suffix(".tmp")
    hidden.write_text(json.dumps(written))
    hidden.rename(file)


def rows(ledger: Path | str) -> list[DeliveryRow]:
    """All deliveries."""
    return outbox.listed(ledger, EVERY)


def delivered(ledger: Path | str, number: int) -> bool:
    """Whether so many calls are, and none is on its way."""
    found = rows(ledger)
    return len(found) == number and {row.state for row in found} == {"delivered"}


def write_calls(data_dir: Path, first: int, number: int) -> list[str]:
    """Calls that have ended; their ids."""
    sessions = [f"call-{n}" for n in range(first, first + number)]
    for session in sessions:
        write_journal(data_dir, call(session), f"{session}-aa")
    return sessions


@pytest.mark.parametrize("ends", ["before", "after"], ids=lambda ends: f"ends {ends} the signal")
def test_the_last_call_before_the_sidecar_stops_is_whole(
    data_dir: Path, file: Path, ledger: Path | str, serve: Serve, ends: str
) -> None:
    """A worker's last call and its sidecar end within milliseconds of each other."""
    receiver = Receiver()
    configure(file, ledger, receiver)
    sidecar = serve("--config", str(file))
    sidecar.wait_ready()
    open_call = Writer(data_dir, "open-aa")
    last_call = Writer(data_dir, "last-aa")
    with receiver.up():
        open_call.put(started("open"))
        last_call.put(*call("last")[:-1])
        wait_until(
            lambda: total(sidecar.samples(), "livekit_agent_active_sessions") == 2,
            "both calls are going on",
        )
        last_call.put(closed("last"))
        if ends == "before":
            last_call.close()
        sidecar.signal(signal.SIGTERM)
        time.sleep(0.2)
        last_call.close()
        assert sidecar.wait() == 0
    open_call.close()

    assert receiver.sessions == ["last"]
    assert delivered(ledger, 1)
    assert [path.name for path in data_dir.glob("calls/*/*")] == ["last.json"]
    assert [path.name for path in data_dir.glob("journal/*.jsonl")] == ["open-aa.jsonl"]


def test_receiver_and_sidecar_are_away_and_every_call_is_delivered(
    data_dir: Path, file: Path, ledger: Path | str, serve: Serve
) -> None:
    """Down and killed in turns; a repeat has the same id and the same bytes, and is signed."""
    receiver = Receiver()
    configure(file, ledger, receiver)
    sessions = write_calls(data_dir, 0, 10)

    # Nobody listens at the receiver's address.
    began = time.monotonic()
    first = serve("--config", str(file))
    first.wait_ready()
    wait_until(
        lambda: len(rows(ledger)) == 10 and all(row.attempts for row in rows(ledger)),
        "each call was tried in vain",
    )
    first.kill()
    # Neither does a sidecar read what is written now.
    sessions += write_calls(data_dir, 10, 10)
    second = serve("--config", str(file))
    second.wait_ready()
    wait_until(lambda: len(rows(ledger)) == 20, "all calls have ended")
    wait_until(lambda: time.monotonic() - began > 6, "the receiver is down for long enough")
    second.kill()
    assert {row.state for row in rows(ledger)} == {"pending"}

    # The receiver is back and has taken a call when the sidecar is killed, before the answer.
    third: list[Sidecar] = []
    killed = threading.Event()
    started = threading.Event()

    def take_and_kill(handler: BaseHTTPRequestHandler, request: Received) -> None:
        started.wait()
        if not killed.is_set():
            third[0].kill()
            killed.set()
        answering(200)(handler, request)

    receiver.behaviour = take_and_kill
    with receiver.up():
        third.append(serve("--config", str(file)))
        started.set()
        assert killed.wait(60)
        taken_by_then = {request.id for request in receiver.received}
        assert taken_by_then
        assert {row.state for row in rows(ledger)} == {"pending"}
        sessions += write_calls(data_dir, 20, 5)

        fourth = serve("--config", str(file))
        wait_until(lambda: delivered(ledger, 25), "every call is delivered")
        samples = fourth.samples()
    fourth.signal(signal.SIGTERM)
    assert fourth.wait() == 0

    assert set(receiver.sessions) == set(sessions), "none is missing, each is signed"
    by_id: dict[str, set[tuple[str, bytes]]] = {}
    for request in receiver.received:
        by_id.setdefault(request.id, set()).add((request.session, request.body))
    assert len(by_id) == 25, "each call has one id, however often it came"
    assert all(len(contents) == 1 for contents in by_id.values()), "and one content"
    repeats = {name for name, n in Counter(r.id for r in receiver.received).items() if n > 1}
    assert repeats == taken_by_then, "what the receiver had and nobody could note came again"
    assert by_id.keys() == {row.id for row in rows(ledger)}
    assert total(samples, "livekit_exporter_webhook_deliveries_total") == 25
    assert total(samples, "livekit_exporter_webhook_dead_letters_total") == 0
    assert total(samples, "livekit_exporter_webhook_errors_total") >= 10


def test_a_sidecar_killed_at_any_instant_loses_none(
    data_dir: Path, file: Path, ledger: Path | str, serve: Serve
) -> None:
    """Killed again and again while calls end and are delivered."""
    receiver = Receiver()
    configure(file, ledger, receiver)
    sessions: list[str] = []
    with receiver.up():
        for number in range(6):
            sidecar = serve("--config", str(file))
            assert sidecar.url
            sessions += write_calls(data_dir, 5 * number, 5)
            # From before the first look at the journals to after the last answer.
            time.sleep(0.12 * number)
            sidecar.kill()
        last = serve("--config", str(file))
        wait_until(lambda: delivered(ledger, 30), "every call is delivered")
        assert total(last.samples(), "livekit_exporter_webhook_deliveries_total") == 30

    assert set(receiver.sessions) == set(sessions)
    assert len({(request.id, request.body) for request in receiver.received}) == 30
    assert {row.revision for row in rows(ledger)} == {1}


def program(file: Path, data_dir: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `livekit-exporter webhook`."""
    where = () if words[0] == "test" else ("--data-dir", str(data_dir))
    return subprocess.run(
        [
            *(sys.executable, "-m", "livekit_exporter", "webhook", *words),
            *("--config", str(file), *where),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def test_dead_letters_are_listed_and_sent_again_beside_the_sidecar(
    data_dir: Path, file: Path, ledger: Path | str, serve: Serve
) -> None:
    """The receiver said that it is gone, and is back."""
    receiver = Receiver(answering(410))
    configure(file, ledger, receiver)
    write_calls(data_dir, 0, 2)
    with receiver.up():
        sidecar = serve("--config", str(file))
        sidecar.wait_ready()
        wait_until(
            lambda: [row.state for row in rows(ledger)] == ["dead", "dead"], "both are given up"
        )

        listed = program(file, data_dir, "list", "--dead", "--json")
        assert listed.returncode == 0, listed.stderr
        told = json.loads(listed.stdout)
        assert {row["session"] for row in told} == {"call-0", "call-1"}
        assert {row["error"] for row in told} == {"HTTP 410 Gone"}

        receiver.behaviour = answering(204)
        again = program(file, data_dir, "retry", told[0]["id"])
        assert (again.returncode, again.stdout) == (0, "1 to be sent again\n"), again.stderr
        wait_until(lambda: rows(ledger)[0].state == "delivered", "the first is delivered")
        assert rows(ledger)[1].state == "dead"
        again = program(file, data_dir, "retry", "--all-dead")
        assert (again.returncode, again.stdout) == (0, "1 to be sent again\n"), again.stderr
        wait_until(lambda: delivered(ledger, 2), "both are delivered")
        assert sidecar.get("/-/ready")[0] == 200
        samples = sidecar.samples()

    assert total(samples, "livekit_exporter_webhook_dead_letters_total") == 2
    assert total(samples, "livekit_exporter_webhook_deliveries_total") == 2
    assert total(samples, "livekit_exporter_ledger_errors_total") == 0
    assert set(Counter(request.id for request in receiver.received).values()) == {2}


def test_sighup_changes_address_and_secret_and_refuses_a_mistake(
    data_dir: Path, tmp_path: Path, file: Path, serve: Serve
) -> None:
    """What was waiting goes to the new address; a wrong file leaves the old one in force."""
    ledger = data_dir / "ledger.db"
    old, new = Receiver(answering(500)), Receiver()
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    configure(file, ledger, old)
    with old.up(), new.up():
        sidecar = serve("--config", str(file))
        assert sidecar.url
        write_calls(data_dir, 0, 1)
        wait_until(lambda: bool(old.received), "the old address is tried")

        configure(file, ledger, new, secret=None, secret_file=str(tmp_path / "none"))
        sidecar.signal(signal.SIGHUP)
        wait_until(lambda: "webhook.secret_file: cannot read" in sidecar.said, "it is refused")
        assert new.received == []

        configure(file, ledger, new, secret=None, secret_file=str(secret))
        sidecar.signal(signal.SIGHUP)
        wait_until(lambda: delivered(ledger, 1), "it is delivered")
        assert new.sessions == ["call-0"]
        assert new.received[0].id == old.received[0].id
        assert SECRET not in sidecar.said
        assert "token-in-the-path" not in sidecar.said

        # Without an address nothing is delivered, and nothing noted.
        file.write_text("{}")
        sidecar.signal(signal.SIGHUP)
        wait_until(lambda: sidecar.said.count("configuration loaded") == 2, "it is loaded")
        write_calls(data_dir, 1, 1)
        wait_until(
            lambda: total(sidecar.samples(), "livekit_agent_sessions_closed_total") == 2,
            "the second call has ended",
        )
        assert len(rows(ledger)) == 1


def test_what_ends_with_the_sidecar_is_delivered_before_it_ends(
    data_dir: Path, file: Path, ledger: Path | str, serve: Serve
) -> None:
    """The last call of a pod, whose ledger may be gone with it."""
    receiver = Receiver()
    configure(file, ledger, receiver)
    file.write_text(json.dumps({**json.loads(file.read_text()), "poll_seconds": 60}))
    with receiver.up():
        sidecar = serve("--config", str(file))
        sidecar.wait_ready()
        write_calls(data_dir, 0, 3)
        assert receiver.received == []
        sidecar.signal(signal.SIGTERM)
        assert sidecar.wait() == 0

        assert sorted(receiver.sessions) == ["call-0", "call-1", "call-2"]
        assert delivered(ledger, 3)


def test_a_mistake_in_the_secret_stops_the_start(file: Path, serve: Serve, tmp_path: Path) -> None:
    """Rather than sending what no receiver believes."""
    configure(file, tmp_path, Receiver(), secret=None, secret_file=str(tmp_path / "none"))
    sidecar = serve("--config", str(file))

    assert sidecar.wait() == 1
    assert "livekit-exporter: webhook.secret_file: cannot read" in sidecar.said


def test_a_trial_says_what_the_receiver_says(data_dir: Path, file: Path) -> None:
    """Signed like the real thing, and no call."""
    receiver = Receiver(answering(200, b"thanks\x1b[2J\n"))
    configure(file, data_dir, receiver)
    with receiver.up():
        good = program(file, data_dir, "test")
        receiver.behaviour = answering(401, b"who are you?")
        bad = program(file, data_dir, "test")
    away = program(file, data_dir, "test")

    event = receiver.received[0].event
    assert event["type"] == "webhook.test"
    assert receiver.received[0].id.startswith("test_")
    assert good.returncode == 0, good.stderr
    assert "HTTP 200 after " in good.stdout
    assert good.stdout.endswith("thanks [2J\n")
    assert (bad.returncode, away.returncode) == (1, 1)
    assert "HTTP 401 Unauthorized after " in bad.stdout
    assert "who are you?" in bad.stdout
    assert "Cannot connect to host 127.0.0.1" in away.stdout
