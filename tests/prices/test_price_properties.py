"""What holds for every price and any usage."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from livekit_exporter.cli import quote as quoting
from livekit_exporter.prices.catalogue import load
from livekit_exporter.prices.entries import Entry
from livekit_exporter.prices.pricing import Quote, price
from livekit_exporter.record import Usage

CATALOGUE = load()
ENTRIES = sorted(CATALOGUE.entries.values(), key=lambda entry: entry.id)
NOW = datetime(2026, 11, 23, 10, tzinfo=UTC).timestamp()

TOKENS = st.integers(min_value=0, max_value=400_000)
SECONDS = st.floats(min_value=0, max_value=36_000)
WORDS = st.one_of(
    st.text(),
    st.sampled_from(["llm", "stt", "tts", "api.openai.com", "Deepgram", "nova-3", "unknown"]),
)
ANY_INT = st.integers(min_value=-(10**40), max_value=10**40)
JUNK = st.builds(
    Usage,
    input_tokens=ANY_INT,
    cached_input_tokens=ANY_INT,
    cache_write_tokens=ANY_INT,
    output_tokens=ANY_INT,
    total_tokens=ANY_INT,
    input_audio_tokens=ANY_INT,
    input_image_tokens=ANY_INT,
    cached_audio_tokens=ANY_INT,
    cached_image_tokens=ANY_INT,
    output_audio_tokens=ANY_INT,
    output_image_tokens=ANY_INT,
    characters=ANY_INT,
    audio_seconds=st.floats(),
    connection_seconds=st.floats(),
)


def quote(entry: Entry, usage: Usage, *, at: float = NOW, streamed: bool = False) -> Quote:
    """Price usage of a model of an entry."""
    patterns = entry.match or ("unknown",)
    return price(
        CATALOGUE,
        stage=entry.stage,
        provider=entry.provider,
        model=patterns[0].replace("<date>", "20260131").replace("*", "voice"),
        label="",
        usage=usage,
        at=at,
        streamed=streamed,
        connection=False,
    )


@st.composite
def consistent(draw: st.DrawFn) -> Usage:
    """Usage as a healthy provider reports it: parts inside of their whole."""
    cached, written, fresh = draw(TOKENS), draw(TOKENS), draw(TOKENS)
    output = draw(TOKENS)
    return Usage(
        input_tokens=cached + written + fresh,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=output,
        total_tokens=cached + written + fresh + output,
        characters=draw(TOKENS),
        audio_seconds=draw(SECONDS),
        connection_seconds=draw(SECONDS),
    )


@given(st.sampled_from(ENTRIES), consistent(), st.booleans())
def test_cost_is_never_negative(entry: Entry, usage: Usage, streamed: bool) -> None:  # noqa: FBT001
    """Whatever is used, nobody is paid for it, and the parts are the whole."""
    made = quote(entry, usage, streamed=streamed)

    assert made.cost >= 0
    assert sum(Fraction(part.cost) for part in made.parts) == Fraction(made.cost)
    assert all(part.quantity > 0 for part in made.parts)


@given(
    st.sampled_from(ENTRIES),
    consistent(),
    st.sampled_from(["fresh", "cached", "written", "output", "characters", "audio", "connection"]),
    st.integers(min_value=1, max_value=100_000),
)
def test_more_usage_never_costs_less(entry: Entry, usage: Usage, what: str, more: int) -> None:
    """Cost grows with every quantity, over tiers, minimums and roundings."""
    # A model of tokens or minutes changes its basis with the first token.
    assume(usage.total_tokens or len(entry.tariffs) == 1)
    grown = {
        "fresh": replace(
            usage, input_tokens=usage.input_tokens + more, total_tokens=usage.total_tokens + more
        ),
        "cached": replace(
            usage,
            input_tokens=usage.input_tokens + more,
            cached_input_tokens=usage.cached_input_tokens + more,
            total_tokens=usage.total_tokens + more,
        ),
        "written": replace(
            usage,
            input_tokens=usage.input_tokens + more,
            cache_write_tokens=usage.cache_write_tokens + more,
            total_tokens=usage.total_tokens + more,
        ),
        "output": replace(
            usage, output_tokens=usage.output_tokens + more, total_tokens=usage.total_tokens + more
        ),
        "characters": replace(usage, characters=usage.characters + more),
        "audio": replace(usage, audio_seconds=usage.audio_seconds + more),
        "connection": replace(usage, connection_seconds=usage.connection_seconds + more),
    }[what]

    assert quote(entry, grown).cost >= quote(entry, usage).cost


@given(st.sampled_from(ENTRIES), JUNK, st.floats(), st.booleans())
def test_junk_never_raises(entry: Entry, usage: Usage, at: float, streamed: bool) -> None:  # noqa: FBT001
    """A wild event is priced, unpriced or nothing, and never below zero."""
    made = quote(entry, usage, at=at, streamed=streamed)

    assert made.status in {"priced", "unpriced", "nothing_to_bill"}
    assert made.cost.is_finite()
    assert made.cost >= 0
    assert (made.price_id is not None) == (made.status == "priced")


QUANTITIES = {
    "llm_metrics": ("prompt_tokens", "prompt_cached_tokens", "cache_creation_tokens",
                    "completion_tokens", "total_tokens"),
    "stt_metrics": ("audio_duration", "input_tokens", "output_tokens", "input_audio_tokens"),
    "tts_metrics": ("characters_count", "audio_duration", "input_tokens", "output_tokens"),
    "realtime_model_metrics": ("input_tokens", "output_tokens", "session_duration"),
}  # fmt: skip
"""Fields of LiveKit's metrics that say what was used."""

NO_QUANTITY = st.one_of(
    st.none(),
    st.text(),
    st.booleans(),
    st.floats(max_value=-1e-9),
    st.floats(min_value=1e13),
    st.integers(max_value=-1),
    st.integers(min_value=10**13),
    st.just(float("nan")),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(), st.integers(), max_size=2),
)


@given(st.data(), st.sampled_from(sorted(QUANTITIES)), st.sampled_from(ENTRIES))
def test_junk_in_an_event_is_never_a_number(data: st.DataObject, kind: str, entry: Entry) -> None:
    """One field that cannot be a quantity, and the event has no price: the others may be as bad."""
    fields: dict[str, object] = dict.fromkeys(QUANTITIES[kind], 1000)
    fields[data.draw(st.sampled_from(QUANTITIES[kind]))] = data.draw(NO_QUANTITY)
    event = {
        "type": kind,
        **fields,
        "metadata": {"model_provider": entry.provider, "model_name": (entry.match or ("",))[0]},
    }

    answer = quoting.quote(json.dumps(event), CATALOGUE)

    assert (answer["status"], answer["cost_usd"], answer["parts"]) == ("unpriced", None, [])


@given(
    st.sampled_from([entry for entry in ENTRIES if entry.stage == "stt"]),
    st.lists(st.integers(min_value=0, max_value=3_600_000), min_size=1, max_size=20),
)
def test_a_stream_costs_the_same_however_it_is_reported(
    entry: Entry, milliseconds: list[int]
) -> None:
    """Streamed recognition reports in pieces; their costs add up to that of the whole."""
    pieces = [Usage(audio_seconds=length / 1000) for length in milliseconds]
    whole = Usage(audio_seconds=sum(milliseconds) / 1000)

    split = sum(Fraction(quote(entry, piece, streamed=True).cost) for piece in pieces)

    # A price per hour is rounded at the fortieth digit, once a piece.
    assert abs(split - Fraction(quote(entry, whole, streamed=True).cost)) < Fraction(1, 10**30)


@given(WORDS, WORDS, WORDS, WORDS, consistent())
def test_any_name_is_looked_up(
    stage: str, provider: str, model: str, label: str, usage: Usage
) -> None:
    """Names come from outside; a strange one has no price and a printable label."""
    made = price(
        CATALOGUE,
        stage=stage,
        provider=provider,
        model=model,
        label=label,
        usage=usage,
        at=NOW,
        streamed=True,
        connection=False,
    )
    canonical = CATALOGUE.provider(provider, label)

    assert made.cost >= 0
    assert canonical
    assert canonical.isprintable()
    assert canonical == CATALOGUE.provider(canonical)


@given(st.sampled_from(ENTRIES), consistent())
def test_price_is_pure(entry: Entry, usage: Usage) -> None:
    """The same event costs the same, however often it is priced."""
    assert quote(entry, usage) == quote(entry, usage)
