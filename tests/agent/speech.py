"""Small real components for AgentSessions without a network: a language model and an STT."""

from __future__ import annotations

from typing import Any

from livekit.agents import llm, stt
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, APIConnectOptions


class ScriptedLLM(llm.LLM[Any]):
    """Answers every question with the same words and reports fixed usage."""

    def __init__(self, model: str = "gpt-4.1-mini", provider: str = "api.openai.com") -> None:
        super().__init__()
        self._model_name, self._provider_name = model, provider

    @property
    def model(self) -> str:
        return self._model_name

    @property
    def provider(self) -> str:
        return self._provider_name

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        **_options: object,
    ) -> llm.LLMStream:
        return _Answer(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class _Answer(llm.LLMStream):
    async def _run(self) -> None:
        delta = llm.ChoiceDelta(role="assistant", content="Certainly.")
        self._event_ch.send_nowait(llm.ChatChunk(id="req-1", delta=delta))
        usage = llm.CompletionUsage(
            completion_tokens=100, prompt_tokens=1000, prompt_cached_tokens=400, total_tokens=1100
        )
        self._event_ch.send_nowait(llm.ChatChunk(id="req-1", usage=usage))


class SilentSTT(stt.STT[Any]):
    """Hears nothing; tests emit its metrics themselves."""

    def __init__(self) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=False))

    @property
    def model(self) -> str:
        return "nova-3"

    @property
    def provider(self) -> str:
        return "Deepgram"

    async def _recognize_impl(
        self, buffer: object, *, language: object = NOT_GIVEN, conn_options: object = None
    ) -> stt.SpeechEvent:
        raise NotImplementedError

    def stream(
        self, *, language: object = NOT_GIVEN, conn_options: object = None
    ) -> stt.RecognizeStream:
        raise NotImplementedError
