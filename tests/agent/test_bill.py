"""Pricing on the event loop: whatever is used, it says what the ledger will say."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekit_exporter.agent.normalize import Heard, UnreadableError
from livekit_exporter.agent.prices import Prices
from livekit_exporter.agent.spans import bill
from livekit_exporter.agent.spans.bill import NOTHING, Biller
from livekit_exporter.prices import card
from livekit_exporter.prices.catalogue import load
from livekit_exporter.prices.explain import langfuse
from livekit_exporter.prices.pricing import price_record
from livekit_exporter.prices.units import EXACT
from livekit_exporter.record import UsageReported

if TYPE_CHECKING:
    from livekit_exporter.prices.entries import Entry

CATALOGUE = load()
ENTRIES = sorted(CATALOGUE.entries.values(), key=lambda entry: entry.id)
BILLER = Biller(Prices())
NOW = datetime(2026, 11, 23, 2, tzinfo=UTC).timestamp()

COUNTS = st.one_of(
    st.just(0),
    st.integers(min_value=0, max_value=400_000),
    st.sampled_from([1, 200_000, 200_001, 272_000, 272_001, 10**12, 10**12 + 1, -1, True, None]),
    st.floats(),
)
SECONDS = st.one_of(st.floats(), st.floats(min_value=0, max_value=36_000), st.just(0), st.none())
TIMES = st.one_of(
    st.floats(min_value=NOW - 4000, max_value=NOW + 4000),
    st.sampled_from([0.0, 12.5, float("nan"), None, 1_700_000_000]),
)


def metadata(entry: Entry | None, model: str) -> SimpleNamespace:
    """Who served it: a model of an entry, or one that nobody knows."""
    return SimpleNamespace(
        model_provider=entry.provider if entry else "somebody.example", model_name=model
    )


def model_of(entry: Entry) -> str:
    patterns = entry.match or ("unknown",)
    return patterns[0].replace("<date>", "20260131").replace("*", "voice")


def details(draw: Any) -> SimpleNamespace:  # noqa: ANN401 - of hypothesis
    cached = SimpleNamespace(audio_tokens=draw(COUNTS), image_tokens=draw(COUNTS))
    return SimpleNamespace(
        cached_tokens=draw(COUNTS),
        audio_tokens=draw(COUNTS),
        image_tokens=draw(COUNTS),
        cached_tokens_details=draw(st.sampled_from([cached, None])),
    )


@st.composite
def heard(draw: st.DrawFn) -> Heard:
    """Metrics of any kind, of any model of the catalogue, with any quantities."""
    entry = draw(st.sampled_from([*ENTRIES, None]))
    kinds = {
        "llm": ["llm_metrics", "decision_metrics"],
        "tts": ["tts_metrics"],
        "stt": ["stt_metrics"],
        "realtime": ["realtime_model_metrics"],
    }
    stages = [*kinds] if entry is None or entry.stage not in kinds else [entry.stage]
    kind = draw(st.sampled_from([kind for stage in stages for kind in kinds[stage]]))
    model = model_of(entry) if entry else "nobodys"
    tidy = draw(st.booleans())
    counts = st.integers(min_value=0, max_value=400_000) if tidy else COUNTS
    names = (
        *("prompt_tokens", "prompt_cached_tokens", "cache_creation_tokens", "completion_tokens"),
        *("total_tokens", "input_tokens", "output_tokens", "input_audio_tokens"),
        "characters_count",
    )
    fields: dict[str, object] = {name: draw(counts) for name in names}
    fields["audio_duration"] = draw(st.floats(min_value=0, max_value=9999) if tidy else SECONDS)
    fields["duration"] = draw(SECONDS)
    fields["session_duration"] = draw(st.sampled_from([0.0, 0, 12.5]))
    fields["streamed"] = draw(st.booleans())
    fields["cancelled"] = draw(st.booleans())
    fields["timestamp"] = draw(TIMES)
    fields["request_id"] = draw(st.sampled_from(["", "r-1"]))
    fields["acquire_time"] = draw(st.sampled_from([0.0, 0.2]))
    fields["label"] = ""
    if kind == "realtime_model_metrics":
        fields["input_token_details"] = details(draw)
        fields["output_token_details"] = SimpleNamespace(audio_tokens=draw(counts), image_tokens=0)
    for name in draw(st.sets(st.sampled_from(names), max_size=2)):
        del fields[name]
    metrics = SimpleNamespace(type=kind, metadata=metadata(entry, model), **fields)
    return Heard(metrics, "s", NOW)


@given(heard())
@settings(max_examples=500)
def test_every_cost_is_the_ledgers(metrics: Heard) -> None:
    """To the last digit, for every entry: tiers, dates, hours, minimums, junk and nothing."""
    try:
        stage, model, units, priced, _ = BILLER.of(metrics)
    except UnreadableError:
        with pytest.raises(UnreadableError):
            metrics.records()
        return

    (record,) = metrics.records()
    assert isinstance(record, UsageReported)
    quote = Prices().quote(record)
    if quote.status == "nothing_to_bill":
        assert (stage, model, units, priced) == NOTHING[:4]
        return
    assert (stage, model, priced) == (record.stage, record.model, quote.status == "priced")
    assert units == card.atto(quote.cost)
    if quote.source is None or quote.source.basis in ("tokens", "characters"):
        assert EXACT.scaleb(quote.cost, 18) == units


@pytest.mark.parametrize("seconds", [-1.0, 1e300, float("inf"), float("nan")])
def test_a_length_that_is_none_is_unreadable_without_a_price_too(seconds: float) -> None:
    """What the ledger does not have is on no span."""
    metrics = SimpleNamespace(
        type="stt_metrics", metadata=metadata(None, "nobodys"), audio_duration=seconds
    )
    with pytest.raises(UnreadableError):
        BILLER.of(Heard(metrics, "s", NOW))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_a_card_multiplies_what_its_entry_says(entry: Entry) -> None:
    """Every entry has one, but those with hours, session time or a whole request's length."""
    made = card.of(entry, NOW)

    bases = {tariff.basis for tariff in entry.tariffs}
    block = entry.tariffs[0].block_at(NOW) if entry.tariffs else None
    if bases & {"request_time", "call_time", "session_time"} or (block and block.windows):
        assert made is None
    else:
        assert made is not None
        assert made.since <= NOW < made.until


def test_the_plain_way_is_taken() -> None:
    """Otherwise nothing of the above would compare anything."""
    metrics = SimpleNamespace(
        type="llm_metrics",
        metadata=SimpleNamespace(model_provider="api.openai.com", model_name="gpt-4.1-mini"),
        label="",
        timestamp=time.time(),
        prompt_tokens=1000,
        prompt_cached_tokens=400,
        completion_tokens=100,
        total_tokens=1100,
    )
    heard = Heard(metrics, "s", time.time())

    said = BILLER.of(heard)

    # That no record was made is the point.
    assert heard._records is None
    (record,) = heard.records()
    assert isinstance(record, UsageReported)
    assert said[2] == EXACT.scaleb(price_record(CATALOGUE, record).cost, 18) > 0
    assert said[4] == (
        '"input":600,"output":100,"input_cached_tokens":400,"input_cache_creation":0'
    )


def test_both_count_in_the_same_unit() -> None:
    """One is not loaded where the other is used."""
    assert bill.ATTO == card.ATTO
    assert bill.CHARACTERS == langfuse.CHARACTERS
