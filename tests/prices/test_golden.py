"""Costs by vendor, worked out by hand from the units of the vendors' pages."""

from datetime import UTC, datetime
from fractions import Fraction

import pytest

from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.pricing import price
from livekit_exporter.record import Usage

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
MILLION = 1_000_000
WITHIN = Fraction(1, 10**9)


def usd(text: str) -> Fraction:
    """A price as the page prints it."""
    return Fraction(text)


def tier(over: int, at: str, above: str, model: str) -> list[tuple[str, Usage, Fraction]]:
    """Input prices at a threshold and one token above it."""
    return [
        (model, Usage(input_tokens=over), over * usd(at) / MILLION),
        (model, Usage(input_tokens=over + 1), (over + 1) * usd(above) / MILLION),
    ]


def seconds(model: str, price_: str, per: int) -> list[tuple[str, Usage, Fraction]]:
    """Audio of 12.5 seconds and of an hour, which nothing rounds."""
    return [
        (model, Usage(audio_seconds=12.5), Fraction("12.5") * usd(price_) / per),
        (model, Usage(audio_seconds=3600.0), 3600 * usd(price_) / per),
    ]


def characters(model: str, per_million: str) -> list[tuple[str, Usage, Fraction]]:
    """One character, and a sentence of 137."""
    return [
        (model, Usage(characters=n, audio_seconds=9.0), n * usd(per_million) / MILLION)
        for n in (1, 137)
    ]


def legs(model: str, per_minute: str) -> list[tuple[str, Usage, Fraction]]:
    """A call leg on both sides of its minute."""
    return [
        (model, Usage(connection_seconds=s), minutes * usd(per_minute))
        for s, minutes in ((59.9, 1), (60.0, 1), (60.1, 2))
    ]


SPOKEN = Usage(
    input_tokens=1000, cached_input_tokens=200, input_audio_tokens=800, cached_audio_tokens=200,
    output_tokens=300, output_audio_tokens=250,
)  # fmt: skip
CACHED = Usage(
    input_tokens=9000, cached_input_tokens=5000, cache_write_tokens=3000, output_tokens=100
)

CASES = [
    *tier(272_000, "2.50", "5", "llm api.openai.com gpt-5.4"),
    *tier(100_000, "0.10", "0.50", "llm api.anthropic.com claude-haiku-5-5"),
    *tier(200_000, "1.25", "2.50", "llm Gemini gemini-2.5-pro"),
    *tier(199_999, "1.25", "2.50", "llm api.x.ai grok-4.3"),
    *tier(100_000, "0.10", "0.50", "llm AWS_Bedrock global.anthropic.claude-haiku-5-5"),
    (
        "llm api.anthropic.com claude-sonnet-5",
        CACHED,
        (1000 * usd("2") + 5000 * usd("0.2") + 3000 * usd("2.5") + 100 * usd("10")) / MILLION,
    ),
    (
        "llm AWS_Bedrock global.anthropic.claude-haiku-4-5-20251001-v1:0",
        CACHED,
        (1000 * usd("1") + 5000 * usd("0.1") + 3000 * usd("1.25") + 100 * usd("5")) / MILLION,
    ),
    (
        "llm AWS_Bedrock us.amazon.nova-2-lite-v1:0",
        Usage(input_tokens=900, cached_input_tokens=400, output_tokens=80),
        (500 * usd("0.33") + 400 * usd("0.0825") + 80 * usd("2.75")) / MILLION,
    ),
    (
        "llm api.groq.com openai/gpt-oss-120b",
        Usage(input_tokens=900, cached_input_tokens=400, output_tokens=80),
        (500 * usd("0.15") + 400 * usd("0.075") + 80 * usd("0.60")) / MILLION,
    ),
    *[
        (
            "stt api.groq.com whisper-large-v3",
            Usage(audio_seconds=heard),
            Fraction(billed) * usd("0.111") / 3600,
        )
        for heard, billed in ((9.9, "10"), (10.0, "10"), (10.1, "10.1"))
    ],
    *seconds("stt Deepgram nova-3", "0.0048", 60),
    *seconds("stt Deepgram flux-general-en", "0.0065", 60),
    *characters("tts Deepgram aura-2-andromeda-en", "30"),
    *characters("tts Deepgram aura-asteria-en", "15"),
    *seconds("stt AssemblyAI universal-streaming-english", "0.15", 3600),
    *seconds("stt AssemblyAI universal-3-6-pro", "0.45", 3600),
    *seconds("stt Cartesia ink-2", "0.000150", 1),
    *characters("tts Cartesia sonic-3", "50"),
    *characters("tts ElevenLabs eleven_turbo_v2_5", "50"),
    *characters("tts ElevenLabs eleven_multilingual_v2", "100"),
    *seconds("stt ElevenLabs scribe_v2_realtime", "0.39", 3600),
    *seconds("stt Azure_STT unknown", "1", 3600),
    *seconds("stt r.openai.azure.com whisper-1", "0.006", 60),
    *seconds("stt Amazon_Transcribe unknown", "0.010", 60),
    *characters("tts Amazon_Polly generative", "30"),
    *characters("tts Google_Cloud_Platform Chirp3", "30"),
    *seconds("stt livekit deepgram/nova-3", "0.0048", 60),
    *characters("tts livekit cartesia/sonic-3", "50"),
    (
        "realtime api.openai.com gpt-realtime-2.1",
        SPOKEN,
        (200 * usd("4") + 600 * usd("32") + 200 * usd("0.40") + 50 * usd("24") + 250 * usd("64"))
        / MILLION,
    ),
    (
        "realtime Gemini gemini-3.8-live",
        SPOKEN,
        (200 * usd("0.75") + 800 * usd("3") + 50 * usd("4.50") + 250 * usd("12")) / MILLION,
    ),
    (
        "realtime api.x.ai grok-voice-latest",
        Usage(connection_seconds=90.5),
        Fraction("90.5") * usd("0.08") / 60,
    ),
    *legs("platform twilio us-inbound-local", "0.0085"),
    *legs("platform livekit agent-session", "0.01"),
    *legs("platform livekit third-party-sip", "0.004"),
]

DATES = [
    ("llm Gemini gemini-3.8-flash", datetime(2027, 1, 1, tzinfo=UTC), "0.75", "1.50"),
    ("llm Gemini gemini-4-argon", datetime(2026, 12, 1, tzinfo=UTC), "2", "4"),
    ("llm api.openai.com gpt-5.6-sol", datetime(2026, 8, 21, tzinfo=UTC), "5", "4"),
    ("realtime api.x.ai grok-voice-latest", datetime(2026, 8, 5, tzinfo=UTC), "0.05", "0.08"),
]


def cost(catalogue: Catalogue, source: str, usage: Usage, at: float) -> Fraction:
    """Price usage of `stage provider model`; `_` stands for a blank in the provider."""
    stage, provider, model = source.split(" ")
    made = price(
        catalogue, stage=stage, provider=provider.replace("_", " "), model=model, label="",
        usage=usage, at=at, streamed=False, connection=False,
    )  # fmt: skip
    assert made.status == "priced"
    return Fraction(made.cost)


@pytest.mark.parametrize(("source", "usage", "exact"), CASES)
def test_cost_is_the_figure_of_the_page(
    shipped: Catalogue, source: str, usage: Usage, exact: Fraction
) -> None:
    """Units of the page times usage, to a billionth of a dollar."""
    assert abs(cost(shipped, source, usage, NOW.timestamp()) - exact) < WITHIN


@pytest.mark.parametrize(("source", "change", "before", "after"), DATES)
def test_price_changes_on_its_day(
    shipped: Catalogue, source: str, change: datetime, before: str, after: str
) -> None:
    """The last second before a change is billed at the old price, the first after at the new."""
    timed = source.startswith("realtime")
    usage = Usage(connection_seconds=60.0) if timed else Usage(input_tokens=100_000)
    share = Fraction(1) if timed else Fraction(1, 10)

    for at, listed in ((change.timestamp() - 1, before), (change.timestamp(), after)):
        assert abs(cost(shipped, source, usage, at) - usd(listed) * share) < WITHIN
