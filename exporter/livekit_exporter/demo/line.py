"""The phone line: what the caller says reaches the agent, what the agent says is played.

Everything simulated takes its time from here, so that one factor makes a call quicker.
Audio keeps its simulated length: a call that is played five times as fast still has
the same seconds of speech in it.
"""

import asyncio
import math
import random
import time
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from livekit import rtc
from livekit.agents.voice import io

from livekit_exporter.demo.script import ScriptedTurn

SAMPLE_RATE: Final = 16_000
FRAME_SECONDS: Final = 0.05
_CHARACTERS_PER_SECOND: Final = 18

Utterance: TypeAlias = Literal["started", "interim", "final", "stopped"]


def speech_seconds(text: str) -> float:
    """Estimate the seconds that it takes to say a text."""
    return len(text) / _CHARACTERS_PER_SECOND


def silence(seconds: float) -> bytes:
    """Audio of a length: 16 bit, one channel; at least one sample."""
    return bytes(2 * max(1, round(seconds * SAMPLE_RATE)))


def frame(seconds: float) -> rtc.AudioFrame:
    """One frame of audio of a length."""
    data = silence(seconds)
    return rtc.AudioFrame(
        data=data, sample_rate=SAMPLE_RATE, num_channels=1, samples_per_channel=len(data) // 2
    )


@dataclass(frozen=True, slots=True)
class Heard:
    """Something that a listener on the line understands."""

    kind: Utterance
    text: str = ""


class Line:
    """State that the caller sets and the simulated providers follow.

    Args:
        greeting: How the call begins.
        rng: The call's own randomness.
        speed: How many simulated seconds pass in a second.
    """

    def __init__(self, greeting: ScriptedTurn, rng: random.Random, speed: float) -> None:
        self.speed = speed
        self.microphone = Microphone(self)
        self.speaker = Speaker(self)
        self.heard: asyncio.Queue[Heard] = asyncio.Queue()
        self.speaking = False
        """True while the caller speaks; voice activity detection reads it."""
        self.turn = greeting
        """Turn that the script has reached; the language model answers it."""
        self.failures_left = 0
        self.llm_delay = 0.0
        """Seconds that language models take longer to their first token."""
        self._rng = rng

    async def sleep(self, seconds: float) -> None:
        """Let simulated time pass."""
        await asyncio.sleep(seconds / self.speed)

    def wall(self, seconds: float) -> float:
        """Real seconds that these simulated seconds take."""
        return seconds / self.speed

    def latency(self, median: float, spread: float = 0.35) -> float:
        """A simulated latency in seconds: log-normal, so now and then a long one."""
        return self._rng.lognormvariate(math.log(median), spread)


class Microphone(io.AudioInput):
    """The caller's audio, frame by frame for as long as the call lasts."""

    def __init__(self, line: Line) -> None:
        super().__init__(label="microphone")
        self._line = line
        self._due = 0.0

    async def __anext__(self) -> rtc.AudioFrame:
        """The next frame, when it is due."""
        now = time.monotonic()
        self._due = max(now, self._due) + self._line.wall(FRAME_SECONDS)
        await asyncio.sleep(self._due - now)
        return frame(FRAME_SECONDS)


class Speaker(io.AudioOutput):
    """Plays what the agent says: nobody hears it, but it takes as long."""

    def __init__(self, line: Line) -> None:
        super().__init__(
            label="speaker",
            capabilities=io.AudioOutputCapabilities(pause=False),
            sample_rate=SAMPLE_RATE,
        )
        self._line = line
        self._started = 0.0
        self._seconds = 0.0
        self._end: asyncio.TimerHandle | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Take a frame; the first one starts the playback."""
        await super().capture_frame(frame)
        if not self._seconds:
            self._started = time.monotonic()
            self.on_playback_started(created_at=time.time())
        self._seconds += frame.duration

    def flush(self) -> None:
        """The segment is complete: it ends when all of it was played."""
        super().flush()
        if self._seconds:
            self._cancel_end()
            self._end = asyncio.get_running_loop().call_later(
                self._line.wall(self._seconds) - (time.monotonic() - self._started), self._finish
            )

    def clear_buffer(self) -> None:
        """Stop at once: the caller has interrupted."""
        if self._seconds:
            self._cancel_end()
            self._finish(interrupted=True)

    def _finish(self, *, interrupted: bool = False) -> None:
        played = (time.monotonic() - self._started) * self._line.speed
        position = min(played, self._seconds) if interrupted else self._seconds
        self._seconds = 0.0
        self._end = None
        self.on_playback_finished(playback_position=position, interrupted=interrupted)

    def _cancel_end(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None
