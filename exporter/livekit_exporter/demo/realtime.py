"""Simulated speech-to-speech model: it hears for itself when the caller has finished."""

import asyncio
import time
from typing import Final, Literal

from livekit import rtc
from livekit.agents import NotGivenOr, llm, metrics, utils
from livekit.agents.metrics.base import Metadata
from livekit.agents.types import NOT_GIVEN

from livekit_exporter.demo.line import Line, frame, speech_seconds
from livekit_exporter.demo.products import GPT_REALTIME
from livekit_exporter.demo.truth import Quantities, Truth

_SECONDS_TO_CONNECT: Final = 0.15
_SECONDS_TO_DECIDE: Final = 0.35
"""Silence after which the server takes a turn as ended."""
_SECONDS_TO_FIRST_AUDIO: Final = 0.45
_FASTER_THAN_SPEECH: Final = 4
_INSTRUCTION_TOKENS: Final = 640
_INPUT_TOKENS_PER_SECOND: Final = 10
_OUTPUT_TOKENS_PER_SECOND: Final = 20
_CHARACTERS_PER_TOKEN: Final = 4


class GptRealtime(llm.RealtimeModel):
    """Audio in, audio out; detects turns on the server's side."""

    def __init__(self, line: Line, truth: Truth) -> None:
        super().__init__(
            capabilities=llm.RealtimeCapabilities(
                message_truncation=True,
                turn_detection=True,
                user_transcription=True,
                auto_tool_reply_generation=False,
                audio_output=True,
                manual_function_calls=False,
            )
        )
        self.line = line
        self.truth = truth

    @property
    def model(self) -> str:
        """The model it pretends to be."""
        return GPT_REALTIME.model

    @property
    def provider(self) -> str:
        """The provider it pretends to be."""
        return GPT_REALTIME.provider

    def session(
        self,
        *,
        turn_detection_disabled: bool = False,  # noqa: ARG002  # it always detects turns
    ) -> llm.RealtimeSession[str]:
        """Open a conversation."""
        return _Conversation(self)

    async def aclose(self) -> None:
        """Nothing is kept open between conversations."""


class _Response:
    """One answer on its way: what LiveKit plays, and what it has used."""

    def __init__(self) -> None:
        self.id = utils.shortuuid("resp_")
        self.started = time.time()
        self.first_audio: float | None = None
        self.said = 0.0
        """Seconds of speech made so far."""
        self.written = 0
        """Characters of its transcript so far."""
        self._messages = utils.aio.Chan[llm.MessageGeneration]()
        self._calls = utils.aio.Chan[llm.FunctionCall]()
        self._text = utils.aio.Chan[str]()
        self._audio = utils.aio.Chan[rtc.AudioFrame]()
        modalities = asyncio.get_running_loop().create_future()
        modalities.set_result(["text", "audio"])
        self._messages.send_nowait(
            llm.MessageGeneration(
                message_id=utils.shortuuid("item_"),
                text_stream=self._text,
                audio_stream=self._audio,
                modalities=modalities,
            )
        )

    def event(self, *, asked_for: bool) -> llm.GenerationCreatedEvent:
        """Metrics that LiveKit gets about a response."""
        return llm.GenerationCreatedEvent(
            message_stream=self._messages,
            function_stream=self._calls,
            user_initiated=asked_for,
            response_id=self.id,
        )

    def say(self, word: str) -> float:
        """Add a word; returns its length in seconds."""
        seconds = speech_seconds(word)
        self.first_audio = self.first_audio or time.time()
        self.said += seconds
        self.written += len(word)
        self._text.send_nowait(word)
        self._audio.send_nowait(frame(seconds))
        return seconds

    def end(self) -> None:
        """Nothing more will come."""
        for channel in (self._text, self._audio, self._calls, self._messages):
            channel.close()


class _Conversation(llm.RealtimeSession[str]):
    def __init__(self, model: GptRealtime) -> None:
        super().__init__(model)
        self._model = model
        self.line = model.line
        self._chat_ctx = llm.ChatContext.empty()
        self._tools = llm.ToolContext.empty()
        self._answering: asyncio.Task[None] | None = None
        self._heard_tokens = 0
        self._spoken_tokens = 0
        self._cached_audio = 0
        self._listening = asyncio.create_task(self._listen())

    @property
    def chat_ctx(self) -> llm.ChatContext:
        """The conversation as the server knows it."""
        return self._chat_ctx

    @property
    def tools(self) -> llm.ToolContext:
        """Tools that the model may call; the demo's scripts call none."""
        return self._tools

    async def update_instructions(self, instructions: str) -> None:
        """Accept instructions; the script answers all the same."""

    async def update_chat_ctx(self, chat_ctx: llm.ChatContext) -> None:
        """Take over a changed conversation."""
        self._chat_ctx = chat_ctx.copy()

    async def update_tools(self, tools: list[llm.Tool]) -> None:
        """Take over the agent's tools."""
        self._tools = llm.ToolContext(tools)

    def update_options(self, *, tool_choice: NotGivenOr[llm.ToolChoice | None] = NOT_GIVEN) -> None:
        """Accept options; the script chooses."""

    def push_audio(self, frame: rtc.AudioFrame) -> None:
        """Take the caller's audio; billed is what the caller says, not the silence."""

    def push_video(self, frame: rtc.VideoFrame) -> None:
        """Nobody shows a picture."""

    def generate_reply(
        self,
        *,
        instructions: NotGivenOr[str] = NOT_GIVEN,  # noqa: ARG002  # the script answers
        tool_choice: NotGivenOr[llm.ToolChoice] = NOT_GIVEN,  # noqa: ARG002  # no tools
        tools: NotGivenOr[list[llm.Tool]] = NOT_GIVEN,  # noqa: ARG002  # no tools
    ) -> asyncio.Future[llm.GenerationCreatedEvent]:
        """Speak without having been spoken to."""
        created = asyncio.get_running_loop().create_future()
        created.set_result(self._answer().event(asked_for=True))
        return created

    def commit_audio(self) -> None:
        """The server decides where a turn ends."""

    def clear_audio(self) -> None:
        """No audio is kept."""

    def interrupt(self) -> None:
        """Stop the answer that is being made."""
        if self._answering is not None:
            self._answering.cancel()

    def truncate(
        self,
        *,
        message_id: str,
        modalities: list[Literal["text", "audio"]],
        audio_end_ms: int,
        audio_transcript: NotGivenOr[str] = NOT_GIVEN,
    ) -> None:
        """Forget what the caller did not hear; the bill stays."""

    async def aclose(self) -> None:
        """Hang up; an answer that is being made is reported first."""
        await utils.aio.cancel_and_wait(self._listening)
        if self._answering is not None:
            await utils.aio.cancel_and_wait(self._answering)

    async def _listen(self) -> None:
        connect = self.line.latency(_SECONDS_TO_CONNECT)
        await self.line.sleep(connect)
        self._report_connection_acquired(self.line.wall(connect))
        understood = ""
        while True:
            heard = await self.line.heard.get()
            if heard.kind == "started":
                self.emit("input_speech_started", llm.InputSpeechStartedEvent())
            elif heard.kind == "final":
                understood = heard.text
            elif heard.kind == "stopped":
                await self.line.sleep(_SECONDS_TO_DECIDE)
                self.take_turn(understood)

    def take_turn(self, said: str) -> None:
        self._heard_tokens += round(speech_seconds(said) * _INPUT_TOKENS_PER_SECOND)
        self.emit(
            "input_speech_stopped", llm.InputSpeechStoppedEvent(user_transcription_enabled=True)
        )
        self.emit(
            "input_audio_transcription_completed",
            llm.InputTranscriptionCompleted(
                item_id=utils.shortuuid("item_"), transcript=said, is_final=True
            ),
        )
        self.emit("generation_created", self._answer().event(asked_for=False))

    def _answer(self) -> _Response:
        self.interrupt()
        response = _Response()
        self._answering = asyncio.create_task(self._speak(response))
        return response

    async def _speak(self, response: _Response) -> None:
        cancelled = True
        try:
            await self.line.sleep(self.line.latency(_SECONDS_TO_FIRST_AUDIO))
            for word in self.line.turn.reply.split():
                await self.line.sleep(response.say(f"{word} ") / _FASTER_THAN_SPEECH)
            cancelled = False
        finally:
            response.end()
            self._report(response, cancelled=cancelled)

    def _report(self, response: _Response, *, cancelled: bool) -> None:
        """Usage as OpenAI sends it with `response.done`, for an interrupted answer too."""
        audio_in = self._heard_tokens + self._spoken_tokens
        audio_out = round(response.said * _OUTPUT_TOKENS_PER_SECOND)
        used = Quantities(
            input_tokens=_INSTRUCTION_TOKENS + audio_in,
            input_audio_tokens=audio_in,
            cached_input_tokens=(_INSTRUCTION_TOKENS + self._cached_audio)
            if self._cached_audio
            else 0,
            cached_audio_tokens=self._cached_audio,
            output_tokens=audio_out + response.written // _CHARACTERS_PER_TOKEN,
            output_audio_tokens=audio_out,
        )
        self._cached_audio = audio_in
        self._spoken_tokens += audio_out
        self._model.truth.reported(GPT_REALTIME, response.id, used)
        duration = time.time() - response.started
        self.emit(
            "metrics_collected",
            metrics.RealtimeModelMetrics(
                label=self._model.label,
                request_id=response.id,
                timestamp=response.started,
                duration=duration,
                ttft=response.first_audio - response.started if response.first_audio else -1,
                cancelled=cancelled,
                input_tokens=used.input_tokens,
                output_tokens=used.output_tokens,
                total_tokens=used.input_tokens + used.output_tokens,
                tokens_per_second=used.output_tokens / duration if duration else 0.0,
                input_token_details=metrics.RealtimeModelMetrics.InputTokenDetails(
                    audio_tokens=used.input_audio_tokens,
                    text_tokens=used.input_tokens - used.input_audio_tokens,
                    cached_tokens=used.cached_input_tokens,
                    cached_tokens_details=metrics.RealtimeModelMetrics.CachedTokenDetails(
                        audio_tokens=used.cached_audio_tokens,
                        text_tokens=used.cached_input_tokens - used.cached_audio_tokens,
                    ),
                ),
                output_token_details=metrics.RealtimeModelMetrics.OutputTokenDetails(
                    audio_tokens=used.output_audio_tokens,
                    text_tokens=used.output_tokens - used.output_audio_tokens,
                ),
                metadata=Metadata(
                    model_name=GPT_REALTIME.model, model_provider=GPT_REALTIME.provider
                ),
            ),
        )
