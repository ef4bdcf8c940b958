"""Asking the sidecar for the spend of others: where it is, and whatever it answers."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from livekit_exporter import Budget, BudgetEvent, files
from livekit_exporter.agent.account import LiveAccount
from livekit_exporter.agent.budget.lookups import (
    Day,
    LookupFailedError,
    Lookups,
    ask,
    sidecar_url,
)
from livekit_exporter.agent.budget.tracker import BudgetTracker
from livekit_exporter.agent.journal import Journal
from livekit_exporter.agent.prices import Prices
from tests.agent.logs import logged
from tests.records import AT, started
from tests.sidecars import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANSWER = {
    "day": {"start_at": AT, "end_at": AT + 86400},
    "spend": {
        "day": {"reported_usd": 1.5, "estimated_usd": 0.25},
        "user": {"reported_usd": 0.1, "estimated_usd": 0},
        "label": {"reported_usd": 0, "estimated_usd": 0.3},
    },
}


class Stand:
    """A server that answers as it is told."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.asked: list[str] = []
        stand = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stand.asked.append(self.path)
                last = len(stand.answers) == 1
                status, body = stand.answers[0] if last else stand.answers.pop(0)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def stand() -> Iterator[Stand]:
    """A server that runs."""
    made = Stand()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def test_an_answer_is_read(stand: Stand) -> None:
    """Reported and estimated together, by the scopes of a budget."""
    stand.answers = [(200, json.dumps(ANSWER).encode())]

    day = ask(stand.url + "/", {"user": "Ünï & co", "label": "tenant=a=b"})

    assert day == Day(
        AT,
        AT + 86400,
        {"day": Decimal("1.75"), "user_day": Decimal("0.1"), "tenant_day": Decimal("0.3")},
    )
    asked = urlsplit(stand.asked[0])
    assert asked.path == "/api/v1/spend"
    assert parse_qs(asked.query) == {"user": ["Ünï & co"], "label": ["tenant=a=b"]}


def amounts(reported: bytes, estimated: bytes) -> bytes:
    """An answer with these amounts in it, as they are written."""
    sums = b'{"reported_usd":%s,"estimated_usd":%s}' % (reported, estimated)
    return b'{"day":{"start_at":1,"end_at":2},"spend":{"day":%s}}' % sums


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"internal error"),
        (404, b"not found"),
        (302, b""),
        (200, b""),
        (200, b"<html>a login page</html>"),
        (200, b"[]"),
        (200, b'"text"'),
        (200, b"\xff\xfe"),
        (200, b"[" * 100_000),
        (200, b'{"spend": {}}'),
        (200, b'{"spend": [], "day": {}}'),
        (200, json.dumps({**ANSWER, "spend": {"day": {"reported_usd": 1}}}).encode()),
        (200, amounts(b"NaN", b"0")),
        (200, amounts(b"-5", b"0")),
        (200, amounts(b"true", b'"1"')),
    ],
    ids=lambda answer: str(answer)[:60],
)
def test_what_is_no_answer_fails(stand: Stand, answer: tuple[int, bytes]) -> None:
    """Never a wrong figure, and never another exception."""
    stand.answers = [answer]

    with pytest.raises(LookupFailedError):
        ask(stand.url, {})


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1", "file:///etc/hostname", "127.0.0.1:7889", "", "http://[", "ftp://x/"],
)
def test_nobody_is_there(url: str) -> None:
    """A wrong address is said like an absent sidecar."""
    with pytest.raises(LookupFailedError):
        ask(url, {})


def test_a_proxy_is_not_asked(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sidecar is on this host; the environment's proxy is for the vendors."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    stand.answers = [(200, json.dumps(ANSWER).encode())]

    assert ask(stand.url, {}).start == AT


def tell(root: Path, said: str) -> None:
    """What a sidecar writes into its lock."""
    files.make(root)
    files.lock(root).write_text(said)


@pytest.mark.parametrize(
    ("said", "url"),
    [
        ('{"address": "http://127.0.0.1:4711"}', "http://127.0.0.1:4711"),
        ('{"address": "http://0.0.0.0:4711"}', "http://127.0.0.1:4711"),
        ('{"address": "http://[::]:4711"}', "http://[::1]:4711"),
        ('{"address": ""}', "http://127.0.0.1:7889"),
        ("", "http://127.0.0.1:7889"),
        ("[]", "http://127.0.0.1:7889"),
        ('{"address', "http://127.0.0.1:7889"),
    ],
)
def test_the_sidecar_says_where_it_is(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, said: str, url: str
) -> None:
    """In the data directory; what is unreadable there is nothing."""
    monkeypatch.delenv("LIVEKIT_EXPORTER_URL", raising=False)
    tell(data_dir, said)

    assert sidecar_url(None, data_dir) == url


def test_who_says_it_counts(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument, then the environment, then the data directory."""
    tell(data_dir, '{"address": "http://127.0.0.1:4711"}')
    monkeypatch.setenv("LIVEKIT_EXPORTER_URL", "http://sidecar:7889")

    assert sidecar_url("http://elsewhere", data_dir) == "http://elsewhere"
    assert sidecar_url(None, data_dir) == "http://sidecar:7889"
    monkeypatch.delenv("LIVEKIT_EXPORTER_URL")
    assert sidecar_url(None, data_dir / "absent") == "http://127.0.0.1:7889"


@contextmanager
def looking_up(data_dir: Path, url: str, events: list[BudgetEvent]) -> Iterator[Journal]:
    """A journal with a budget of 2 US dollars a day, of which others may have spent a part."""
    journal = Journal(files.journals(data_dir), "s1")
    account = LiveAccount(Prices())
    tracker = BudgetTracker(
        Budget(day_usd=2, warn_at=None),
        ("day",),
        None,  # type: ignore[arg-type]  # it is only handed on
        account=account,
        notes=journal,
        tell=events.append,
        clock=lambda: AT,
    )
    journal.follow(account)
    journal.follow(tracker)
    lookups = Lookups(journal, tracker.learn, "s1", lambda: url, {"user": "u"}, 0.1)
    journal.follow(lookups)
    journal.put(started())
    lookups.start()
    yield journal
    assert journal.close(10)
    wait_until(
        lambda: "livekit-exporter-budget" not in {thread.name for thread in threading.enumerate()},
        "the lookups have ended",
    )


def journalled(data_dir: Path) -> list[dict[str, object]]:
    """Every record in the one journal."""
    (path,) = files.journals(data_dir).glob("*.jsonl")
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_call_asks_again_and_again(data_dir: Path, stand: Stand) -> None:
    """Without itself; failures are on record, and logged at most once a minute."""
    dear = {**ANSWER, "spend": {"day": {"reported_usd": 2, "estimated_usd": 0}}}
    good, bad = (200, json.dumps(ANSWER).encode()), (500, b"")
    stand.answers = [good, bad, bad, good, bad, (200, json.dumps(dear).encode())]
    events: list[BudgetEvent] = []
    with logged() as lines, looking_up(data_dir, stand.url, events):
        wait_until(lambda: bool(events), "the last answer has come")

    assert [(event.scope, event.threshold, event.stale) for event in events] == [
        ("day", "limit", False)
    ]
    assert parse_qs(urlsplit(stand.asked[0]).query) == {"user": ["u"], "exclude_session": ["s1"]}
    records = journalled(data_dir)
    kinds = [record["kind"] for record in records]
    assert kinds == ["session_started", *["budget_lookup_failed"] * 3, "budget_reached"]
    assert records[1]["error"] == "AnswerError"
    assert sum("cannot be asked" in text for text in lines.texts()) == 1


def test_a_call_that_ends_asks_no_more(data_dir: Path, stand: Stand) -> None:
    """Its thread ends with its journal, and nothing counts as lost."""
    stand.answers = [(200, json.dumps(ANSWER).encode())]
    with looking_up(data_dir, stand.url, []):
        wait_until(lambda: len(stand.asked) > 2, "it has asked")

    assert [record["kind"] for record in journalled(data_dir)] == ["session_started"]
