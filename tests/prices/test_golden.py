"""Costs by vendor, worked out from the units of the vendors' price pages.

The tables read like the pages: USD per million tokens or characters, per minute, per hour,
`-` where a page has no price.  A boundary of a price, be it a number of tokens, a second, a
day or an hour, has a case on each of its sides.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction

import pytest

from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.entries import Entry
from livekit_exporter.prices.pricing import price
from livekit_exporter.record import Usage

TODAY = "2026-11-23"
MILLION = 1_000_000

# Decimals are rounded at the fortieth digit where a price per hour does not divide evenly.
EXACT = Fraction(1, 10**30)

# provider | model | input, cached input, cache write, output
TOKENS = """
api.openai.com | gpt-4.1 | 2 0.50 - 8
api.openai.com | gpt-4.1-mini | 0.40 0.10 - 1.60
api.openai.com | gpt-4o-2024-11-20 | 2.50 1.25 - 10
api.openai.com | gpt-4o-2024-05-13 | 5 - - 15
api.openai.com | gpt-5-mini | 0.25 0.025 - 2
api.openai.com | gpt-6-luna-decisions | 0.10 - - 0
api.anthropic.com | claude-sonnet-5-5 | 2 0.10 2.50 10
api.anthropic.com | claude-sonnet-4-6 | 3 0.30 3.75 15
api.anthropic.com | claude-haiku-4-5-20251001 | 1 0.10 1.25 5
api.anthropic.com | claude-opus-5 | 5 0.50 6.25 25
Gemini | gemini-3.8-flash | 0.75 0.075 - 3.75
Vertex AI | gemini-2.5-flash-lite | 0.10 0.01 - 0.40
api.groq.com | llama-3.3-70b-versatile | 0.59 - - 0.79
api.groq.com | openai/gpt-oss-120b | 0.15 0.075 - 0.60
AWS Bedrock | amazon.nova-2-lite-v1:0 | 0.33 0.0825 - 2.75
AWS Bedrock | us.amazon.nova-2-lite-v1:0 | 0.33 0.0825 - 2.75
AWS Bedrock | global.amazon.nova-2-lite-v1:0 | 0.30 0.075 - 2.50
AWS Bedrock | global.anthropic.claude-sonnet-4-6 | 3 0.30 3.75 15
AWS Bedrock | eu.anthropic.claude-sonnet-4-6 | 3.30 0.33 4.125 16.50
my-resource.openai.azure.com | gpt-4o | 2.50 1.25 - 10
my-resource.openai.azure.com | gpt-4.1-mini-2025-04-14 | 0.40 0.10 - 1.60
api.deepseek.com | deepseek-flash | 0.15 0.003 - 0.60
api.x.ai | grok-4-1-fast-non-reasoning | 1.25 0.20 - 2.50
livekit | openai/gpt-4.1 | 2 0.50 - 8
livekit | google/gemma-4-31b-it | 0.40 0.20 - 1.20
"""

# provider | model | last token of the lower price | lower price | price above | day if past
TIERS = """
api.openai.com | gpt-6.1-sol | 272000 | 2 0.10 2.50 10 | 4 0.20 5 15
api.openai.com | gpt-6.1-terra | 272000 | 1 0.05 1.25 5 | 2 0.10 2.50 7.50
api.openai.com | gpt-6-astra | 272000 | 10 1 12.50 50 | 20 2 25 75
api.openai.com | gpt-6-sol | 272000 | 2 0.20 2.50 10 | 4 0.40 5 15
api.openai.com | gpt-6-luna | 272000 | 0.10 0.01 0.125 0.50 | 0.20 0.02 0.25 0.75
api.openai.com | gpt-6-luna-decisions | 272000 | 0.10 - - 0 | 0.20 - - 0
api.openai.com | gpt-6-rosalind | 272000 | 15 1.50 18.75 75 | 30 3 37.50 112.50
api.openai.com | gpt-5.6-sol | 272000 | 5 0.50 6.25 30 | 10 1 12.50 45 | 2026-08-20
api.openai.com | gpt-5.6-sol | 272000 | 4 0.40 5 20 | 8 0.80 10 30
api.openai.com | gpt-5.6-terra | 272000 | 2.50 0.25 3.125 15 | 5 0.50 6.25 22.50 | 2026-07-29
api.openai.com | gpt-5.6-terra | 272000 | 2 0.20 2.50 12 | 4 0.40 5 18
api.openai.com | gpt-5.6-luna | 272000 | 1 0.10 1.25 6 | 2 0.20 2.50 9 | 2026-07-29
api.openai.com | gpt-5.6-luna | 272000 | 0.20 0.02 0.25 1.20 | 0.40 0.04 0.50 1.80
api.openai.com | gpt-5.5 | 272000 | 5 0.50 - 30 | 10 1 - 45
api.openai.com | gpt-5.5-pro | 272000 | 30 - - 180 | 60 - - 270
api.openai.com | gpt-5.4 | 272000 | 2.50 0.25 - 15 | 5 0.50 - 22.50
api.openai.com | gpt-5.4-pro | 272000 | 30 - - 180 | 60 - - 270
api.anthropic.com | claude-haiku-5-5 | 100000 | 0.10 0.01 0.125 0.50 | 0.50 0.05 0.625 2.50
api.anthropic.com | claude-sonnet-4-6 | 200000 | 3 0.30 3.75 15 | 6 0.60 7.50 22.50 | 2026-03-12
api.anthropic.com | claude-sonnet-4-5 | 200000 | 3 0.30 3.75 15 | 6 0.60 7.50 22.50 | 2026-04-29
api.anthropic.com | claude-opus-4-6 | 200000 | 5 0.50 6.25 25 | 10 1 12.50 37.50 | 2026-03-12
Gemini | gemini-3.1-pro-preview | 200000 | 2 0.20 - 12 | 4 0.40 - 18
Gemini | gemini-3-pro-preview | 200000 | 2 0.20 - 12 | 4 0.40 - 18
Vertex AI | gemini-2.5-pro | 200000 | 1.25 0.125 - 10 | 2.50 0.25 - 15
Amazon | global.anthropic.claude-haiku-5-5 | 100000 | 0.10 0.01 0.125 0.50 | 0.50 0.05 0.625 2.50
Amazon | eu.anthropic.claude-haiku-5-5 | 100000 | 0.11 0.011 0.1375 0.55 | 0.55 0.055 0.6875 2.75
r.openai.azure.com | gpt-6.1-sol | 272000 | 2 0.10 2.50 10 | 4 0.20 5 15
r.openai.azure.com | gpt-6.1-terra | 272000 | 1 0.05 1.25 5 | 2 0.10 2.50 7.50
r.openai.azure.com | gpt-6-astra | 272000 | 10 1 12.50 50 | 20 2 25 75
r.openai.azure.com | gpt-6-sol | 272000 | 2 0.20 2.50 10 | 4 0.40 5 15
r.openai.azure.com | gpt-6-luna | 272000 | 0.10 0.01 0.125 0.50 | 0.20 0.02 0.25 0.75
r.openai.azure.com | gpt-5.6-sol | 272000 | 4 0.40 5 20 | 8 0.80 10 30
r.openai.azure.com | gpt-5.6-terra | 272000 | 2 0.20 2.50 12 | 4 0.40 5 18
r.openai.azure.com | gpt-5.6-luna | 272000 | 0.20 0.02 0.25 1.20 | 0.40 0.04 0.50 1.80
r.openai.azure.com | gpt-5.5 | 272000 | 5 0.50 - 30 | 10 1 - 45
r.openai.azure.com | gpt-5.4 | 272000 | 2.50 0.25 - 15 | 5 0.50 - 22.50
api.x.ai | grok-4.7 | 199999 | 2 0.50 - 6 | 4 1 - 12
api.x.ai | grok-4.6 | 199999 | 2 0.50 - 6 | 4 1 - 12
api.x.ai | grok-4.5 | 199999 | 2 0.30 - 6 | 4 0.60 - 12
api.x.ai | grok-4.3 | 199999 | 1.25 0.20 - 2.50 | 2.50 0.40 - 5
api.x.ai | grok-4.20 | 199999 | 2 0.20 - 6 | 4 0.40 - 12 | 2026-04-29
api.x.ai | grok-4.20 | 199999 | 1.25 0.20 - 2.50 | 2.50 0.40 - 5
api.x.ai | grok-4.20-multi-agent | 199999 | 2 0.20 - 6 | 4 0.40 - 12 | 2026-04-29
api.x.ai | grok-4.20-multi-agent | 199999 | 1.25 0.20 - 2.50 | 2.50 0.40 - 5
api.x.ai | grok-4-1-fast-non-reasoning | 199999 | 1.25 0.20 - 2.50 | 2.50 0.40 - 5
api.x.ai | grok-4-0709 | 199999 | 1.25 0.20 - 2.50 | 2.50 0.40 - 5
"""

# provider | model | text and audio: input, cached, output | images: input, cached
REALTIME = """
api.openai.com | gpt-realtime | 4 0.40 16 | 32 0.40 64 | 5 0.50
api.openai.com | gpt-realtime-1.5 | 4 0.40 16 | 32 0.40 64 | 5 0.50
api.openai.com | gpt-realtime-2.1 | 4 0.40 24 | 32 0.40 64 | 5 0.50
api.openai.com | gpt-realtime-2.1-mini | 0.60 0.06 2.40 | 10 0.30 20 | 0.80 0.08
my-resource.openai.azure.com | gpt-realtime | 4 0.40 16 | 32 0.40 64 | 5 0.50
my-resource.openai.azure.com | gpt-realtime-mini | 0.60 0.06 2.40 | 10 0.30 20 | 0.80 0.08
Gemini | gemini-3.8-live | 0.75 - 4.50 | 3 - 12 | 1 -
Gemini | gemini-2.5-flash-native-audio-preview-12-2025 | 0.50 - 2 | 3 - 12 | 3 -
Vertex AI | gemini-live-2.5-flash-native-audio | 0.50 - 2 | 3 - 12 | 3 -
Amazon | amazon.nova-2-sonic-v1:0 | 0.33 - 2.75 | 3 - 12 |
Amazon | amazon.nova-sonic-v1:0 | 0.06 - 0.24 | 3.40 - 13.60 |
"""

# stage | provider | model | USD | for how many seconds
SECONDS = """
stt | Deepgram | nova-3 | 0.0048 | 60
stt | Deepgram | nova-3-multilingual | 0.0058 | 60
stt | Deepgram | flux-general-en | 0.0065 | 60
stt | Deepgram | flux-general-multi | 0.0078 | 60
stt | AssemblyAI | universal-streaming-english | 0.15 | 3600
stt | AssemblyAI | universal-3-6-pro | 0.45 | 3600
stt | Cartesia | ink-whisper | 0.000050 | 1
stt | Cartesia | ink-2 | 0.000150 | 1
stt | ElevenLabs | scribe_v1 | 0.22 | 3600
stt | ElevenLabs | scribe_v2_realtime | 0.39 | 3600
stt | Azure STT | unknown | 1 | 3600
stt | my-resource.openai.azure.com | whisper-1 | 0.006 | 60
stt | Amazon Transcribe | unknown | 0.010 | 60
stt | Google Cloud Platform | latest_long | 0.024 | 60
stt | Google Cloud Platform | chirp_3 | 0.016 | 60
stt | api.openai.com | whisper-1 | 0.006 | 60
stt | api.openai.com | gpt-live-transcribe | 0.017 | 60
stt | xAI | unknown | 0.20 | 3600
stt | livekit | deepgram/nova-3 | 0.0048 | 60
stt | livekit | assemblyai/universal-streaming | 0.0025 | 60
realtime | api.openai.com | gpt-live-1 | 0.05 | 60
realtime | api.x.ai | grok-voice-latest | 0.08 | 60
realtime | api.x.ai | grok-voice-think-fast-1.0 | 0.05 | 60
platform | vapi | platform | 0.05 | 60
"""

# provider | model | USD per million characters
CHARACTERS = """
Deepgram | aura-2-andromeda-en | 30
Deepgram | aura-2-thalia-es | 30
Deepgram | aura-asteria-en | 15
Cartesia | sonic-3 | 50
ElevenLabs | eleven_turbo_v2_5 | 50
ElevenLabs | eleven_multilingual_v2 | 100
Amazon Polly | standard | 4
Amazon Polly | neural | 16
Amazon Polly | generative | 30
Amazon Polly | long-form | 100
Google Cloud Platform | Chirp3 | 30
Groq | canopylabs/orpheus-v1-english | 22
api.openai.com | tts-1-hd | 30
my-resource.openai.azure.com | tts-1-hd | 33
xAI | unknown | 4.20
livekit | cartesia/sonic-3 | 50
livekit | inworld/inworld-tts-2 | 25
"""

# provider | model | least seconds of a request | USD per hour
MINIMA = """
api.groq.com | whisper-large-v3 | 10 | 0.111
api.groq.com | whisper-large-v3-turbo | 10 | 0.04
"""

# provider | leg | step in seconds | USD per minute
STEPS = """
twilio | us-inbound-local | 60 | 0.0085
twilio | us-inbound-toll-free | 60 | 0.0220
twilio | us-outbound | 60 | 0.0140
livekit | agent-session | 60 | 0.01
livekit | webrtc-participant | 60 | 0.0005
livekit | third-party-sip | 60 | 0.004
livekit | us-inbound-local | 60 | 0.01
livekit | us-inbound-toll-free | 60 | 0.02
livekit | audio-recording | 60 | 0.005
"""

# stage | provider | model | first day of the new price | old price | new price | prompt if long
CHANGES = """
llm | api.openai.com | gpt-5.6-sol | 2026-08-21 | 5 0.50 6.25 30 | 4 0.40 5 20
llm | api.openai.com | gpt-5.6-terra | 2026-07-30 | 2.50 0.25 3.125 15 | 2 0.20 2.50 12
llm | api.openai.com | gpt-5.6-luna | 2026-07-30 | 1 0.10 1.25 6 | 0.20 0.02 0.25 1.20
llm | api.openai.com | gpt-5.5-cyber | 2026-10-19 | 12.50 - - 75 | 12.50 1.25 - 75
llm | Anthropic | claude-sonnet-4-6 | 2026-03-13 | 6 0.60 7.50 22.50 | 3 0.30 3.75 15 | 200001
llm | Anthropic | claude-sonnet-4-5 | 2026-04-30 | 6 0.60 7.50 22.50 | 3 0.30 3.75 15 | 200001
llm | Anthropic | claude-opus-4-6 | 2026-03-13 | 10 1 12.50 37.50 | 5 0.50 6.25 25 | 200001
llm | Gemini | gemini-4-argon | 2026-12-01 | 2 0.10 - 10 | 4 0.20 - 20
llm | Gemini | gemini-3.8-flash | 2027-01-01 | 0.75 0.075 - 3.75 | 1.50 0.15 - 7.50
llm | api.deepseek.com | deepseek-v4-flash | 2026-08-17 | 0.14 0.0028 - 0.28 | 0.22 0.007 - 0.66
llm | api.deepseek.com | deepseek-v4-flash | 2026-09-10 | 0.22 0.007 - 0.66 | 0.15 0.003 - 0.60
llm | api.deepseek.com | deepseek-v4-pro | 2026-08-17 | 0.435 0.003625 - 0.87 | 0.66 0.022 - 1.98
llm | api.x.ai | grok-4.20 | 2026-04-30 | 2 0.20 - 6 | 1.25 0.20 - 2.50
llm | api.x.ai | grok-4.20-multi-agent | 2026-04-30 | 2 0.20 - 6 | 1.25 0.20 - 2.50
llm | api.x.ai | grok-4-1-fast-reasoning | 2026-05-16 | 0.20 0.05 - 0.50 | 1.25 0.20 - 2.50
llm | api.x.ai | grok-4-0709 | 2026-05-16 | 3 0.75 - 15 | 1.25 0.20 - 2.50
realtime | api.x.ai | grok-voice-latest | 2026-08-05 | 0.05 | 0.08
"""

# DeepSeek's dear hours, UTC.
HOURS = ("01:00-04:00", "06:00-10:00")

# model | price | price in those hours | day if past
DEEPSEEK = """
deepseek-flash | 0.15 0.003 - 0.60 | 0.30 0.006 - 1.20
deepseek-v4-flash | 0.22 0.007 - 0.66 | 0.44 0.014 - 1.32 | 2026-08-17
deepseek-v4-flash | 0.15 0.003 - 0.60 | 0.30 0.006 - 1.20
deepseek-v4-pro | 0.66 0.022 - 1.98 | 1.32 0.044 - 3.96
"""

# These vendors have every boundary of their prices above.
VENDORS = (
    "anthropic", "assemblyai", "aws", "azure", "cartesia", "deepgram", "deepseek", "elevenlabs",
    "google", "groq", "livekit", "openai", "twilio", "xai",
)  # fmt: skip


def rows(table: str, last: str = "") -> list[list[str]]:
    """Cells of a table; `last` is the last cell of rows that leave it out."""
    cells = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    width = max(map(len, cells))
    return [[*row, last] if last and len(row) < width else row for row in cells]


def prices(cell: str) -> list[Fraction | None]:
    """Figures of a cell, none where the page has none."""
    return [None if figure == "-" else Fraction(figure) for figure in cell.split()]


def midnight(day: str) -> float:
    """When a day begins, in Unix seconds."""
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


def cost(
    catalogue: Catalogue,
    stage: str,
    provider: str,
    model: str,
    usage: Usage,
    at: float | None = None,
) -> Fraction:
    """What the catalogue makes of usage, at ten o'clock today if nothing else is said."""
    made = price(
        catalogue,
        stage=stage,
        provider=provider,
        model=model,
        label="",
        usage=usage,
        at=midnight(TODAY) + 36_000 if at is None else at,
        streamed=False,
        connection=False,
    )
    assert made.status == "priced", made.why
    return Fraction(made.cost)


def request(prompt: int, listed: list[Fraction | None]) -> tuple[Usage, Fraction]:
    """An LLM's request with each kind of token that the page has a price for, and its price."""
    text, cached, written, made = listed
    reads = 5000 if cached is not None else 0
    writes = 3000 if written is not None else 0
    assert text is not None
    assert made is not None
    usd = (prompt - reads - writes) * text + reads * (cached or 0) + writes * (written or 0)
    usage = Usage(
        input_tokens=prompt,
        cached_input_tokens=reads,
        cache_write_tokens=writes,
        output_tokens=700,
    )
    return usage, (usd + 700 * made) / MILLION


@pytest.mark.parametrize(("provider", "model", "listed"), rows(TOKENS))
def test_tokens_cost_their_kind(shipped: Catalogue, provider: str, model: str, listed: str) -> None:
    """Cached and written tokens are inside of the prompt and have their own price."""
    usage, usd = request(9000, prices(listed))

    assert cost(shipped, "llm", provider, model, usage) == usd


@pytest.mark.parametrize(("provider", "model", "listed"), rows(TOKENS))
def test_cached_tokens_without_a_price_cost_what_input_costs(
    shipped: Catalogue, provider: str, model: str, listed: str
) -> None:
    """Nothing that was sent is free because a page does not mention it."""
    text, cached, _, _ = prices(listed)
    each = text if cached is None else cached
    assert each is not None

    usage = Usage(input_tokens=9000, cached_input_tokens=9000)
    assert cost(shipped, "llm", provider, model, usage) == 9000 * each / MILLION


@pytest.mark.parametrize(("provider", "model", "last", "below", "above", "day"), rows(TIERS, TODAY))
def test_long_prompts_cost_more_from_the_first_token_over(
    shipped: Catalogue, provider: str, model: str, last: str, below: str, above: str, day: str
) -> None:
    """The threshold itself has the lower price; one more makes the whole request dearer."""
    for prompt, listed in ((int(last), below), (int(last) + 1, above)):
        usage, usd = request(prompt, prices(listed))
        assert cost(shipped, "llm", provider, model, usage, midnight(day)) == usd


@pytest.mark.parametrize(("provider", "model", "text", "audio", "images"), rows(REALTIME))
def test_realtime_tokens_cost_their_modality(
    shipped: Catalogue, provider: str, model: str, text: str, audio: str, images: str
) -> None:
    """Text, speech and pictures of one response; cached ones as input where no price is listed."""
    listed = [prices(cell) for cell in (text, audio, images)]
    seen = 800 if images else 0
    usage = Usage(
        input_tokens=3000 + seen, cached_input_tokens=1000 + seen // 4,
        input_audio_tokens=2000, cached_audio_tokens=600,
        input_image_tokens=seen, cached_image_tokens=seen // 4,
        output_tokens=900, output_audio_tokens=750,
    )  # fmt: skip
    fresh, read, made = (600, 1400, 600), (400, 600, 200), (150, 750)

    usd = Fraction(0)
    for number, figures in enumerate(listed):
        if not figures:
            continue
        new, cached = figures[0], figures[1]
        assert new is not None
        usd += fresh[number] * new + read[number] * (new if cached is None else cached)
        if number < len(made):
            assert figures[2] is not None
            usd += made[number] * figures[2]
    assert cost(shipped, "realtime", provider, model, usage) == usd / MILLION


@pytest.mark.parametrize(("stage", "provider", "model", "usd", "per"), rows(SECONDS))
@pytest.mark.parametrize("seconds", ["0.001", "12.5", "5.0123", "3600"])
def test_time_is_billed_as_it_is(
    shipped: Catalogue, stage: str, provider: str, model: str, usd: str, per: str, seconds: str
) -> None:
    """Nothing rounds these; a second counts as it is written, not as a binary fraction."""
    usage = Usage(audio_seconds=float(seconds), connection_seconds=float(seconds))
    exact = Fraction(seconds) * Fraction(usd) / int(per)

    assert abs(cost(shipped, stage, provider, model, usage) - exact) < EXACT


@pytest.mark.parametrize(("provider", "model", "usd"), rows(CHARACTERS))
@pytest.mark.parametrize("characters", [1, 137, 1_000_000])
def test_characters_cost_the_same_each(
    shipped: Catalogue, provider: str, model: str, usd: str, characters: int
) -> None:
    """The seconds of speech that plugins report beside them are not billed."""
    usage = Usage(characters=characters, audio_seconds=9.0)

    assert cost(shipped, "tts", provider, model, usage) == characters * Fraction(usd) / MILLION


@pytest.mark.parametrize(("provider", "model", "least", "usd"), rows(MINIMA))
def test_short_requests_cost_the_minimum(
    shipped: Catalogue, provider: str, model: str, least: str, usd: str
) -> None:
    """Below it and at it the minimum, above it what was heard."""
    for heard, billed in (("0.1", least), ("9.999", least), (least, least), ("10.001", "10.001")):
        made = cost(shipped, "stt", provider, model, Usage(audio_seconds=float(heard)))
        assert abs(made - Fraction(billed) * Fraction(usd) / 3600) < EXACT


@pytest.mark.parametrize(("provider", "leg", "step", "usd"), rows(STEPS))
def test_call_legs_round_up_to_their_step(
    shipped: Catalogue, provider: str, leg: str, step: str, usd: str
) -> None:
    """A begun minute, or second, of a leg is a whole one."""
    one = int(step)
    for lasted, steps in ((one - 0.1, 1), (one, 1), (one + 0.1, 2), (3 * one, 3)):
        made = cost(shipped, "platform", provider, leg, Usage(connection_seconds=float(lasted)))
        assert abs(made - steps * one * Fraction(usd) / 60) < EXACT


def billed(stage: str, figures: str, prompt: str) -> tuple[Usage, Fraction]:
    """Usage in the unit that a stage is priced in, and what it costs."""
    if stage == "llm":
        return request(int(prompt), prices(figures))
    if stage == "tts":
        return Usage(characters=137), 137 * Fraction(figures) / MILLION
    return Usage(audio_seconds=30.0, connection_seconds=30.0), Fraction(figures) / 2


@pytest.mark.parametrize(
    ("stage", "provider", "model", "day", "before", "after", "prompt"), rows(CHANGES, "9000")
)
def test_price_changes_at_midnight_utc(
    shipped: Catalogue, stage: str, provider: str, model: str, day: str, before: str, after: str,
    prompt: str,
) -> None:  # fmt: skip
    """The last second of a day has the old price, the first of the next the new one."""
    first = midnight(day)
    for at, figures in ((first - 1, before), (first - 0.001, before), (first, after)):
        usage, usd = billed(stage, figures, prompt)
        assert abs(cost(shipped, stage, provider, model, usage, at) - usd) < EXACT


@pytest.mark.parametrize(("model", "cheap", "dear", "day"), rows(DEEPSEEK, TODAY))
@pytest.mark.parametrize("hours", HOURS)
def test_price_changes_with_the_hour(
    shipped: Catalogue, model: str, cheap: str, dear: str, day: str, hours: str
) -> None:
    """Dear hours begin with their first second and end before the one after their last."""
    start, end = hours.split("-")
    for clock, before, after in ((start, cheap, dear), (end, dear, cheap)):
        edge = midnight(f"{day}T{clock}")
        for at, figures in ((edge - 1, before), (edge - 0.001, before), (edge, after)):
            usage, usd = request(9000, prices(figures))
            assert cost(shipped, "llm", "api.deepseek.com", model, usage, at) == usd


def boundaries(entry: Entry) -> Iterator[tuple[str, ...]]:
    """Where the price of an entry jumps."""
    if entry.min_seconds:
        yield entry.id, "minimum"
    if entry.round_up_seconds:
        yield entry.id, "step"
    for tariff in entry.tariffs:
        for block in tariff.blocks:
            since = str(block.valid_from)
            if block.valid_from:
                yield entry.id, "day", since
            for tier in block.charges.tiers:
                if tier.over >= 0:
                    yield entry.id, "tokens", since, str(tier.over)
            for window in block.windows:
                yield entry.id, "hours", since, window.charges.hours


def in_tables(shipped: Catalogue) -> Iterator[tuple[str, ...]]:
    """The boundaries that the tables have a case for."""

    def found(stage: str, provider: str, model: str, day: str = TODAY) -> tuple[str, str]:
        entry = shipped.find(stage, provider, model)
        assert entry is not None
        block = entry.tariffs[0].block_at(midnight(day))
        assert block is not None
        return entry.id, str(block.valid_from)

    for provider, model, *_ in rows(MINIMA):
        yield found("stt", provider, model)[0], "minimum"
    for provider, leg, *_ in rows(STEPS):
        yield found("platform", provider, leg)[0], "step"
    for stage, provider, model, day, *_ in rows(CHANGES):
        yield found(stage, provider, model)[0], "day", day
    for provider, model, last, *_, day in rows(TIERS, TODAY):
        name, since = found("llm", provider, model, day)
        yield name, "tokens", since, last
    for model, *_, day in rows(DEEPSEEK, TODAY):
        name, since = found("llm", "api.deepseek.com", model, day)
        for hours in HOURS:
            yield name, "hours", since, hours


def test_every_boundary_of_these_vendors_has_its_cases(shipped: Catalogue) -> None:
    """A price of theirs that gets a new day, tier, step or hour gets a row in the tables."""
    known = {
        boundary
        for entry in shipped.entries.values()
        if entry.provider in VENDORS
        for boundary in boundaries(entry)
    }

    assert set(in_tables(shipped)) == known
