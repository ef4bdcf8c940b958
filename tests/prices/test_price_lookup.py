"""Which provider an event is about, and which entry prices its model."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from livekit_exporter.prices.catalogue import Catalogue

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC).timestamp()

FORMS = """
schema: 1
currency: USD
providers:
  acme:
    names: [Acme Voice]
    hosts: [api.acme.test, "*.acme.test"]
    defaults: {stt: acme/fallback}
entries:
  - id: acme/exact
    stage: llm
    match: [big-2026-01-01]
    basis: tokens
    prices: &free [{per_1m: {input: 1, output: 1}, source: page, checked: 2026-01-01}]
  - {id: acme/dated, stage: llm, match: ["big-<date>"], basis: tokens, prices: *free}
  - {id: acme/short, stage: llm, match: ["big-*"], basis: tokens, prices: *free}
  - {id: acme/long, stage: llm, match: ["big-voice-*"], basis: tokens, prices: *free}
  - {id: acme/inside, stage: llm, match: ["eu.big-<date>-v1:0"], basis: tokens, prices: *free}
  - {id: acme/fallback, stage: stt, match: [], basis: tokens, prices: *free}
  - {id: acme/all, stage: tts, match: ["*"], basis: tokens, prices: *free}
"""


def found(catalogue: Catalogue, stage: str, provider: str, model: str, label: str = "") -> str:
    """Id of the entry, `-` without one."""
    entry = catalogue.find(stage, provider, model, label)
    return entry.id if entry else "-"


@pytest.mark.parametrize(
    ("reported", "canonical"),
    [
        ("api.openai.com", "openai"),
        ("API.OpenAI.com:443", "openai"),
        ("OpenAI", "openai"),
        ("my-resource.openai.azure.com", "azure"),
        ("my-resource.openai.azure.com:8443", "azure"),
        ("my-gateway.azure-api.net", "azure"),
        ("my-resource.openai.azure.us", "azure-gov"),
        ("Azure STT", "azure"),
        ("  azure   stt ", "azure"),
        ("Gemini", "google"),
        ("Vertex AI", "google"),
        ("Google Cloud Platform", "google"),
        ("AWS Bedrock", "aws"),
        ("Amazon Polly", "aws"),
        ("api.groq.com", "groq"),
        ("Groq", "groq"),
        ("api.x.ai", "xai"),
        ("xAI", "xai"),
        ("livekit", "livekit"),
        ("api.deepseek.com", "deepseek"),
        ("openrouter.ai", "openrouter"),
        ("localhost:11434", "localhost"),
        ("user:secret@llm.internal:8080", "llm.internal"),
        ("[::1]:8080", "[::1]"),
        ("Some New Vendor", "some new vendor"),
        ("bad\x00name\n", "bad name"),
        ("\udcff", "unknown"),
        ("", "unknown"),
        ("unknown", "unknown"),
        ("openai.azure.com.evil.test", "openai.azure.com.evil.test"),
        ("notapi.openai.com", "notapi.openai.com"),
    ],
)
def test_provider_becomes_one_label_value(
    shipped: Catalogue, reported: str, canonical: str
) -> None:
    """Hosts and display names of one vendor are one provider; strangers keep a clean name."""
    assert shipped.provider(reported) == canonical


def test_nameless_plugins_are_known_by_their_class(shipped: Catalogue) -> None:
    """Where a plugin says `unknown`, a declared class path names the provider."""
    assert shipped.provider("unknown", "livekit.plugins.nvidia.stt.STT") == "nvidia"
    assert shipped.provider("", "livekit.plugins.xai.stt.STT") == "xai"
    assert shipped.provider("unknown", "livekit.plugins.new.STT") == "unknown"
    assert found(shipped, "tts", "unknown", "unknown", "livekit.plugins.xai.tts.TTS") == "xai/tts"


def test_class_does_not_outweigh_the_host(shipped: Catalogue) -> None:
    """A gateway behind the OpenAI plugin is billed by whoever runs it."""
    assert found(shipped, "llm", "127.0.0.1:9", "gpt-4.1", "livekit.plugins.openai.llm.LLM") == "-"


@pytest.mark.parametrize(
    ("model", "entry"),
    [
        pytest.param("big-2026-01-01", "acme/exact", id="exact wins"),
        pytest.param("big-2026-02-01", "acme/dated", id="dated snapshot"),
        pytest.param("big-20260201", "acme/dated", id="dated snapshot without dashes"),
        pytest.param("big-2026-13-01", "acme/short", id="no such month is no snapshot"),
        pytest.param("big-2026-2-1", "acme/short", id="no full date is no snapshot"),
        pytest.param("big-voice-7", "acme/long", id="the longest prefix"),
        pytest.param("big-voi", "acme/short", id="a shorter prefix"),
        pytest.param("eu.big-20260201-v1:0", "acme/inside", id="a date inside the name"),
        pytest.param("eu.big-20260201", "-", id="half of such a name"),
        pytest.param("big-", "-", id="a prefix alone is no model"),
        pytest.param("big", "-", id="less than a prefix"),
        pytest.param("so-big-7", "-", id="no substring"),
        pytest.param("Big-7", "-", id="models are case-sensitive"),
        pytest.param("unknown", "-", id="no default for this stage"),
    ],
)
def test_models_are_found_by_declaration(
    written: Callable[[str], Catalogue], model: str, entry: str
) -> None:
    """Exact name, dated snapshot, longest prefix, in this order, and nothing else."""
    assert found(written(FORMS), "llm", "Acme Voice", model) == entry


@pytest.mark.parametrize(
    ("stage", "model", "entry"),
    [
        pytest.param("stt", "unknown", "acme/fallback", id="says unknown"),
        pytest.param("stt", "", "acme/fallback", id="says nothing"),
        pytest.param("stt", "named", "-", id="names a model that nobody declared"),
        pytest.param("tts", "westeurope:en-US-JennyNeural", "acme/all", id="every model"),
    ],
)
def test_default_is_for_models_that_are_not_named(
    written: Callable[[str], Catalogue], stage: str, model: str, entry: str
) -> None:
    """A provider's default does not price models that have a name, a declared `*` does."""
    assert found(written(FORMS), stage, "eu.acme.test", model) == entry


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("api.openai.com", "gpt-4.1-mini-foo"),
        ("api.openai.com", "my-gpt-4.1-mini"),
        ("api.openai.com", "gpt-4.1-mini-2025-04-14-ft"),
        ("api.openai.com", "openai/gpt-4.1-mini"),
        ("api.openai.com", "gpt"),
        ("api.openai.com", "ft:gpt-4.1-mini:acme"),
        ("api.cerebras.ai", "openai/gpt-oss-120b"),
        ("api.groq.com", "gpt-oss-120b"),
        ("livekit", "openai/gpt-4.1-mini"),
        ("livekit", "gpt-4.1-mini"),
    ],
)
def test_near_misses_have_no_price(shipped: Catalogue, provider: str, model: str) -> None:
    """Prices are per host and per model: a resemblance is none."""
    assert found(shipped, "llm", provider, model) == "-"


@pytest.mark.parametrize(
    ("stage", "provider", "model", "entry"),
    [
        ("llm", "api.openai.com", "gpt-4.1-mini-2025-04-14", "openai/gpt-4.1-mini"),
        ("llm", "api.anthropic.com", "claude-haiku-4-5-20251001", "anthropic/claude-haiku-4-5"),
        ("realtime", "api.openai.com", "gpt-realtime-2025-08-28", "openai/gpt-realtime"),
        ("realtime", "api.openai.com", "gpt-realtime-2", "openai/gpt-realtime-2"),
        ("tts", "Deepgram", "aura-2-andromeda-en", "deepgram/aura-2"),
        ("tts", "Deepgram", "aura-asteria-en", "deepgram/aura"),
        ("stt", "Deepgram", "flux-general-en", "deepgram/flux-general-en"),
        ("stt", "api.groq.com", "whisper-large-v3-turbo", "groq/whisper-large-v3-turbo"),
        ("tts", "Groq", "canopylabs/orpheus-v1-english", "groq/orpheus-v1-english"),
        ("stt", "livekit", "deepgram/nova-3", "livekit/deepgram/nova-3"),
        ("stt", "Azure STT", "unknown", "azure/speech-to-text"),
        ("stt", "Amazon Transcribe", "unknown", "aws/transcribe-streaming"),
        ("stt", "res.openai.azure.com", "gpt-transcribe-next", "-"),
        ("tts", "xAI", "unknown", "xai/tts"),
    ],
)
def test_what_plugins_report_is_found(
    shipped: Catalogue, stage: str, provider: str, model: str, entry: str
) -> None:
    """The strings that the plugins really emit lead to their prices."""
    assert found(shipped, stage, provider, model) == entry


def test_lookups_of_many_models_stay_right(shipped: Catalogue) -> None:
    """What is remembered is bounded; forgetting does not change an answer."""
    for number in range(10_000):
        assert shipped.find("llm", "api.openai.com", f"made-up-{number}") is None

    assert found(shipped, "llm", "api.openai.com", "gpt-4.1") == "openai/gpt-4.1"


def test_prices_in_force_are_per_unit(shipped: Catalogue) -> None:
    """The price gauge shows USD per token, character or second, and how old the check is."""
    entry = shipped.find("stt", "api.openai.com", "gpt-4o-mini-transcribe")
    assert entry is not None
    prices = shipped.prices_of(entry, NOW)

    assert prices is not None
    assert prices.rates["input_token"] == Decimal("0.00000125")
    assert prices.rates["output_audio_token"] == Decimal("0.000005")
    assert prices.rates["audio_second"] == Decimal("0.00005")
    assert prices.checked == date(2026, 8, 1)


def test_prices_in_force_follow_the_date(shipped: Catalogue) -> None:
    """The gauge changes on the day on which the price does."""
    entry = shipped.find("llm", "Gemini", "gemini-3.8-flash")
    assert entry is not None
    before = shipped.prices_of(entry, NOW)
    after = shipped.prices_of(entry, datetime(2027, 1, 1, tzinfo=UTC).timestamp())

    assert before is not None
    assert after is not None
    assert before.rates["output_token"] == Decimal("0.00000375")
    assert after.rates["output_token"] == Decimal("0.0000075")
    assert shipped.prices_of(entry, float("nan")) is None
