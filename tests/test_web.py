"""The HTTP surface, over a real socket and a source in memory."""

import asyncio
import gzip
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer

from livekit_exporter import __version__
from livekit_exporter.ledger.rows import SessionRow, TurnRow
from livekit_exporter.sidecar.http import call_page
from livekit_exporter.sidecar.http.call_page import CallView
from livekit_exporter.sidecar.http.landing import Overview, OverviewRow, PeriodSpend
from livekit_exporter.sidecar.http.routes import application
from livekit_exporter.sidecar.http.spend_api import SpendQuestion
from livekit_exporter.sidecar.registry import Exposition

PAGE = b"# HELP livekit_agent_turns_total Turns.\n"
QUIET = Overview(
    data_dir="/var/lib/x",
    timezone="Europe/Berlin",
    uptime_seconds=93784,
    active_sessions=0,
    day=PeriodSpend(),
    month=PeriodSpend(),
)
CALL = CallView(
    SessionRow(
        session="5e55",
        journal="j",
        agent="<b>support</b>",
        user="u-42",
        started_at=1_795_000_000.0,
        last_at=1_795_000_090.0,
        reason="lost",
        turns=1,
        cost_usd=0.0123,
    ),
    [TurnRow(session="5e55", speech="s", at=1_795_000_010.0, spoken=True, interrupted=True)],
    [],
)
ROW = OverviewRow(
    stage="llm",
    provider="openai",
    model="gpt-4o-mini",
    requests=12345,
    cost_usd=Decimal("1234.567"),
    unpriced=3,
)


@dataclass
class Memory:
    """A source that serves what it was given."""

    trouble: str | None = None
    figures: Overview = QUIET
    released: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)
    accepts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.released.set()

    def render(self, accept: str) -> Exposition:
        """Render the one page, once released."""
        self.accepts.append(accept)
        self.asked.set()
        self.released.wait(10)
        return Exposition("text/plain; version=0.0.4; charset=utf-8", PAGE, gzip.compress(PAGE, 1))

    def problem(self) -> str | None:
        """Say the trouble."""
        return self.trouble

    def overview(self) -> Overview:
        """Give the figures."""
        return self.figures

    def call(self, session: str) -> CallView | None:
        """Give the one call that there is."""
        return CALL if session == CALL.session.session else None

    def spend(self, question: SpendQuestion) -> dict[str, object] | None:
        """Say what was asked, or nothing in times of trouble."""
        return None if self.trouble else {"asked": question.user}


@asynccontextmanager
async def serving(source: Memory) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    """Serve a source on a free port; the client shows bodies as they came."""
    server = TestServer(application(source), host="127.0.0.1")
    async with TestClient(server, auto_decompress=False) as client:
        yield client


async def test_metrics_are_served_as_rendered() -> None:
    """The page's bytes and content type arrive unchanged, and the source sees what was asked."""
    source = Memory()
    async with serving(source) as client:
        response = await client.get(
            "/metrics", headers={"Accept": "application/openmetrics-text", "Accept-Encoding": ""}
        )
        body = await response.read()

    assert response.status == 200
    assert body == PAGE
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "Content-Encoding" not in response.headers
    assert source.accepts == ["application/openmetrics-text"]


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("identity", False),
        ("br", False),
        ("", False),
        (";;,q=,gzip;q", False),
    ],
)
async def test_metrics_are_compressed_for_clients_that_accept_it(
    accepted: str, *, compressed: bool
) -> None:
    """Prometheus asks for gzip; a person with curl does not."""
    async with serving(Memory()) as client:
        response = await client.get("/metrics", headers={"Accept-Encoding": accepted})
        body = await response.read()

    assert (response.headers.get("Content-Encoding") == "gzip") is compressed
    assert (gzip.decompress(body) if compressed else body) == PAGE
    assert response.headers["Vary"] == "Accept, Accept-Encoding"


async def test_health_does_not_wait_for_rendering() -> None:
    """A slow page must not make an orchestrator kill the sidecar."""
    source = Memory()
    source.released.clear()
    async with serving(source) as client:
        scrape = asyncio.create_task(client.get("/metrics"))
        await asyncio.to_thread(source.asked.wait, 10)
        response = await client.get("/-/healthy")
        waited = not scrape.done()
        source.released.set()
        await scrape

    assert response.status == 200
    assert waited


async def test_readiness_says_why_not() -> None:
    """503 with the reason as text, 200 once there is none."""
    source = Memory(trouble="ledger: disk full")
    async with serving(source) as client:
        before = await client.get("/-/ready")
        reason = await before.text()
        source.trouble = None
        after = await client.get("/-/ready")

    assert (before.status, reason) == (503, "not ready: ledger: disk full\n")
    assert after.status == 200


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready"])
async def test_head_answers_like_get_without_a_body(path: str) -> None:
    """Load balancers ask with HEAD."""
    async with serving(Memory()) as client:
        got = await client.get(path)
        response = await client.head(path)
        body = await response.read()

    assert response.status == 200
    assert body == b""
    assert response.headers["Content-Length"] == got.headers["Content-Length"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_only_get_and_head_are_allowed(method: str) -> None:
    """Nothing can be changed over HTTP."""
    async with serving(Memory()) as client:
        response = await client.request(method, "/metrics", data=b"x")

    assert response.status == 405


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/ready", "/nothing", "/%00"])
async def test_every_answer_carries_the_security_headers(path: str) -> None:
    """Also the ones that say no; and none says which versions answer."""
    async with serving(Memory()) as client:
        response = await client.get(path)

    assert response.headers["Server"] == "livekit-exporter"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


async def test_a_failing_source_is_one_line_and_a_log_entry(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The client learns nothing of the inside, the operator everything."""

    class Broken(Memory):
        def render(self, accept: str) -> Exposition:
            raise RuntimeError("secret " + accept)

    async with serving(Broken()) as client:
        response = await client.get("/metrics")
        text = await response.text()

    assert (response.status, text) == (500, "internal error, see the log\n")
    assert response.headers["Server"] == "livekit-exporter"
    assert "cannot answer path=/metrics" in caplog.text


async def landing(source: Memory) -> str:
    """The landing page, as a browser gets it."""
    server = TestServer(application(source), host="127.0.0.1")
    async with server, ClientSession() as client, client.get(server.make_url("/")) as response:
        assert response.content_type == "text/html"
        return await response.text()


async def test_landing_page_shows_the_figures() -> None:
    """Spend, calls, models and state, with links to the rest."""
    figures = replace(
        QUIET,
        active_sessions=1234,
        day=PeriodSpend(Decimal("0.004321")),
        month=PeriodSpend(Decimal("12345.678"), budget=Decimal(10000)),
        rows=(ROW,),
    )

    page = await landing(Memory(trouble="first pass", figures=figures))

    for text in (
        __version__, "1 d 2 h", "/var/lib/x", "Europe/Berlin", "Not ready: first pass", "1,234",
        "$0.004321", "$12,345.68", "123% of $10,000.00", "gpt-4o-mini", "12,345", "$1,234.57",
        'href="metrics"', 'href="-/healthy"', 'href="-/ready"',
    ):  # fmt: skip
        assert text in page
    assert 'alarm">3<' in page


async def test_landing_page_holds_budgets_against_estimates_too() -> None:
    """Spend is what was reported; the vendor's bill, and so the budget, has more in it."""
    figures = replace(
        QUIET,
        day=PeriodSpend(Decimal(6), Decimal(3), Decimal(10)),
        month=PeriodSpend(Decimal(40), Decimal("0.5")),
    )

    page = await landing(Memory(figures=figures))

    assert '<div class="value">$6.00</div>' in page
    assert 'value="0.9000"' in page
    assert "90% of $10.00 used, estimate included<br>$3.00 more estimated" in page
    assert '<div class="value">$40.00</div>' in page
    assert "no budget set<br>$0.500000 more estimated" in page


async def test_landing_page_without_usage_says_what_to_do() -> None:
    """The three lines for an agent, and where it has to write."""
    page = await landing(Memory())

    assert "from livekit_exporter import attach" in page
    assert "attach(session, ctx)" in page
    assert "LIVEKIT_EXPORTER_DATA_DIR=/var/lib/x" in page


async def test_landing_page_escapes_everything() -> None:
    """Provider and model names come from agents, a reason from the system."""
    evil = "<script>alert(1)</script>\"'&$state"
    row = replace(ROW, stage=evil, provider=evil, model=evil)
    figures = replace(QUIET, data_dir=evil, timezone=evil, rows=(row,))

    with_rows = await landing(Memory(trouble=evil, figures=figures))
    without = await landing(Memory(figures=replace(figures, rows=())))

    for page in (with_rows, without):
        assert "<script" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&amp;$state" in page


async def test_landing_page_is_self_contained() -> None:
    """No request leaves the page, and its style passes its own policy."""
    page = await landing(Memory(figures=replace(QUIET, rows=(ROW,))))

    assert not re.findall(r"(?:src|srcset|url\(|@import|https?:)", page)
    assert " style=" not in page
    assert len(re.findall("<style>", page)) == 1


@pytest.mark.parametrize("figure", ["-0", "1E+400", "1E-30", "0.0000004", "999999999999999.995"])
async def test_landing_page_survives_any_amount(figure: str) -> None:
    """A catalogue with a slipped decimal point must not take the page away."""
    figures = replace(QUIET, day=PeriodSpend(Decimal(figure), budget=Decimal(1)))

    assert "Spend today" in await landing(Memory(figures=figures))


async def test_a_call_has_a_page_of_its_own() -> None:
    """Where a dot on a dashboard leads: its turns, its cost, and nothing of who called."""
    async with serving(Memory()) as client:
        response = await client.get("/calls/5e55")
        page = await response.text()

    assert response.status == 200
    assert "$0.012300" in page
    assert "talked over" in page
    assert "&lt;b&gt;support" in page
    assert "u-42" not in page


def test_a_call_has_what_is_estimated_beside_its_cost() -> None:
    """Not in it, and not there where nothing is."""
    page = call_page.render(replace(CALL, estimated_usd=Decimal("0.0045")))

    assert '<h2>Cost</h2><div class="value">$0.012300</div>' in page
    assert '<h2>Estimated beside it</h2><div class="value">$0.004500</div>' in page
    assert "Estimated" not in call_page.render(CALL)


async def test_an_unknown_call_is_said_to_be_unknown() -> None:
    """And what was asked for is no way into the page."""
    async with serving(Memory()) as client:
        response = await client.get("/calls/%3Cscript%3E")
        page = await response.text()

    assert response.status == 404
    assert "&lt;script&gt;" in page
    assert "<script>" not in page


@pytest.mark.parametrize(
    ("query", "trouble", "status", "said"),
    [
        ("?user=u-1&label=tenant%3Dacme", None, 200, {"asked": "u-1"}),
        ("", None, 200, {"asked": None}),
        ("?label=tenant", None, 400, {"error": "label is 'tenant'; write it as name=value"}),
        ("?user=u-1", "the disk is full", 503, {"error": "the ledger cannot be read now"}),
    ],
)
async def test_spend_is_answered_in_json(
    query: str, trouble: str | None, status: int, said: dict[str, object]
) -> None:
    """What cannot be answered says why."""
    async with serving(Memory(trouble=trouble)) as client:
        response = await client.get(f"/api/v1/spend{query}", headers={"Accept-Encoding": ""})

        assert response.status == status
        assert await response.json() == said
        assert response.headers["Cache-Control"] == "no-store"
