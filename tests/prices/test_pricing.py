"""The rules by which events are billed; test_golden.py has the figures of the price pages."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, localcontext

import pytest

from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.pricing import Quote, price
from livekit_exporter.record import Usage

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC).timestamp()


def quote(
    catalogue: Catalogue,
    source: str,
    usage: Usage,
    *,
    at: float = NOW,
    streamed: bool = False,
    connection: bool = False,
) -> Quote:
    """Price usage of `stage provider model`."""
    stage, provider, model = source.split(" ")
    return price(
        catalogue,
        stage=stage,
        provider=provider,
        model=model,
        label="",
        usage=usage,
        at=at,
        streamed=streamed,
        connection=connection,
    )


RULES = [
    pytest.param(
        "llm api.openai.com gpt-4.1-mini",
        Usage(input_tokens=1000, cached_input_tokens=400, output_tokens=200, total_tokens=1200),
        # (600 x 0.40 + 400 x 0.10 + 200 x 1.60) / 1M
        "0.0006",
        id="cached tokens are inside of the prompt",
    ),
    pytest.param(
        "llm api.anthropic.com claude-haiku-5-5",
        Usage(
            input_tokens=10_000,
            cached_input_tokens=6_000,
            cache_write_tokens=3_000,
            output_tokens=500,
        ),
        # (1000 x 0.10 + 6000 x 0.01 + 3000 x 0.125 + 500 x 0.50) / 1M
        "0.000785",
        id="cache writes have a price of their own",
    ),
    pytest.param(
        "llm api.groq.com llama-3.3-70b-versatile",
        Usage(input_tokens=1000, cached_input_tokens=600, output_tokens=100),
        # (1000 x 0.59 + 100 x 0.79) / 1M
        "0.000669",
        id="cached tokens without a listed price cost what input costs",
    ),
    pytest.param(
        "llm Gemini gemini-3.8-flash",
        Usage(input_tokens=100, output_tokens=20, total_tokens=170),
        # (100 x 0.75 + 70 x 3.75) / 1M
        "0.0003375",
        id="thinking tokens are in the total only",
    ),
    pytest.param(
        "llm api.openai.com gpt-4.1-mini",
        Usage(input_tokens=10, cached_input_tokens=30, cache_write_tokens=20, output_tokens=1),
        # (30 x 0.10 + 20 x 0.40 + 1 x 1.60) / 1M; no cache write is listed
        "0.0000126",
        id="a prompt smaller than its cached part is no credit note",
    ),
    pytest.param(
        "realtime api.openai.com gpt-realtime-mini",
        Usage(
            input_tokens=1000, cached_input_tokens=400, input_audio_tokens=700, output_tokens=0
        ),
        # 300 text and 100 audio from the cache: (300 x 0.06 + 100 x 0.30 + 600 x 10) / 1M
        "0.006048",
        id="cached tokens of no stated modality are text first",
    ),
    pytest.param(
        "realtime Gemini gemini-3.8-live",
        Usage(
            input_tokens=1000,
            cached_input_tokens=400,
            input_audio_tokens=800,
            cached_audio_tokens=400,
            output_tokens=100,
            output_audio_tokens=100,
        ),
        # (200 x 0.75 + 800 x 3 + 100 x 12) / 1M
        "0.00375",
        id="cached audio without a listed price costs what audio costs",
    ),
    pytest.param(
        "tts ElevenLabs eleven_turbo_v2_5",
        Usage(characters=1000, audio_seconds=60.0),
        "0.05",
        id="characters only, although seconds are reported too",
    ),
    pytest.param(
        "tts MistralAI voxtral-mini-tts-latest",
        Usage(characters=1000, input_tokens=300, output_tokens=900),
        "0.016",
        id="characters only, although tokens are reported too",
    ),
    pytest.param(
        "stt Soniox stt-rt-v5",
        Usage(audio_seconds=30.0, output_tokens=55),
        # 30 x 0.12 / 3600
        "0.001",
        id="time only, although tokens are reported too",
    ),
    pytest.param(
        "tts api.openai.com gpt-4o-mini-tts",
        Usage(
            input_tokens=40, output_tokens=500, output_audio_tokens=500, characters=180,
            audio_seconds=25.0,
        ),
        # (40 x 0.60 + 500 x 12) / 1M
        "0.006024",
        id="one price holds for every modality where no other is listed",
    ),
    pytest.param(
        "stt api.openai.com gpt-4o-mini-transcribe",
        Usage(input_tokens=100, input_audio_tokens=90, output_tokens=20, audio_seconds=30.0),
        # (100 x 1.25 + 20 x 5) / 1M
        "0.000225",
        id="tokens where there are any",
    ),
    pytest.param(
        "stt api.openai.com gpt-4o-mini-transcribe",
        Usage(audio_seconds=30.0),
        "0.0015",
        id="minutes where there are no tokens",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("source", "usage", "usd"), RULES)
def test_cost_follows_the_rule(shipped: Catalogue, source: str, usage: Usage, usd: str) -> None:
    """Every billing rule gives the figure that a person works out from the price page."""
    made = quote(shipped, source, usage)

    assert made.status == "priced"
    assert made.cost == Decimal(usd)
    assert sum(part.cost for part in made.parts) == made.cost


def test_context_tier_counts_cached_tokens_and_reaches_the_output(shipped: Catalogue) -> None:
    """The tier follows the prompt as a whole, and its output price applies with it."""
    made = quote(
        shipped,
        "llm api.anthropic.com claude-haiku-5-5",
        Usage(input_tokens=100_001, cached_input_tokens=100_000, output_tokens=1000),
    )

    # (1 x 0.50 + 100000 x 0.05 + 1000 x 2.50) / 1M
    assert made.cost == Decimal("0.0075005")


def test_minimum_is_for_requests(shipped: Catalogue) -> None:
    """A report of a stream is billed as what it is, however short."""
    usage = Usage(audio_seconds=3.0)

    made = quote(shipped, "stt api.groq.com whisper-large-v3-turbo", usage, streamed=True)

    assert made.parts[0].quantity == Decimal(3)


def test_minimum_does_not_bill_silence(shipped: Catalogue) -> None:
    """A request without audio has no minimum."""
    made = quote(shipped, "stt api.groq.com whisper-large-v3-turbo", Usage())

    assert made == Quote("nothing_to_bill", why="no_usage")


def test_an_hour_costs_the_hour_price_exactly(shipped: Catalogue) -> None:
    """The price is divided last, so that nothing is lost where it divides evenly."""
    usage = Usage(audio_seconds=3600.0)

    made = quote(shipped, "stt api.groq.com whisper-large-v3-turbo", usage)

    assert made.cost == Decimal("0.04")


def test_tokens_of_session_billed_models_cost_nothing(shipped: Catalogue) -> None:
    """Responses of such a model report tokens; its time comes when the session closes."""
    usage = Usage(input_tokens=500, output_tokens=200, total_tokens=700)

    assert quote(shipped, "realtime api.x.ai grok-voice-latest", usage).status == "nothing_to_bill"


@pytest.mark.parametrize(
    ("source", "usage"),
    [
        pytest.param(
            "tts api.openai.com gpt-4o-mini-tts",
            Usage(characters=180, audio_seconds=12.0),
            id="characters of a token-priced voice",
        ),
        pytest.param(
            "stt api.openai.com whisper-1",
            Usage(input_tokens=40, output_tokens=9),
            id="tokens of a time-priced transcription",
        ),
        pytest.param("tts Cartesia sonic-3", Usage(audio_seconds=3.0), id="time without text"),
        pytest.param(
            "realtime Amazon amazon.nova-2-sonic-v1:0",
            Usage(input_tokens=900, input_image_tokens=800, output_tokens=50),
            id="images where only text and audio are listed",
        ),
        pytest.param("llm api.openai.com gpt-9", Usage(output_tokens=1), id="unknown model"),
        pytest.param("llm acme gpt-4.1", Usage(output_tokens=1), id="unknown provider"),
        pytest.param("tts api.openai.com gpt-4.1", Usage(characters=1), id="another stage"),
    ],
)
def test_usage_without_a_price_is_unpriced(shipped: Catalogue, source: str, usage: Usage) -> None:
    """What cannot be priced says so; it is not free and not guessed."""
    made = quote(shipped, source, usage)

    assert (made.status, made.cost, made.price_id, made.parts) == (
        "unpriced",
        Decimal(0),
        None,
        (),
    )
    assert made.why


@pytest.mark.parametrize(
    "source",
    ["llm api.openai.com gpt-4.1", "llm acme whatever", "stt Deepgram nova-3", "tts Rime coda"],
)
def test_events_without_usage_bill_nothing(shipped: Catalogue, source: str) -> None:
    """A cancelled reply reports zeros: nothing to bill, whether or not there is a price."""
    assert quote(shipped, source, Usage()) == Quote("nothing_to_bill", why="no_usage")


def test_opening_a_connection_bills_nothing(shipped: Catalogue) -> None:
    """Connection events trip no minimum, also where the request has one."""
    made = quote(shipped, "stt api.groq.com whisper-large-v3-turbo", Usage(), connection=True)

    assert made == Quote("nothing_to_bill", why="connection")


def test_time_before_the_first_price_is_unpriced(
    written: Callable[[str], Catalogue],
) -> None:
    """A price with a first day says nothing about the days before."""
    catalogue = written(
        """
schema: 1
currency: USD
providers: {acme: {names: [Acme]}}
entries:
  - id: acme/ear
    stage: stt
    basis: audio_time
    prices: [{valid_from: 2026-05-01, per_minute: 0.6, source: page, checked: 2026-05-02}]
"""
    )
    usage = Usage(audio_seconds=1.0)
    first = datetime(2026, 5, 1, tzinfo=UTC).timestamp()

    assert quote(catalogue, "stt acme ear", usage, at=first).cost == Decimal("0.01")
    assert quote(catalogue, "stt acme ear", usage, at=first - 0.001).status == "unpriced"
    assert quote(catalogue, "stt acme ear", usage, at=float("nan")).status == "unpriced"


def test_free_is_a_price(written: Callable[[str], Catalogue]) -> None:
    """A price of zero that somebody wrote down is priced, unlike one that nobody knows."""
    catalogue = written(
        """
schema: 1
currency: USD
providers: {home: {hosts: [localhost]}}
entries:
  - id: home/llama3.1
    stage: llm
    basis: tokens
    prices: [{per_1m: {input: 0, output: 0}, source: own hardware, checked: 2026-05-02}]
"""
    )

    made = quote(catalogue, "llm localhost:11434 llama3.1", Usage(input_tokens=5))

    assert (made.status, made.cost, made.price_id) == ("priced", Decimal(0), "home/llama3.1")


def test_parts_say_how_the_cost_came_about(shipped: Catalogue) -> None:
    """Each part is a quantity in a unit at a price, so that a bill can be explained."""
    made = quote(
        shipped,
        "llm api.openai.com gpt-4.1",
        Usage(input_tokens=100, cached_input_tokens=40, output_tokens=7),
    )

    assert made.price_id == "openai/gpt-4.1"
    assert [(p.unit, p.quantity, p.unit_price, p.cost) for p in made.parts] == [
        ("input_token", Decimal(60), Decimal("0.000002"), Decimal("0.00012")),
        ("cached_input_token", Decimal(40), Decimal("0.0000005"), Decimal("0.00002")),
        ("output_token", Decimal(7), Decimal("0.000008"), Decimal("0.000056")),
    ]


def test_decimal_settings_of_the_agent_do_not_reach_prices(shipped: Catalogue) -> None:
    """The agent's program may compute with three digits; its costs stay exact."""
    usage = Usage(input_tokens=123_457, output_tokens=1)
    with localcontext() as context:
        context.prec = 3
        made = quote(shipped, "llm api.openai.com gpt-4.1", usage)

    # (123457 x 2 + 1 x 8) / 1M
    assert made.cost == Decimal("0.246922")
