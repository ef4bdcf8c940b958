"""Simulated voice activity detection: it asks the line whether the caller speaks."""

import time
from typing import Final

from livekit import rtc
from livekit.agents import vad

from livekit_exporter.demo.line import Line

_INTERVAL_SECONDS: Final = 0.1
_SILENCE_SECONDS: Final = 0.25
"""Silence after which speech counts as ended."""


class SimulatedVAD(vad.VAD):
    """As quick and as sure as it gets; nobody bills for it."""

    def __init__(self, line: Line) -> None:
        super().__init__(capabilities=vad.VADCapabilities(update_interval=_INTERVAL_SECONDS))
        self._line = line

    @property
    def model(self) -> str:
        """The model it pretends to be."""
        return "silero"

    @property
    def provider(self) -> str:
        """The provider it pretends to be."""
        return "ONNX"

    def stream(self) -> vad.VADStream:
        """Listen to the line."""
        return _VADStream(self, self._line)


class _VADStream(vad.VADStream):
    def __init__(self, detector: SimulatedVAD, line: Line) -> None:
        super().__init__(detector)
        self._line = line
        self._reset()
        self._samples = 0

    def _reset(self) -> None:
        self._speech = 0.0
        self._silence = 0.0
        self._in_speech = False
        self._uninferred = 0.0
        self._frames: list[rtc.AudioFrame] = []

    async def _main_task(self) -> None:
        async for item in self._input_ch:
            if isinstance(item, rtc.AudioFrame):
                self._hear(item)
            else:
                self._reset()

    def _hear(self, frame: rtc.AudioFrame) -> None:
        self._samples += frame.samples_per_channel
        if self._line.speaking:
            self._speech += frame.duration
            self._silence = 0.0
        else:
            self._silence += frame.duration
        if self._line.speaking and not self._in_speech:
            self._in_speech = True
            self._send(vad.VADEventType.START_OF_SPEECH, [frame])
        if self._in_speech:
            self._frames.append(frame)
        self._uninferred += frame.duration
        # Sums of frame lengths are a hair off; half a frame decides.
        if self._uninferred > _INTERVAL_SECONDS - frame.duration / 2:
            self._uninferred = 0.0
            self._send(vad.VADEventType.INFERENCE_DONE, [frame])
        if self._in_speech and self._silence > _SILENCE_SECONDS - frame.duration / 2:
            self._send(vad.VADEventType.END_OF_SPEECH, self._frames)
            self._speech = 0.0
            self._in_speech = False
            self._frames = []

    def _send(self, kind: vad.VADEventType, frames: list[rtc.AudioFrame]) -> None:
        # LiveKit subtracts these from its clock, so they are real seconds.
        speech, silence = self._line.wall(self._speech), self._line.wall(self._silence)
        self._event_ch.send_nowait(
            vad.VADEvent(
                type=kind,
                samples_index=self._samples,
                timestamp=time.time(),
                speech_duration=speech,
                silence_duration=silence,
                frames=list(frames),
                probability=1.0 if self._line.speaking else 0.0,
                inference_duration=0.0005,
                speaking=self._in_speech,
                raw_accumulated_silence=silence,
                raw_accumulated_speech=speech if self._line.speaking else 0.0,
            )
        )
