"""A price in words says what the pricing does, whatever the entry."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from livekit_exporter.prices.catalogue import Catalogue, load
from livekit_exporter.prices.entries import Entry
from livekit_exporter.prices.explain import words as explain

AT = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
NIGHT = datetime(2026, 11, 23, 23, tzinfo=UTC).timestamp()
ENTRIES = sorted(load().entries.values(), key=lambda entry: entry.id)

Written = Callable[[str], Catalogue]


@pytest.fixture
def entry(written: Written) -> Callable[..., Entry]:
    """An entry from its stage and the rest of its YAML."""

    def make(stage: str, rest: str, provider: str = "") -> Entry:
        catalogue = written(
            f"schema: 1\ncurrency: USD\nproviders: {{acme: {{{provider}}}}}\n"
            f"entries:\n  - {{id: acme/it, stage: {stage}, {rest}}}\n"
        )
        return catalogue.entries["acme/it"]

    return make


def block(price: str) -> str:
    """One block of prices."""
    return f"prices: [{{{price}, source: acme.test, checked: 2026-10-21}}]"


def shown(entry: Entry, at: float = AT) -> list[str]:
    """Lines in force, with their unit."""
    return [
        f"{line} per {line.per}"
        for tariff in entry.tariffs
        if (found := tariff.block_at(at)) is not None
        for line in explain.lines(found.charges_at(at), tariff.basis)
    ]


@pytest.mark.parametrize(
    ("basis", "price", "line"),
    [
        ("audio_time", "per_second: 0.0001", "0.0001 per second"),
        ("audio_time", "per_minute: 0.0048", "0.0048 per minute"),
        ("session_time", "per_hour: 0.390", "0.390 per hour"),
        ("request_time", "credits_per_second: 3", "0.009 per minute"),
        ("characters", "per_1m_chars: 4.20", "4.2 per 1M characters"),
        ("characters", "per_1k_chars: 0.05", "50 per 1M characters"),
        ("characters", "credits_per_char: 1.5", "75 per 1M characters"),
    ],
)
def test_rate_is_shown_in_the_unit_of_a_price_page(
    entry: Callable[..., Entry], basis: str, price: str, line: str
) -> None:
    """Never per character, and per second only where the vendor says so."""
    plan = "usd_per_1m_credits: 50, source: plan, checked: 2026-10-21"

    assert shown(entry("custom", f"basis: {basis}, {block(price)}", plan)) == [line]


def test_token_prices_are_per_million_and_by_modality_where_they_differ(
    entry: Callable[..., Entry],
) -> None:
    """What costs the same is said once; what is not listed is not made up."""
    prices = (
        "per_1m: {input: 4, cached_input: 0.40, output: 16},"
        " audio_per_1m: {input: 32, output: 64}, image_per_1m: {input: 5},"
        " above_input_tokens: [{over: 1000, per_1m: {input: 8, cached_input: 0.80, output: 32},"
        " audio_per_1m: {input: 64, output: 128}, image_per_1m: {input: 10}}]"
    )

    assert shown(entry("realtime", f"basis: tokens, {block(prices)}")) == [
        "text input 4, cached 0.40, output 16 per 1M tokens",
        "audio input 32, output 64 per 1M tokens",
        "image input 5 per 1M tokens",
        "above 1,000: text input 8, cached 0.80, output 32 per 1M tokens",
        "above 1,000: audio input 64, output 128 per 1M tokens",
        "above 1,000: image input 10 per 1M tokens",
    ]
    assert shown(entry("llm", f"basis: tokens, {block('per_1m: {input: 2, output: 8.50}')}")) == [
        "input 2, output 8.50 per 1M tokens"
    ]


def test_rule_of_tokens_is_told(entry: Callable[..., Entry]) -> None:
    """Cache, thinking, tiers and modalities, each with its price."""
    prices = (
        "per_1m: {input: 2.50, cached_input: 0.10, cache_write: 3, output: 15},"
        " above_input_tokens: [{over: 272000, per_1m:"
        " {input: 5, cached_input: 0.2, cache_write: 6, output: 22}}]"
    )

    assert explain.rule(entry("llm", f"basis: tokens, {block(prices)}"), AT) == [
        "Cached tokens are inside of the prompt, not beside it, and cost 0.10 per 1M.",
        "Tokens written to the cache are inside of the prompt and cost 3 per 1M.",
        "Output includes thinking tokens.",
        (
            "A request above 272,000 input tokens, cached ones included, is priced at the"
            " higher tier as a whole."
        ),
        "Text, audio and images cost the same.",
        "A request that reports usage, but no tokens, has no price.",
    ]


def test_rule_tells_modalities_apart_and_what_has_no_price(entry: Callable[..., Entry]) -> None:
    """A cached price of text alone is not said to be that of audio."""
    prices = "per_1m: {input: 4, cached_input: 0.40, output: 16}, audio_per_1m: {input: 32}"

    assert explain.rule(entry("realtime", f"basis: tokens, {block(prices)}"), AT) == [
        (
            "Cached tokens are inside of the prompt, not beside it, and cost 0.40 (text),"
            " 32 (audio) per 1M."
        ),
        "Tokens written to the cache cost what other input costs.",
        "Output includes thinking tokens.",
        "Text, audio and images have prices of their own.",
        "A request with audio output or image tokens has no price.",
        "A request that reports usage, but no tokens, has no price.",
    ]


def test_modality_with_a_cached_price_alone_is_explained(entry: Callable[..., Entry]) -> None:
    """What is listed without an input price beside it is still a price."""
    prices = "per_1m: {input: 4, output: 16}, audio_per_1m: {cached_input: 0.30}"
    made = entry("realtime", f"basis: tokens, {block(prices)}")

    assert shown(made)[1] == "audio cached 0.30 per 1M tokens"
    assert explain.rule(made, AT)[0].endswith("cost 4 (text), 0.30 (audio) per 1M.")
    assert explain.example(made, AT).quote.status == "priced"


@pytest.mark.parametrize(
    ("stage", "rest", "said"),
    [
        (
            "stt",
            f"basis: audio_time, min_seconds_per_request: 10, {block('per_hour: 0.04')}",
            "A request that is no stream is billed for at least 10 seconds.",
        ),
        (
            "platform",
            f"basis: call_time, round_up_seconds: 60, {block('per_minute: 0.01')}",
            "A leg is rounded up once to whole steps of 60 seconds.",
        ),
        (
            "tts",
            f"basis: characters, {block('per_1m_chars: 4')}",
            "Characters are Unicode code points, blanks and punctuation included.",
        ),
        (
            "realtime",
            f"basis: session_time, {block('per_minute: 0.05')}",
            "A report of tokens alone costs nothing.",
        ),
        (
            "stt",
            (
                f"basis: tokens, {block('per_1m: {input: 1, output: 2}')},"
                f" fallback: {{basis: audio_time, {block('per_minute: 0.003')}}}"
            ),
            "A request that reports no tokens is billed by seconds of audio.",
        ),
        (
            "llm",
            "free: our own GPU",
            "Nobody bills it (our own GPU): its usage costs nothing, and is not unpriced.",
        ),
        (
            "llm",
            (
                "basis: tokens, prices: [{valid_from: 2026-01-01, per_1m: {input: 1, output: 2},"
                " source: a, checked: 2026-10-21}]"
            ),
            "What happened before 2026-01-01 has no price.",
        ),
        (
            "llm",
            (
                "basis: tokens, prices: [{per_1m: {input: 1, output: 2}, source: a,"
                " checked: 2026-10-21}, {valid_from: 2027-01-01, per_1m: {input: 2, output: 4},"
                " source: a, checked: 2026-10-21}]"
            ),
            "Other prices hold from 2027-01-01 on (UTC).",
        ),
    ],
)
def test_rule_says_what_is_special(
    entry: Callable[..., Entry], stage: str, rest: str, said: str
) -> None:
    """Minimums, rounding, fallback, freedom and dates are told where there are any."""
    assert said in explain.rule(entry(stage, rest), AT)


BY_HOUR = (
    "basis: tokens, prices: [{per_1m: {input: 2, output: 4}, source: a, checked: 2026-10-21,"
    " time_of_day: [{from: '22:00', until: '06:00', per_1m: {input: 1, output: 2}}]}]"
)


def test_hours_of_the_day_are_told_and_used(entry: Callable[..., Entry]) -> None:
    """Lines and example are of the hour that is asked for."""
    made = entry("llm", BY_HOUR)

    assert "Some hours of the day (UTC) have prices of their own." in explain.rule(made, AT)
    assert shown(made, AT) == ["input 2, output 4 per 1M tokens"]
    assert shown(made, NIGHT) == ["input 1, output 2 per 1M tokens"]
    assert explain.total(explain.example(made, AT).quote) == "0.0028 USD"
    assert explain.total(explain.example(made, NIGHT).quote) == "0.0014 USD"


def test_blocks_are_past_in_force_or_coming(entry: Callable[..., Entry]) -> None:
    """Each by its own first instant, UTC."""
    made = entry(
        "tts",
        "basis: characters, prices: ["
        + ", ".join(
            f"{{{start}per_1m_chars: 1, source: a, checked: 2026-10-21}}"
            for start in ("", "valid_from: 2026-11-23, ", "valid_from: 2027-01-01, ")
        )
        + "]",
    )
    (tariff,) = made.tariffs

    assert [explain.when(found, tariff, AT) for found in reversed(tariff.blocks)] == [
        "past",
        "in force",
        "coming",
    ]


def test_example_is_worked_out_part_by_part(entry: Callable[..., Entry]) -> None:
    """Quantity times price of the page is the cost, and the parts add up."""
    prices = "per_1m: {input: 2, cached_input: 0.50, output: 8}"
    example = explain.example(entry("llm", f"basis: tokens, {block(prices)}"), AT)

    assert example.said == "1,000 prompt tokens (400 cached), and 200 output tokens"
    assert explain.calculation(example.quote) == [
        "600 input tokens x 2 per 1M = 0.0012",
        "400 cached input tokens x 0.50 per 1M = 0.0002",
        "200 output tokens x 8 per 1M = 0.0016",
    ]
    assert explain.total(example.quote) == "0.003 USD"


def test_example_shows_minimum_and_rounding(entry: Callable[..., Entry]) -> None:
    """What is billed is not what was used."""
    short = entry("stt", f"basis: audio_time, min_seconds_per_request: 10, {block('per_hour: 36')}")
    leg = entry("platform", f"basis: call_time, round_up_seconds: 60, {block('per_minute: 0.01')}")

    assert explain.calculation(explain.example(short, AT).quote) == [
        "10 audio seconds x 36 per hour = 0.1"
    ]
    assert explain.calculation(explain.example(leg, AT).quote) == [
        "120 connection seconds x 0.01 per minute = 0.02"
    ]


def test_cost_that_does_not_divide_is_cut_and_says_so() -> None:
    """Forty digits help nobody."""
    assert explain.amount(Decimal("0.0003083333333333333333333333")) == "0.000308333333…"
    assert explain.amount(Decimal("2.50")) == "2.50"
    assert explain.amount(Decimal("0.000000000001")) == "0.000000000001"


def test_example_of_what_has_no_price_yet_says_so(entry: Callable[..., Entry]) -> None:
    """A price of tomorrow is none for today."""
    made = entry(
        "llm",
        "basis: tokens, prices: [{valid_from: 2027-01-01, per_1m: {input: 1, output: 2},"
        " source: a, checked: 2026-10-21}]",
    )

    assert explain.total(explain.example(made, AT).quote) == (
        "no price: the entry's first price came later"
    )
    assert explain.rule(made, AT)


@pytest.mark.parametrize("made", ENTRIES, ids=lambda made: made.id)
def test_every_shipped_entry_is_explained(made: Entry) -> None:
    """Its example is priced by itself, has lines, and every sentence is one."""
    for at in (AT, NIGHT, datetime(2027, 6, 1, tzinfo=UTC).timestamp()):
        quote = explain.example(made, at).quote

        assert (quote.status, quote.price_id) == ("priced", made.id)
        assert len(explain.calculation(quote)) == len(quote.parts)
        assert made.free or shown(made, at)
        for sentence in explain.rule(made, at):
            assert sentence[0].isupper()
            assert sentence.endswith(".")


def test_names_cannot_steer_a_terminal() -> None:
    """Whatever a plugin calls its model, it stays one line of text."""
    assert explain.printable("a\x1b[31mb\nc\u202ed\x9b") == "a\\x1b[31mb\\nc\\u202ed\\x9b"
    assert explain.printable("Ärger [red] 模型") == "Ärger [red] 模型"
