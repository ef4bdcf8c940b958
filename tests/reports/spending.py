"""Usage rows and questions, for tests of what is computed from them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from livekit_exporter import files
from livekit_exporter.ledger.queries import Snapshot, snapshot
from livekit_exporter.ledger.rows import UsageRow
from livekit_exporter.prices import catalogue, pricing
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.files.compile import compiled, parse, shipped
from livekit_exporter.prices.files.overlay import merged
from livekit_exporter.record import Source, Stage, Usage
from livekit_exporter.reports.period import Period
from livekit_exporter.reports.question import Question
from livekit_exporter.reports.reading import Group
from livekit_exporter.reports.report import Report, Value
from tests.records import AT

DAY: Final = 86400.0
PINNED: Final = """
schema: 1
currency: USD
entries:
  - id: openai/gpt-4.1-mini
    prices:
      - {per_1m: {input: 0.40, cached_input: 0.10, output: 1.60}, source: a, checked: 2026-11-20}
  - id: openai/gpt-5.4
    prices:
      - per_1m: {input: 2.50, cached_input: 0.25, output: 15}
        above_input_tokens:
          - {over: 272000, per_1m: {input: 5, cached_input: 0.50, output: 22.50}}
        source: a
        checked: 2026-11-20
  - id: openai/gpt-4o-mini-tts
    basis: tokens
    prices: [{per_1m: {input: 0.60, output: 12}, source: a, checked: 2026-11-20}]
  - id: openai/whisper-1
    prices: [{per_minute: 0.006, source: a, checked: 2026-11-20}]
  - id: groq/llama-3.3-70b-versatile
    prices: [{per_1m: {input: 0.59, output: 0.79}, source: a, checked: 2026-11-20}]
  - id: groq/whisper-large-v3
    min_seconds_per_request: 10
    prices: [{per_hour: 0.111, source: a, checked: 2026-11-20}]
  - id: groq/whisper-large-v3-turbo
    min_seconds_per_request: 10
    prices: [{per_hour: 0.04, source: a, checked: 2026-11-20}]
  - id: google/gemini-3.8-flash
    prices:
      - {per_1m: {input: 0.75, cached_input: 0.075, output: 3.75}, source: a, checked: 2026-11-20}
      - valid_from: 2027-01-01
        per_1m: {input: 1.50, cached_input: 0.15, output: 7.50}
        source: a
        checked: 2026-11-20
  - id: cartesia/sonic
    prices: [{per_1m_chars: 50, source: a, checked: 2026-11-20}]
  - id: deepgram/nova-3
    prices: [{per_minute: 0.0048, source: a, checked: 2026-11-20}]
  - id: twilio/us-inbound-local
    round_up_seconds: 60
    prices: [{per_minute: 0.0085, source: a, checked: 2026-11-20}]
"""
"""What these tests compute with, whatever vendors ask for it by now."""

HOSTS: Final = {
    "openai": "api.openai.com",
    "groq": "api.groq.com",
    "cartesia": "Cartesia",
    "deepgram": "Deepgram",
    "google": "Gemini",
}


_PINNED: Final = merged(shipped(), parse(PINNED, "pinned.yaml"))
PRICES: Final = catalogue.from_compiled(compiled(_PINNED))


def overlaid(text: str) -> Catalogue:
    """These prices with those of a file over them."""
    return catalogue.from_compiled(compiled(merged(_PINNED, parse(text, "mine.yaml"))))


def used(  # noqa: PLR0913 - a row has this many columns
    stage: Stage = "llm",
    provider: str = "openai",
    model: str = "gpt-4.1-mini",
    *,
    at: float = AT,
    agent: str = "support",
    user: str | None = None,
    source: Source = "reported",
    streamed: bool = False,
    requests: int = 1,
    waste_reason: str | None = None,
    wasted_usd: float = 0.0,
    prices: Catalogue | None = None,
    **quantities: float,
) -> UsageRow:
    """A usage row with the cost that the sidecar would give it."""
    usage = Usage(**quantities)  # type: ignore[arg-type]
    reported = HOSTS.get(provider, provider)
    quote = pricing.price(
        prices or PRICES,
        stage=stage,
        provider=reported,
        model=model,
        label="",
        usage=usage,
        at=at,
        streamed=streamed,
        connection=False,
    )
    return UsageRow(
        session="s1",
        at=at,
        agent=agent,
        user=user,
        labels="{}",
        persona=None,
        stage=stage,
        provider=provider,
        model=model,
        reported_provider=reported,
        label="",
        requests=requests,
        streamed=streamed,
        connection=False,
        request_seconds=None,
        source=source,
        status=quote.status,
        cost_usd=None if quote.status == "unpriced" else float(quote.cost),
        waste_reason=waste_reason,
        wasted_usd=wasted_usd,
        usage=usage,
    )


def question(*by: str, days: float = 30.0, until: float = AT + DAY, zone: str = "UTC") -> Question:
    """A question about the time around `records.AT`."""
    return Question(period=Period(until - days * DAY, until, ZoneInfo(zone)), by=by)


def by_model(rows: Iterable[UsageRow]) -> Iterator[tuple[Group, UsageRow]]:
    """Rows with the group that they are in when the question is by model."""
    for row in rows:
        yield (row.stage, row.provider, row.model), row


def lines(report: Report) -> list[dict[str, Value]]:
    """Rows of a report by the names of its columns."""
    names = [column.name for column in report.columns]
    return [dict(zip(names, row, strict=True)) for row in report.rows]


def totals(report: Report) -> dict[str, Value]:
    """The total of a report by the names of its columns."""
    assert report.totals is not None
    names = [column.name for column in report.columns]
    return dict(zip(names, report.totals, strict=True))


@contextmanager
def opened(data_dir: Path) -> Iterator[Snapshot]:
    """The ledger of a data directory, to read."""
    with snapshot(files.ledger(data_dir)) as ledger:
        yield ledger
