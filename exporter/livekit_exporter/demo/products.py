"""The models that the simulated providers pretend to be.

Names and providers are spelled as the real LiveKit plugins report them.
"""

from typing import Final, NamedTuple


class Product(NamedTuple):
    """Something that a provider bills for."""

    stage: str
    provider: str
    """As the plugin reports it: a host or a display name."""
    model: str


NOVA_3: Final = Product("stt", "Deepgram", "nova-3")
WHISPER: Final = Product("stt", "api.groq.com", "whisper-large-v3-turbo")
GPT_MINI: Final = Product("llm", "api.openai.com", "gpt-4.1-mini")
LLAMA: Final = Product("llm", "api.groq.com", "llama-3.3-70b-versatile")
SONIC: Final = Product("tts", "Cartesia", "sonic-3")
ELEVEN_TURBO: Final = Product("tts", "ElevenLabs", "eleven_turbo_v2_5")
GPT_REALTIME: Final = Product("realtime", "api.openai.com", "gpt-realtime")
