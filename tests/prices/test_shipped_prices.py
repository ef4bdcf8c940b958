"""The prices that ship: where they are from, and that none is off by a unit."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from livekit_exporter.prices.catalogue import Catalogue, load
from livekit_exporter.prices.entries import Entry
from livekit_exporter.prices.files.compile import SOURCES
from livekit_exporter.prices.pricing import price
from livekit_exporter.record import Usage

ENTRIES = sorted(load().entries.values(), key=lambda entry: entry.id)

# USD per unit that no vendor has left so far; per minute as sold per thousand is outside.
BANDS = {
    "token": (Decimal("0.000000002"), Decimal("0.0002")),
    "character": (Decimal("0.000001"), Decimal("0.0002")),
    "audio_second": (Decimal("0.000005"), Decimal("0.0005")),
    "connection_second": (Decimal("0.000005"), Decimal("0.002")),
}
# What these vendors give away beside what they bill; embeddings have no output.
FREE_OUTPUT = {"openai/gpt-6-luna-decisions"}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_price_is_of_the_right_size(shipped: Catalogue, entry: Entry) -> None:
    """The usual mistakes, a factor of 60 or 1000, leave the band of known prices."""
    for at in (datetime(2026, 11, 23, tzinfo=UTC), datetime(2027, 6, 1, tzinfo=UTC)):
        prices = shipped.prices_of(entry, at.timestamp())

        assert prices is not None
        for unit, usd in prices.rates.items():
            low, high = BANDS["token" if unit.endswith("_token") else unit]
            free = unit.startswith("output_") and (
                entry.id in FREE_OUTPUT or entry.stage == "custom"
            )
            assert (usd == 0) if free else (low <= usd <= high), unit


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_price_says_where_it_is_from(entry: Entry) -> None:
    """Every block names a source and a day that has been."""
    for tariff in entry.tariffs:
        for block in tariff.blocks:
            assert block.source
            assert date(2026, 1, 1) <= block.checked <= datetime.now(UTC).date()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_price_can_be_reached(shipped: Catalogue, entry: Entry) -> None:
    """Every entry is found by one of its models, or is its provider's default."""
    models = [
        pattern.replace("<date>", "2026-01-31").replace("*", "anything") for pattern in entry.match
    ] or ["unknown"]

    for model in models:
        assert shipped.find(entry.stage, entry.provider, model) is entry


@pytest.mark.parametrize(
    ("provider", "model", "usd"),
    [
        ("openai", "text-embedding-3-small", "0.000024"),
        ("google", "gemini-embedding-001", "0.00018"),
        ("mistral", "mistral-embed", "0.00012"),
        ("cohere", "embed-v4.0", "0.000144"),
        ("voyageai", "voyage-4", "0.000072"),
    ],
)
def test_an_embedding_has_a_price(shipped: Catalogue, provider: str, model: str, usd: str) -> None:
    """`call.record` of an embedding costs something without a price file."""
    made = price(
        shipped,
        stage="custom",
        provider=provider,
        model=model,
        label="",
        usage=Usage(input_tokens=1200),
        at=datetime(2026, 12, 1, tzinfo=UTC).timestamp(),
        streamed=False,
        connection=False,
    )

    assert (made.status, made.cost) == ("priced", Decimal(usd))


def test_files_are_named_after_their_provider() -> None:
    """A price is corrected where one would look for it."""
    providers = {entry.provider for entry in ENTRIES}

    assert {path.stem for path in SOURCES.glob("*.yaml")} == {*providers, "unpriced"}
    for provider in providers:
        text = (SOURCES / f"{provider}.yaml").read_text(encoding="utf-8")
        assert f"- id: {provider}/" in text
