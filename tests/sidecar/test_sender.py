"""Deliveries to a real receiver, good, bad and hostile, from a real ledger."""

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import jsonschema
import pytest
from pydantic import SecretStr

from livekit_exporter import contract, files
from livekit_exporter.ledger import outbox
from livekit_exporter.ledger.rows import DeliveryRow
from livekit_exporter.prices import catalogue
from livekit_exporter.sidecar.config.settings import Config, ExportSettings, WebhookSettings
from livekit_exporter.sidecar.webhook.endpoint import configured
from livekit_exporter.sidecar.webhook.sender import MAX_IN_FLIGHT, WebhookSender
from tests.intake import Intake
from tests.receivers import SECRET, Received, Receiver, answering
from tests.records import call, closed, started
from tests.sidecar.test_exports import PERSON, SCHEMA

PATIENCE_SECONDS = 30.0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that is up."""
    made = Receiver()
    with made.up():
        yield made


def config(data_dir: Path, receiver: Receiver, **settings: object) -> Config:
    """Settings that send calls there."""
    webhook = WebhookSettings.model_validate(
        {
            "url": receiver.url,
            "secret": SecretStr(SECRET),
            "retry_seconds": 0.05,
            "timeout_seconds": 1.0,
            **settings,
        }
    )
    return Config(data_dir=data_dir, webhook=webhook)


class Delivering:
    """Ingest and the webhook sender side by side, without their process."""

    def __init__(self, settings: Config) -> None:
        self.intake = Intake(settings.data_dir)
        self.use(settings)
        self.sender = WebhookSender(
            settings.data_dir, lambda: self.intake.ingest.ledger, self.intake.ingest.attempts
        )
        self.sender.use(configured(settings))

    def use(self, settings: Config) -> None:
        self.settings = settings
        self.intake.config = settings
        self.intake.ingest.configure(settings, catalogue.load())

    @property
    def rows(self) -> dict[str, DeliveryRow]:
        where = files.ledger(self.settings.data_dir)
        found = outbox.listed(where, ("pending", "delivered", "dead"))
        return {row.session: row for row in found}

    def states(self) -> dict[str, str]:
        """Where each call is."""
        return {session: row.state for session, row in self.rows.items()}

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let ingest pass again and again until something holds."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            assert time.monotonic() < deadline, self.rows
            await asyncio.to_thread(self.intake.passes)
            await asyncio.sleep(0.01)


@asynccontextmanager
async def working(settings: Config) -> AsyncIterator[Delivering]:
    """Run the sender for the length of the block."""
    running = Delivering(settings)
    with closing(running.intake.ingest):
        sending = asyncio.create_task(running.sender.run())
        yield running
        running.sender.stop()
        await sending


async def test_a_call_is_delivered_as_it_is_exported(data_dir: Path, receiver: Receiver) -> None:
    """In an envelope, signed, in the format of the published schema."""
    async with working(config(data_dir, receiver)) as running:
        running.intake.take(PERSON, *call()[1:])
        await running.until(lambda: running.states() == {"s1": "delivered"})

        (request,) = receiver.received
        event = request.event
        (file,) = files.calls(data_dir).glob("*/*")
        assert event["data"] == json.loads(file.read_text("utf-8"))
        jsonschema.validate(event["data"], SCHEMA, cls=jsonschema.Draft202012Validator)
        assert (event["type"], event["revision"]) == ("call.ended", 1)
        assert request.id == running.rows["s1"].id
        assert request.path == "/hooks/token-in-the-path"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["user-agent"].startswith("livekit-exporter/")
        assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 60
        assert running.intake.counter(contract.WEBHOOK_DELIVERIES) == 1


async def test_what_is_sent_again_is_the_same_under_the_same_id(
    data_dir: Path, receiver: Receiver
) -> None:
    """Only the time and so the signature are another attempt's."""
    receiver.behaviour = answering(500)
    async with working(config(data_dir, receiver)) as running:
        running.intake.take(*call())
        await running.until(lambda: len(receiver.received) >= 4)
        receiver.behaviour = answering(200)
        await running.until(lambda: running.states() == {"s1": "delivered"})

        row = running.rows["s1"]
        assert row.attempts == len(receiver.received) >= 5
        assert {request.id for request in receiver.received} == {row.id}
        assert len({request.body for request in receiver.received}) == 1
        assert running.intake.counter(contract.WEBHOOK_ERRORS) == row.attempts - 1
        assert {request.session for request in receiver.received} == {"s1"}


def hang(handler: BaseHTTPRequestHandler, _: Received) -> None:
    """Never answers."""
    receiver_closing(handler).wait(PATIENCE_SECONDS)


def drip(handler: BaseHTTPRequestHandler, _: Received) -> None:
    """Answers a byte at a time, and never comes to the end of a header."""
    with suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nx: ")
        while not receiver_closing(handler).wait(0.05):
            handler.wfile.write(b"y")


def endless(status: int) -> Callable[[BaseHTTPRequestHandler, Received], None]:
    """Answers with a body that never ends."""

    def behave(handler: BaseHTTPRequestHandler, _: Received) -> None:
        handler.send_response(status)
        handler.end_headers()
        with suppress(OSError):
            while not receiver_closing(handler).is_set():
                handler.wfile.write(b"x" * 65536)
        BROKEN_OFF.set()

    return behave


BROKEN_OFF = threading.Event()


def writing(data: bytes) -> Callable[[BaseHTTPRequestHandler, Received], None]:
    """Writes something and hangs up."""

    def behave(handler: BaseHTTPRequestHandler, _: Received) -> None:
        handler.wfile.write(data)
        handler.close_connection = True
        with suppress(OSError):
            handler.connection.shutdown(socket.SHUT_RDWR)

    return behave


def receiver_closing(handler: BaseHTTPRequestHandler) -> threading.Event:
    """Set when the receiver goes down."""
    event: threading.Event = handler.server.closing  # type: ignore[attr-defined]
    return event


@pytest.mark.parametrize(
    ("behaviour", "status", "error"),
    [
        (hang, None, "no answer within 1 s"),
        (drip, None, "no answer within 1 s"),
        (writing(b""), None, "Server disconnected"),
        (writing(b"220 ftp.example.com ready\r\n"), None, "no HTTP answer: "),
        (writing(b"\x16\x03\x01\x02\x00\xff\x00" * 100 + b"\n"), None, "no HTTP answer: "),
        (writing(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000), None, "no HTTP answer: "),
        (answering(301, location="http://127.0.0.1:1/"), 301, "HTTP 301 Moved Permanently; redir"),
        (answering(503, b"<script>\x1b[2J"), 503, "HTTP 503 Service Unavailable"),
        (answering(599), 599, "HTTP 599"),
        (endless(500), 500, "HTTP 500 Internal Server Error"),
    ],
)
async def test_a_bad_receiver_gets_it_later(
    data_dir: Path,
    receiver: Receiver,
    behaviour: Callable[[BaseHTTPRequestHandler, Received], None],
    status: int | None,
    error: str,
) -> None:
    """Whatever it does, the call is kept, the reason is noted, and the time is bounded."""
    receiver.behaviour = behaviour
    async with working(config(data_dir, receiver)) as running:
        begun = time.monotonic()
        running.intake.take(*call())
        await running.until(lambda: running.rows["s1"].attempts >= 1)

        row = running.rows["s1"]
        assert row.state == "pending"
        assert (row.status, row.error[: len(error)]) == (status, error)
        assert row.error.isprintable()
        assert "token-in-the-path" not in row.error
        assert time.monotonic() - begun < 15
        receiver.behaviour = answering(200)
        await running.until(lambda: running.states() == {"s1": "delivered"})


async def test_an_endless_answer_is_not_read(data_dir: Path, receiver: Receiver) -> None:
    """Taken is taken; the rest is the receiver's own business, and its connection is closed."""
    BROKEN_OFF.clear()
    receiver.behaviour = endless(200)
    async with working(config(data_dir, receiver)) as running:
        running.intake.take(*call())
        await running.until(lambda: running.states() == {"s1": "delivered"})

        assert await asyncio.to_thread(BROKEN_OFF.wait, PATIENCE_SECONDS)
        assert len(receiver.received) == 1


async def test_a_redirect_is_not_followed(data_dir: Path, receiver: Receiver) -> None:
    """Names of people go to the configured address and to no other."""
    elsewhere = Receiver()
    with elsewhere.up():
        receiver.behaviour = answering(307, location=elsewhere.url)
        async with working(config(data_dir, receiver)) as running:
            running.intake.take(*call())
            await running.until(lambda: running.rows["s1"].attempts >= 3)

    assert elsewhere.received == []


async def test_no_cookie_is_kept(data_dir: Path, receiver: Receiver) -> None:
    """Each delivery is its own."""
    receiver.behaviour = answering(500, set_cookie="a=b; Path=/")
    async with working(config(data_dir, receiver)) as running:
        running.intake.take(*call())
        await running.until(lambda: len(receiver.received) >= 3)

    assert not any("cookie" in request.headers for request in receiver.received)


async def test_a_name_that_nobody_knows_is_a_failure_like_others(data_dir: Path) -> None:
    settings = config(data_dir, Receiver(), url="http://no-such-host.invalid/hook")
    async with working(settings) as running:
        running.intake.take(*call())
        await running.until(lambda: running.rows["s1"].attempts >= 1)

        assert running.rows["s1"].state == "pending"
        assert "no-such-host.invalid" in running.rows["s1"].error


async def test_what_is_gone_is_given_up_and_said(
    data_dir: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """With the way to find it again."""
    receiver.behaviour = answering(410)
    async with working(config(data_dir, receiver)) as running:
        running.intake.take(*call())
        await running.until(lambda: running.states() == {"s1": "dead"})

        assert running.intake.counter(contract.WEBHOOK_DEAD_LETTERS) == 1
        assert running.intake.counter(contract.WEBHOOK_ERRORS) == 1
    assert len(receiver.received) == 1
    assert "gave up to deliver call 's1' to http://127.0.0.1:" in caplog.text
    assert "HTTP 410 Gone; see 'livekit-exporter webhook list --dead'" in caplog.text
    assert "token-in-the-path" not in caplog.text


async def test_what_is_refused_ten_times_is_given_up(data_dir: Path, receiver: Receiver) -> None:
    receiver.behaviour = answering(422)
    async with working(config(data_dir, receiver, retry_seconds=0.001)) as running:
        running.intake.take(*call())
        await running.until(lambda: running.states() == {"s1": "dead"})

    assert len(receiver.received) == 10


async def test_what_fails_for_long_is_given_up_and_can_be_retried(
    data_dir: Path, receiver: Receiver
) -> None:
    """Beside the running sidecar, under the same id."""
    receiver.behaviour = answering(500)
    settings = config(data_dir, receiver, give_up_after_hours=1 / 3600)
    async with working(settings) as running:
        running.intake.take(*call())
        await running.until(lambda: running.states() == {"s1": "dead"})
        tries = len(receiver.received)
        assert tries > 1
        receiver.behaviour = answering(200)
        where = files.ledger(data_dir)

        assert outbox.retry(where, list(running.rows.values())) == 1
        await running.until(lambda: running.states() == {"s1": "delivered"})

        assert len(receiver.received) == tries + 1
        assert len({request.id for request in receiver.received}) == 1


async def test_one_call_that_the_receiver_chokes_on_holds_no_other_up(
    data_dir: Path, receiver: Receiver
) -> None:
    """Nor do as many as may be under way at a time."""

    def choke(handler: BaseHTTPRequestHandler, request: Received) -> None:
        if request.session.startswith("bad"):
            hang(handler, request)
        else:
            answering(200)(handler, request)

    receiver.behaviour = choke
    async with working(config(data_dir, receiver)) as running:
        for number in range(MAX_IN_FLIGHT):
            running.intake.take(*call(f"bad-{number}"))
        for number in range(20):
            running.intake.take(*call(f"good-{number}"))

        def all_good() -> bool:
            states = running.states()
            return sum(state == "delivered" for state in states.values()) == 20

        await running.until(all_good)
        assert {state for name, state in running.states().items() if "bad" in name} == {"pending"}


async def test_no_more_are_under_way_than_eight(data_dir: Path, receiver: Receiver) -> None:
    """However many calls there are."""
    lock, now, most = threading.Lock(), 0, 0

    def count(handler: BaseHTTPRequestHandler, request: Received) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        answering(200)(handler, request)

    receiver.behaviour = count
    async with working(config(data_dir, receiver, timeout_seconds=20)) as running:
        for number in range(40):
            running.intake.take(started(f"s{number}"), closed(f"s{number}"))
        await running.until(lambda: set(running.states().values()) == {"delivered"})

    assert 1 < most <= MAX_IN_FLIGHT
    assert sorted(receiver.sessions) == sorted(f"s{number}" for number in range(40))


async def test_ingest_does_not_wait_for_the_receiver(data_dir: Path, receiver: Receiver) -> None:
    """It takes calls in while every request hangs."""
    receiver.behaviour = hang
    async with working(config(data_dir, receiver, timeout_seconds=60)) as running:
        for number in range(MAX_IN_FLIGHT):
            running.intake.take(*call(f"s{number}"))
        await running.until(lambda: len(receiver.received) == MAX_IN_FLIGHT)

        begun = time.monotonic()
        await asyncio.to_thread(running.intake.take, *call("meanwhile"))

        assert time.monotonic() - begun < 10
        assert running.intake.figure("SELECT count(*) FROM sessions WHERE ended") == 9
        assert running.states() == dict.fromkeys(running.rows, "pending")
        receiver.closing.set()


async def test_a_receiver_that_asks_for_time_gets_it_for_all_calls(
    data_dir: Path, receiver: Receiver
) -> None:
    """A second is asked for, and no other call comes in it."""
    receiver.behaviour = answering(429, retry_after="1")
    async with working(config(data_dir, receiver)) as running:
        running.intake.take(*call("first"))
        await running.until(lambda: running.rows["first"].attempts == 1)
        asked = time.monotonic()
        receiver.behaviour = answering(200)
        running.intake.take(*call("second"))
        await running.until(lambda: set(running.states().values()) == {"delivered"})

    assert time.monotonic() - asked > 0.5
    assert len(receiver.received) == 3
    waited = [int(request.headers["webhook-timestamp"]) for request in receiver.received]
    assert waited[1] > waited[0]


async def test_a_call_that_changes_is_delivered_again_as_it_is_by_then(
    data_dir: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the next revision and another id; the highest one holds."""
    monkeypatch.setattr(outbox, "SETTLE_SECONDS", 0.2)
    async with working(config(data_dir, receiver)) as running:
        running.intake.take(started())
        await running.until(lambda: running.states() == {"s1": "delivered"})
        running.intake.take(closed())
        await running.until(lambda: running.rows["s1"].revision == 2)
        await running.until(lambda: running.states() == {"s1": "delivered"})

    first, second = (request.event for request in receiver.received)
    assert (first["revision"], first["data"]["reason"]) == (1, "lost")
    assert (second["revision"], second["data"]["reason"]) == (2, "user_initiated")
    assert receiver.received[0].id != receiver.received[1].id


async def test_a_call_that_changes_while_it_is_sent_is_sent_again(
    data_dir: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the receiver took was the old state, and its answer does not count for the new one."""
    monkeypatch.setattr(outbox, "SETTLE_SECONDS", 0.2)
    changed = threading.Event()

    def slow(handler: BaseHTTPRequestHandler, request: Received) -> None:
        changed.wait(PATIENCE_SECONDS)
        answering(200)(handler, request)

    receiver.behaviour = slow
    async with working(config(data_dir, receiver, timeout_seconds=60)) as running:
        running.intake.take(started())
        await running.until(lambda: len(receiver.received) == 1)
        running.intake.take(closed())
        await running.until(lambda: running.rows["s1"].revision == 2)
        changed.set()
        await running.until(lambda: running.states() == {"s1": "delivered"})

    assert [request.event["revision"] for request in receiver.received] == [1, 2]
    assert receiver.received[1].event["data"]["reason"] == "user_initiated"


@pytest.mark.parametrize("redaction", ["hash", "drop"])
async def test_names_leave_the_house_as_configured(
    data_dir: Path, receiver: Receiver, redaction: str
) -> None:
    """A hash is the one of the file, so both can be joined."""
    settings = config(data_dir, receiver, redaction=redaction)
    settings = settings.model_copy(update={"export": ExportSettings(redaction="hash")})
    async with working(settings) as running:
        running.intake.take(PERSON, closed())
        await running.until(lambda: running.states() == {"s1": "delivered"})

    (request,) = receiver.received
    assert b"anna" not in request.body
    (file,) = files.calls(data_dir).glob("*/*")
    hashed = json.loads(file.read_text("utf-8"))["user"]
    assert request.event["data"]["user"] == (hashed if redaction == "hash" else None)
    assert hashed is not None


async def test_another_address_holds_at_once(data_dir: Path, receiver: Receiver) -> None:
    """As SIGHUP brings it."""
    receiver.behaviour = answering(500)
    other = Receiver()
    with other.up():
        async with working(config(data_dir, receiver)) as running:
            running.intake.take(*call())
            await running.until(lambda: len(receiver.received) >= 2)
            settings = config(data_dir, other)
            running.use(settings)
            running.sender.use(configured(settings))
            await running.until(lambda: running.states() == {"s1": "delivered"})

    assert other.received[-1].id == receiver.received[0].id


async def test_none_is_sent_while_there_is_no_webhook(data_dir: Path, receiver: Receiver) -> None:
    """What waits goes on waiting, and is not shown as late."""
    receiver.behaviour = answering(500)
    async with working(config(data_dir, receiver)) as running:
        running.intake.take(*call())
        await running.until(lambda: running.intake.ingest.attempts.backlog.pending == 1)
        await running.until(lambda: running.rows["s1"].attempts >= 1)
        running.use(Config(data_dir=data_dir))
        running.sender.use(None)
        await running.until(lambda: running.intake.ingest.attempts.backlog.pending == 0)
        sent = len(receiver.received)
        await asyncio.sleep(0.5)

        assert len(receiver.received) <= sent + 1
        assert running.states() == {"s1": "pending"}


async def test_who_stops_sends_what_has_just_come(data_dir: Path, receiver: Receiver) -> None:
    """A pod that ends after its last call has no later."""
    running = Delivering(config(data_dir, receiver))
    with closing(running.intake.ingest):
        running.intake.take(*call())
        running.sender.stop()
        await running.sender.run()
        running.intake.passes()

        assert running.states() == {"s1": "delivered"}


async def test_who_stops_does_not_wait_for_a_receiver_that_hangs(
    data_dir: Path, receiver: Receiver
) -> None:
    """Three seconds, and the call is kept."""
    receiver.behaviour = hang
    running = Delivering(config(data_dir, receiver, timeout_seconds=300))
    with closing(running.intake.ingest):
        running.intake.take(*call())
        running.sender.stop()
        begun = time.monotonic()
        await running.sender.run()

        assert time.monotonic() - begun < 20
        running.intake.passes()
        assert running.states() == {"s1": "pending"}
    receiver.closing.set()


async def test_a_call_that_cannot_be_told_stops_no_other(
    data_dir: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """A row that nobody foresaw, as a newer agent may write one."""
    async with working(config(data_dir, receiver)) as running:
        running.intake.ingest.configure(Config(data_dir=data_dir), catalogue.load())
        running.intake.take(*call("broken"))
        running.intake.ask("SELECT 1")
        import sqlite3

        with closing(sqlite3.connect(files.ledger(data_dir))) as ledger, ledger:
            ledger.execute("UPDATE usage SET stage = 'no such stage'")
            ledger.execute(
                "INSERT INTO deliveries SELECT session, instance, 1, 'pending', 1.0, 1.0, 0, 0,"
                " NULL, NULL, NULL, '', NULL FROM sessions"
            )
        running.use(running.settings)
        running.intake.take(*call("good"))
        await running.until(lambda: running.states().get("good") == "delivered")
        await running.until(lambda: running.rows["broken"].attempts >= 1)

        assert running.rows["broken"].error == "cannot be sent, see the log of the sidecar"
        assert "cannot send call 'broken'" in caplog.text


async def test_failing_and_going_on_are_said_once(
    data_dir: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """Not with every attempt."""
    caplog.set_level(logging.INFO)
    receiver.behaviour = answering(500)
    async with working(config(data_dir, receiver)) as running:
        for number in range(3):
            running.intake.take(*call(f"s{number}"))
        await running.until(lambda: all(row.attempts >= 2 for row in running.rows.values()))
        receiver.behaviour = answering(200)
        await running.until(lambda: set(running.states().values()) == {"delivered"})

    said = [record.getMessage() for record in caplog.records if "deliver" in record.getMessage()]
    assert len(said) == 2
    assert "cannot deliver calls to http://127.0.0.1:" in said[0]
    assert "HTTP 500 Internal Server Error; the ledger has them, trying again" in said[0]
    assert said[1].startswith("delivering calls to http://127.0.0.1:")
