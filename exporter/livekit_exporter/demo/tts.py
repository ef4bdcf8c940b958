"""Simulated speech synthesis: one over a stream, as Cartesia, one request per sentence."""

from typing import Final

from livekit.agents import APIConnectOptions, tts, utils
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS

from livekit_exporter.demo.line import SAMPLE_RATE, Line, silence, speech_seconds
from livekit_exporter.demo.products import ELEVEN_TURBO, SONIC
from livekit_exporter.demo.truth import Quantities, Truth

_SECONDS_TO_FIRST_BYTE: Final = 0.2
_FASTER_THAN_SPEECH: Final = 4
_PIECE_SECONDS: Final = 0.5


class Sonic(tts.TTS[str]):
    """Takes text as it is written; reports when a reply is complete, and only then."""

    def __init__(self, line: Line, truth: Truth) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=True),
            sample_rate=SAMPLE_RATE,
            num_channels=1,
        )
        self._line = line
        self._truth = truth

    @property
    def model(self) -> str:
        """The model it pretends to be."""
        return SONIC.model

    @property
    def provider(self) -> str:
        """The provider it pretends to be."""
        return SONIC.provider

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """Speak a text that is there as a whole."""
        return self._synthesize_with_stream(text, conn_options=conn_options)

    def stream(
        self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.SynthesizeStream:
        """Speak a text while it is written."""
        return _SonicStream(self, self._line, self._truth, conn_options)


class _SonicStream(tts.SynthesizeStream):
    def __init__(
        self, voice: Sonic, line: Line, truth: Truth, conn_options: APIConnectOptions
    ) -> None:
        super().__init__(tts=voice, conn_options=conn_options)
        self._line = line
        self._truth = truth

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        request = utils.shortuuid("tts_")
        output_emitter.initialize(
            request_id=request,
            sample_rate=SAMPLE_RATE,
            num_channels=1,
            mime_type="audio/pcm",
            stream=True,
        )
        characters = 0
        async for text in self._input_ch:
            if not isinstance(text, str):
                continue
            if not characters:
                self._mark_started()
                output_emitter.start_segment(segment_id=request)
                await self._line.sleep(self._line.latency(_SECONDS_TO_FIRST_BYTE))
            characters += len(text)
            self._truth.reported(SONIC, request, Quantities(characters=characters))
            seconds = speech_seconds(text)
            output_emitter.push(silence(seconds))
            await self._line.sleep(seconds / _FASTER_THAN_SPEECH)
        if characters:
            output_emitter.end_segment()


class ElevenTurbo(tts.TTS[str]):
    """One request per sentence; LiveKit cuts the text."""

    def __init__(self, line: Line, truth: Truth) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False),
            sample_rate=SAMPLE_RATE,
            num_channels=1,
        )
        self._line = line
        self._truth = truth

    @property
    def model(self) -> str:
        """The model it pretends to be."""
        return ELEVEN_TURBO.model

    @property
    def provider(self) -> str:
        """The provider it pretends to be."""
        return ELEVEN_TURBO.provider

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """Speak one sentence."""
        return _ElevenTurboStream(self, self._line, self._truth, text, conn_options)


class _ElevenTurboStream(tts.ChunkedStream):
    def __init__(
        self,
        voice: ElevenTurbo,
        line: Line,
        truth: Truth,
        text: str,
        conn_options: APIConnectOptions,
    ) -> None:
        super().__init__(tts=voice, input_text=text, conn_options=conn_options)
        self._line = line
        self._truth = truth

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        request = utils.shortuuid("tts_")
        self._truth.reported(ELEVEN_TURBO, request, Quantities(characters=len(self._input_text)))
        output_emitter.initialize(
            request_id=request, sample_rate=SAMPLE_RATE, num_channels=1, mime_type="audio/pcm"
        )
        await self._line.sleep(self._line.latency(_SECONDS_TO_FIRST_BYTE))
        left = speech_seconds(self._input_text)
        while left > 0:
            output_emitter.push(silence(min(left, _PIECE_SECONDS)))
            await self._line.sleep(min(left, _PIECE_SECONDS) / _FASTER_THAN_SPEECH)
            left -= _PIECE_SECONDS
        output_emitter.flush()
