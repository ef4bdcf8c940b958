"""Every provider and model that LiveKit's plugins report is priced, or said not to be."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from livekit_exporter.prices.catalogue import Catalogue

DOCS = Path(__file__).parents[2] / "docs"

# Stage, provider and model as the plugins report them, by default or in their examples.
PAIRS = """
llm|api.openai.com|gpt-4.1
llm|my-resource.openai.azure.com|gpt-4o
llm|api.cerebras.ai|gpt-oss-120b
llm|api.fireworks.ai|accounts/fireworks/models/llama-v3p3-70b-instruct
llm|api.x.ai|grok-3-fast
llm|api.x.ai|grok-4-1-fast-non-reasoning
llm|api.telnyx.com|meta-llama/Meta-Llama-3.1-70B-Instruct
llm|api.deepseek.com|deepseek-chat
llm|localhost:11434|llama3.1
llm|api.perplexity.ai|llama-3.1-sonar-small-128k-chat
llm|api.together.xyz|meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo
llm|openrouter.ai|auto
llm|api.letta.com|agent
llm|api.sambanova.ai|DeepSeek-R1-0528
llm|api.studio.nebius.com|meta-llama/Meta-Llama-3.1-70B-Instruct
llm|oai.endpoints.kepler.ai.cloud.ovh.net|gpt-oss-120b
llm|api.groq.com|llama-3.3-70b-versatile
llm|api.anthropic.com|claude-sonnet-4-6
llm|Gemini|gemini-3.8-flash
llm|Vertex AI|gemini-3.8-flash
llm|Vertex AI Model Garden|gemma
llm|AWS Bedrock|amazon.nova-2-lite-v1:0
llm|MistralAI|ministral-8b-latest
llm|Baseten|meta-llama/Llama-4-Maverick-17B-128E-Instruct
llm|Sarvam|sarvam-105b
llm|livekit|openai/gpt-4.1-mini
stt|Deepgram|nova-3
stt|Deepgram|flux-general-en
stt|Cartesia|ink-2
stt|AssemblyAI|universal-3-6-pro
stt|Speechmatics|linden-1
stt|Gladia|solaria-1
stt|ElevenLabs|scribe_v1
stt|Soniox|stt-rt-v5
stt|Inworld|inworld/inworld-stt-1
stt|xAI|unknown
stt|nvidia|unknown
stt|Azure STT|unknown
stt|Google Cloud Platform|latest_long
stt|google|unknown
stt|Amazon Transcribe|unknown
stt|api.openai.com|gpt-4o-mini-transcribe
stt|my-resource.openai.azure.com|whisper-1
stt|api.groq.com|whisper-large-v3-turbo
stt|MistralAI|voxtral-mini-latest
stt|Fal|Wizper
stt|Baseten|whisper
stt|SmallestAI|pulse
stt|Sarvam|saaras:v4
stt|Gradium|default
stt|livekit|deepgram/nova-3
stt|livekit|unknown
tts|Cartesia|sonic-3
tts|ElevenLabs|eleven_turbo_v2_5
tts|Deepgram|aura-2-andromeda-en
tts|api.openai.com|gpt-4o-mini-tts
tts|Groq|canopylabs/orpheus-v1-english
tts|Google Cloud Platform|Chirp3
tts|Gemini|gemini-3.1-flash-tts-preview
tts|Azure TTS|westeurope:en-US-JennyNeural
tts|Amazon Polly|generative
tts|Rime|coda
tts|Inworld|inworld-tts-1.5-max
tts|LMNT|blizzard
tts|Hume|Octave
tts|xAI|unknown
tts|Soniox|tts-rt-v1-preview
tts|Speechmatics|unknown
tts|MistralAI|voxtral-mini-tts-latest
tts|nvidia|unknown
tts|Neuphonic|Octave
tts|Resemble|unknown
tts|Murf|FALCON
tts|FishAudio|unknown
tts|MiniMax|unknown
tts|SmallestAI|unknown
tts|Sarvam|unknown
tts|Gradium|unknown
tts|Baseten|unknown
tts|AssemblyAI|unknown
tts|livekit|cartesia/sonic-3
realtime|api.openai.com|gpt-realtime
realtime|my-resource.openai.azure.com|gpt-realtime
realtime|Gemini|gemini-2.5-flash-native-audio-preview-12-2025
realtime|Vertex AI|gemini-2.5-flash-native-audio-preview-12-2025
realtime|api.x.ai|grok-voice-latest
realtime|Amazon|amazon.nova-2-sonic-v1:0
realtime|azure-voicelive|unknown
realtime|Ultravox|fixie-ai/ultravox
realtime|nvidia|personaplex-7b
realtime|livekit|openai/gpt-realtime
turn_detection|livekit|turn-detector-v1-mini
interruption|livekit|adaptive interruption
""".strip().splitlines()


def said_unpriced() -> dict[str, str]:
    """Reasons of `docs/unpriced.yaml`, by pair."""
    rows = yaml.safe_load((DOCS / "unpriced.yaml").read_text(encoding="utf-8"))
    assert all(row.keys() == {"stage", "provider", "model", "why"} for row in rows)
    reasons = {f"{row['stage']}|{row['provider']}|{row['model']}": row["why"] for row in rows}
    assert len(reasons) == len(rows)
    return reasons


REASONS = said_unpriced()


@pytest.mark.parametrize("pair", PAIRS)
def test_pair_is_priced_or_said_not_to_be(shipped: Catalogue, pair: str) -> None:
    """A pair has a price or a reason why it has none, never both and never neither."""
    stage, provider, model = pair.split("|")

    priced = shipped.find(stage, provider, model) is not None
    assert priced != bool(REASONS.get(pair))


def test_reasons_are_of_pairs() -> None:
    """A reason for a pair that nobody reports would never be looked at again."""
    assert set(REASONS) <= set(PAIRS)


def test_coverage_table_counts_the_catalogue(shipped: Catalogue) -> None:
    """The page's table of entries by provider and stage is the catalogue's."""
    counted: dict[str, Counter[str]] = {}
    for entry in shipped.entries.values():
        counted.setdefault(entry.provider, Counter())[entry.stage] += 1
    text = (DOCS / "prices.md").read_text(encoding="utf-8")

    for provider, stages in counted.items():
        cell = ", ".join(f"{stage} {number}" for stage, number in sorted(stages.items()))
        assert f"| {provider} | {cell} |" in text
