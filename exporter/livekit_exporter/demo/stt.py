"""Simulated speech-to-text: one that streams, as Deepgram does, and one that does not."""

import asyncio
from contextlib import suppress
from typing import Final

from livekit import rtc
from livekit.agents import APIConnectOptions, LanguageCode, NotGivenOr, stt, utils
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN

from livekit_exporter.demo.line import SAMPLE_RATE, Heard, Line
from livekit_exporter.demo.products import NOVA_3, WHISPER
from livekit_exporter.demo.truth import Quantities, Truth

_REPORT_SECONDS: Final = 5.0
_SECONDS_TO_CONNECT: Final = 0.06
_SECONDS_TO_SETTLE: Final = 0.3
"""Median time from the end of an utterance to its final transcript."""


def _event(kind: stt.SpeechEventType, text: str) -> stt.SpeechEvent:
    return stt.SpeechEvent(
        type=kind,
        request_id=utils.shortuuid("dg_"),
        alternatives=[stt.SpeechData(language=LanguageCode("en"), text=text, confidence=0.97)],
    )


class Nova3(stt.STT[str]):
    """Streams; reports audio in steps of five seconds and what is left at the end."""

    def __init__(self, line: Line, truth: Truth) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=True))
        self._line = line
        self._truth = truth

    @property
    def model(self) -> str:
        """The model it pretends to be."""
        return NOVA_3.model

    @property
    def provider(self) -> str:
        """The provider it pretends to be."""
        return NOVA_3.provider

    async def _recognize_impl(
        self,
        buffer: utils.AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        raise NotImplementedError("this one only streams")

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,  # noqa: ARG002  # everybody speaks English
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.RecognizeStream:
        """Listen to the line."""
        return _Nova3Stream(self, self._line, self._truth, conn_options)


class _Nova3Stream(stt.RecognizeStream):
    def __init__(
        self, ear: Nova3, line: Line, truth: Truth, conn_options: APIConnectOptions
    ) -> None:
        super().__init__(stt=ear, conn_options=conn_options)
        self._line = line
        self._truth = truth
        self._samples = 0

    async def _run(self) -> None:
        connect = self._line.latency(_SECONDS_TO_CONNECT)
        await self._line.sleep(connect)
        self._report_connection_acquired(self._line.wall(connect), connection_reused=False)
        understanding = asyncio.create_task(self._understand())
        try:
            async for item in self._input_ch:
                if isinstance(item, rtc.AudioFrame):
                    self._samples += item.samples_per_channel
                    if self._samples >= _REPORT_SECONDS * SAMPLE_RATE:
                        self._report()
        finally:
            self._report()
            await utils.aio.cancel_and_wait(understanding)

    async def _understand(self) -> None:
        while True:
            heard = await self._line.heard.get()
            if heard.kind == "interim":
                self._event_ch.send_nowait(
                    _event(stt.SpeechEventType.INTERIM_TRANSCRIPT, heard.text)
                )
            elif heard.kind == "final":
                await self._line.sleep(self._line.latency(_SECONDS_TO_SETTLE))
                self._event_ch.send_nowait(_event(stt.SpeechEventType.FINAL_TRANSCRIPT, heard.text))

    def _report(self) -> None:
        if not self._samples:
            return
        seconds = self._samples / SAMPLE_RATE
        request = utils.shortuuid("dg_")
        self._truth.reported(NOVA_3, request, Quantities(audio_seconds=seconds))
        self._event_ch.send_nowait(
            stt.SpeechEvent(
                type=stt.SpeechEventType.RECOGNITION_USAGE,
                request_id=request,
                recognition_usage=stt.RecognitionUsage(audio_duration=seconds),
            )
        )
        self._samples = 0


class Whisper(stt.STT[str]):
    """Gets an utterance as a whole; LiveKit cuts the audio with voice activity detection."""

    def __init__(self, line: Line, truth: Truth) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))
        self._line = line
        self._truth = truth

    @property
    def model(self) -> str:
        """The model it pretends to be."""
        return WHISPER.model

    @property
    def provider(self) -> str:
        """The provider it pretends to be."""
        return WHISPER.provider

    async def _recognize_impl(
        self,
        buffer: utils.AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,  # noqa: ARG002  # everybody speaks English
        conn_options: APIConnectOptions,  # noqa: ARG002  # there is no connection
    ) -> stt.SpeechEvent:
        await self._line.sleep(self._line.latency(_SECONDS_TO_SETTLE))
        frames = buffer if isinstance(buffer, list) else [buffer]
        seconds = sum(item.samples_per_channel / item.sample_rate for item in frames)
        event = _event(stt.SpeechEventType.FINAL_TRANSCRIPT, self._everything_heard())
        self._truth.reported(WHISPER, event.request_id, Quantities(audio_seconds=seconds))
        return event

    def _everything_heard(self) -> str:
        parts: list[str] = []
        with suppress(asyncio.QueueEmpty):
            while True:
                heard: Heard = self._line.heard.get_nowait()
                if heard.kind == "final":
                    parts.append(heard.text)
        return " ".join(parts)
