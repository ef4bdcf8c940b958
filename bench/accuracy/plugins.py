"""LiveKit's own plugins, unmodified, against stand-ins of their vendors.

Plugins built on the SDK of OpenAI or Anthropic name the host that they speak to, so the
clients they are given believe in the real one and are led to loopback below that.
"""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import aiohttp
import anthropic as anthropic_sdk
import httpx2
import openai as openai_sdk
from aiohttp.abc import AbstractResolver, ResolveResult
from google.genai import types
from livekit.plugins import anthropic, cartesia, deepgram, elevenlabs, google, groq, openai

from bench.accuracy.bills import GPT, GPT_MINI, SONIC, Product
from bench.accuracy.call import Cast, Providers, Stage
from bench.accuracy.script import Outcome, Scenario
from bench.accuracy.simulated import SimulatedVoice
from bench.accuracy.standins import (
    anthropic_messages,
    cartesia_voice,
    deepgram_voice,
    elevenlabs_voice,
    gemini,
    openai_chat,
    openai_responses,
    openai_voice,
)
from bench.accuracy.standins.served import served
from bench.accuracy.standins.voice import Voice
from bench.accuracy.vendor import Vendor

if TYPE_CHECKING:
    from livekit.agents import llm, tts

_KEY: Final = "unused"

LLAMA: Final = Product("llm", "api.groq.com", "llama-3.3-70b-versatile")
SMALL_LLAMA: Final = Product("llm", "api.groq.com", "llama-3.1-8b-instant")
SONNET: Final = Product("llm", "api.anthropic.com", "claude-sonnet-4-6")
HAIKU: Final = Product("llm", "api.anthropic.com", "claude-haiku-4-5")
FLASH: Final = Product("llm", "Gemini", "gemini-2.5-flash")
FLASH_LITE: Final = Product("llm", "Gemini", "gemini-2.5-flash-lite")
TTS_1: Final = Product("tts", "api.openai.com", "tts-1")
AURA: Final = Product("tts", "Deepgram", "aura-2-andromeda-en")
TURBO: Final = Product("tts", "ElevenLabs", "eleven_turbo_v2_5")

_Models: TypeAlias = tuple["llm.LLM[Any]", "llm.LLM[Any]"]
_MakeModels: TypeAlias = Callable[[Stage, AsyncExitStack], Awaitable[_Models]]
_MakeVoice: TypeAlias = Callable[[Stage, AsyncExitStack], Awaitable["tts.TTS[Any]"]]


class _Loopback(httpx2.AsyncHTTPTransport):
    """Leads every request to a port of this machine."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        return await super().handle_async_request(request)


class _Here(AbstractResolver):
    """Says of every host that it is this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        """Do nothing: no resource is open."""


def _vendors(stage: Stage, first: Product, second: Product, *, caches: bool) -> dict[str, Vendor]:
    """Two models of one vendor; the script's faults are the first one's."""
    return {
        product.model: Vendor(
            product,
            stage.script,
            stage.books,
            stage.line,
            may_fail=product is first,
            caches=caches,
        )
        for product in (first, second)
    }


async def _http(stack: AsyncExitStack, port: int) -> httpx2.AsyncClient:
    return await stack.enter_async_context(
        httpx2.AsyncClient(transport=_Loopback(port), timeout=httpx2.Timeout(5.0))
    )


async def _openai_client(stack: AsyncExitStack, port: int, base_url: str) -> openai_sdk.AsyncClient:
    # Retries are LiveKit's; its plugins tell their own clients the same.
    return openai_sdk.AsyncClient(
        api_key=_KEY, base_url=base_url, max_retries=0, http_client=await _http(stack, port)
    )


async def _openai(stage: Stage, stack: AsyncExitStack) -> _Models:
    vendors = _vendors(stage, GPT_MINI, GPT, caches=True)
    port = await stack.enter_async_context(served(openai_chat.routes(vendors)))
    client = await _openai_client(stack, port, "https://api.openai.com/v1")
    return (
        openai.LLM(model=GPT_MINI.model, client=client),
        openai.LLM(model=GPT.model, client=client),
    )


async def _responses(stage: Stage, stack: AsyncExitStack) -> _Models:
    vendors = _vendors(stage, GPT_MINI, GPT, caches=True)
    port = await stack.enter_async_context(served(openai_responses.routes(vendors)))
    session = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=_Here()))
    )

    def model(product: Product) -> "llm.LLM[Any]":
        # Without TLS the port has to be said; the ledger drops it from the provider's name.
        # Any: the type is known only where the plugins are installed.
        made: Any = openai.responses.LLM(
            model=product.model, api_key=_KEY, base_url=f"http://api.openai.com:{port}/v1/responses"
        )
        # It takes no session, and its own would ask the real name server.
        assert made._ws is not None  # noqa: SLF001
        made._ws._session = session  # noqa: SLF001
        whole: llm.LLM[Any] = made
        return whole

    return model(GPT_MINI), model(GPT)


async def _groq(stage: Stage, stack: AsyncExitStack) -> _Models:
    vendors = _vendors(stage, LLAMA, SMALL_LLAMA, caches=False)
    port = await stack.enter_async_context(served(openai_chat.routes(vendors, "/openai/v1")))
    client = await _openai_client(stack, port, "https://api.groq.com/openai/v1")
    return (
        groq.LLM(model=LLAMA.model, api_key=_KEY, client=client),
        groq.LLM(model=SMALL_LLAMA.model, api_key=_KEY, client=client),
    )


async def _anthropic(stage: Stage, stack: AsyncExitStack) -> _Models:
    vendors = _vendors(stage, SONNET, HAIKU, caches=False)
    port = await stack.enter_async_context(served(anthropic_messages.routes(vendors)))
    client = anthropic_sdk.AsyncClient(
        api_key=_KEY, max_retries=0, http_client=await _http(stack, port)
    )
    return (
        anthropic.LLM(model=SONNET.model, api_key=_KEY, client=client),
        anthropic.LLM(model=HAIKU.model, api_key=_KEY, client=client),
    )


async def _gemini(stage: Stage, stack: AsyncExitStack) -> _Models:
    vendors = _vendors(stage, FLASH, FLASH_LITE, caches=False)
    port = await stack.enter_async_context(served(gemini.routes(vendors)))
    where = types.HttpOptions(base_url=f"http://127.0.0.1:{port}")
    return (
        google.LLM(model=FLASH.model, api_key=_KEY, http_options=where),
        google.LLM(model=FLASH_LITE.model, api_key=_KEY, http_options=where),
    )


async def _tts_1(stage: Stage, stack: AsyncExitStack) -> "tts.TTS[Any]":
    voice = Voice(TTS_1, stage.books, stage.line)
    port = await stack.enter_async_context(served(openai_voice.routes(voice)))
    client = await _openai_client(stack, port, "https://api.openai.com/v1")
    made: tts.TTS[Any] = openai.TTS(model=TTS_1.model, client=client, response_format="pcm")
    return made


async def _cartesia(stage: Stage, stack: AsyncExitStack) -> "tts.TTS[Any]":
    voice = Voice(SONIC, stage.books, stage.line)
    port = await stack.enter_async_context(served(cartesia_voice.routes(voice)))
    made: tts.TTS[Any] = cartesia.TTS(
        api_key=_KEY,
        base_url=f"http://127.0.0.1:{port}",
        http_session=await stack.enter_async_context(aiohttp.ClientSession()),
    )
    return made


async def _simulated(stage: Stage, _: AsyncExitStack) -> "tts.TTS[Any]":
    return SimulatedVoice(SONIC, stage.books, stage.line, sentences=False)


async def _deepgram(stage: Stage, stack: AsyncExitStack) -> "tts.TTS[Any]":
    voice = Voice(AURA, stage.books, stage.line)
    port = await stack.enter_async_context(served(deepgram_voice.routes(voice)))
    made: tts.TTS[Any] = deepgram.TTS(
        api_key=_KEY,
        base_url=f"http://127.0.0.1:{port}/v1/speak",
        http_session=await stack.enter_async_context(aiohttp.ClientSession()),
    )
    return made


async def _elevenlabs(stage: Stage, stack: AsyncExitStack) -> "tts.TTS[Any]":
    voice = Voice(TURBO, stage.books, stage.line)
    port = await stack.enter_async_context(served(elevenlabs_voice.routes(voice)))
    made: tts.TTS[Any] = elevenlabs.TTS(
        api_key=_KEY,
        base_url=f"http://127.0.0.1:{port}/v1",
        encoding="pcm_24000",
        http_session=await stack.enter_async_context(aiohttp.ClientSession()),
    )
    return made


def _cast(models: _MakeModels, voice: _MakeVoice) -> Cast:
    @asynccontextmanager
    async def cast(stage: Stage) -> AsyncIterator[Providers]:
        async with AsyncExitStack() as stack:
            made = await models(stage, stack)
            speaks = await voice(stage, stack)
            for part in (*made, speaks):
                stack.push_async_callback(part.aclose)
            yield Providers(models=made, voice=speaks)

    return cast


def scripted(scenario: Scenario, cast: str) -> Scenario | None:
    """A scenario as it goes with the plugins of a cast; `None` where it cannot happen.

    OpenAI's responses over a websocket: a connection that a cut reply came over is closed when
    the next request needs one; a drop is followed by another attempt, whatever was said
    already, and an error by none; a fallback adapter's patience is not asked for, so that it
    never gives up on a model that is silent.
    """
    if not cast.startswith(RESPONSES):
        return scenario
    if scenario.fallback:
        return None
    requests = _RESPONSES_REQUESTS.get(scenario.name) or tuple(
        "left" if outcome in ("cut", "unsaid") else outcome for outcome in scenario.requests
    )
    return replace(scenario, requests=requests)


RESPONSES: Final = "openai responses"
_RESPONSES_REQUESTS: Final[Mapping[str, tuple[Outcome, ...]]] = {
    "drop in reply": ("complete", "dropped", "complete", "complete"),
    "refused, retried": ("complete", "complete"),
}

CASTS: Final[Mapping[str, Cast]] = {
    "openai + cartesia": _cast(_openai, _cartesia),
    f"{RESPONSES} + simulated": _cast(_responses, _simulated),
    "groq + openai": _cast(_groq, _tts_1),
    "anthropic + deepgram": _cast(_anthropic, _deepgram),
    "google + elevenlabs": _cast(_gemini, _elevenlabs),
}
"""Who writes and who speaks, by the names of their plugins."""
