"""Speech-to-text that bills nothing, so that a call's bill is its models' and voices'."""

import asyncio
from contextlib import suppress
from typing import Final

from livekit.agents import APIConnectOptions, LanguageCode, NotGivenOr, stt, utils
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN

from livekit_exporter.demo.line import Line

_SECONDS_TO_SETTLE: Final = 0.2


class Ear(stt.STT[str]):
    """Hears what the line says."""

    def __init__(self, line: Line) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=True))
        self._line = line

    @property
    def model(self) -> str:
        """Placeholder name of the model."""
        return "ear"

    @property
    def provider(self) -> str:
        """Placeholder name of the provider."""
        return "nobody"

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
        return _Listening(self, self._line, conn_options)


class _Listening(stt.RecognizeStream):
    def __init__(self, ear: Ear, line: Line, conn_options: APIConnectOptions) -> None:
        super().__init__(stt=ear, conn_options=conn_options)
        self._line = line

    async def _run(self) -> None:
        understanding = asyncio.create_task(self._understand())
        try:
            async for _ in self._input_ch:
                pass
        finally:
            await utils.aio.cancel_and_wait(understanding)

    async def _understand(self) -> None:
        with suppress(utils.aio.ChanClosed):
            while True:
                heard = await self._line.heard.get()
                if heard.kind == "interim":
                    self._send(stt.SpeechEventType.INTERIM_TRANSCRIPT, heard.text)
                elif heard.kind == "final":
                    await self._line.sleep(_SECONDS_TO_SETTLE)
                    self._send(stt.SpeechEventType.FINAL_TRANSCRIPT, heard.text)

    def _send(self, kind: stt.SpeechEventType, text: str) -> None:
        self._event_ch.send_nowait(
            stt.SpeechEvent(
                type=kind,
                request_id=utils.shortuuid("ear_"),
                alternatives=[
                    stt.SpeechData(language=LanguageCode("en"), text=text, confidence=0.97)
                ],
            )
        )
