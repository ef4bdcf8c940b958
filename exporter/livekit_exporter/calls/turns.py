"""The definition of a turn, user speech and its answer, for agent and sidecar.

A turn costs what its reply cost, and what was used since the answer before without
belonging to a reply, such as speech-to-text.  It is over when the next answer begins,
or the call is over: until then tools may make its reply longer.
"""

from dataclasses import dataclass
from typing import Final

from livekit_exporter.record import MessageAdded, TurnCommitted, UsageReported

LONGEST_LATENCY_SECONDS: Final = 60.0
"""A longer latency is a clock error: callers have hung up by then."""


def plausible(seconds: float | None) -> float | None:
    """A latency, `None` where it is none."""
    if seconds is None or not 0 <= seconds <= LONGEST_LATENCY_SECONDS:
        return None
    return seconds


def speech_of(message: MessageAdded, turns: int) -> str:
    """Speech id of a message, or a name for the turn where the SDK gives none.

    Args:
        message: Something that the agent said.
        turns: Turns answered so far.
    """
    return message.speech or f"turn-{turns + 1}"


@dataclass(slots=True)
class Conversation:
    """State of a call between question and answer.

    Args:
        waiting: The user said something that nobody has answered yet.
        answered: Speech id of the last answer; a reply with a tool call in the middle
            is several messages under one speech id, and one turn.
    """

    waiting: bool = False
    answered: str | None = None

    def hear(self, message: MessageAdded) -> bool:
        """Take a message in; `True` when it is the first message of an answer.

        A greeting or an announcement answers nobody.  A realtime model may answer
        speech that was never transcribed, so its replies count without a question.
        """
        if message.role == "user":
            # LiveKit may add an empty user message while a session closes.
            self.waiting = self.waiting or message.characters > 0
            return False
        expected = self.waiting or message.latency_seconds is not None or bool(message.requests)
        if not expected or (message.speech is not None and message.speech == self.answered):
            return False
        self.waiting = False
        self.answered = message.speech
        return True


@dataclass(kw_only=True)
class Reply:
    """One reply of the agent; a turn when it answers the user.

    Durations are seconds, `None` where none was measured.

    Args:
        speech: LiveKit's speech id.
        at: Unix time of its first record.
        derived: Its latency is the sum of its parts, because the SDK measured none.
        committed: It belongs to an utterance that was decided to be over.
        spoken: A message of it entered the conversation.
        answered: That message answered the user.
        characters: Length of its messages, of which more may be written than was heard.
        spoken_seconds: How long it was heard.
    """

    speech: str
    at: float
    persona: str | None = None
    eou_delay_seconds: float | None = None
    transcription_delay_seconds: float | None = None
    callback_seconds: float | None = None
    first_token_seconds: float | None = None
    first_byte_seconds: float | None = None
    latency_seconds: float | None = None
    derived: bool = False
    committed: bool = False
    spoken: bool = False
    answered: bool = False
    interrupted: bool = False
    tool_calls: int = 0
    characters: int = 0
    spoken_seconds: float | None = None

    def use(self, usage: UsageReported) -> None:
        """A provider request for it ended."""
        self.persona = usage.persona or self.persona
        first = plausible(usage.first_seconds)
        if usage.stage in ("llm", "realtime") and self.first_token_seconds is None:
            self.first_token_seconds = first
        elif usage.stage == "tts" and self.first_byte_seconds is None:
            self.first_byte_seconds = first

    def commit(self, turn: TurnCommitted) -> None:
        """The user's utterance that it answers was decided to be over."""
        self.persona = turn.persona or self.persona
        self.committed = True
        self.eou_delay_seconds = plausible(turn.eou_delay_seconds)
        self.transcription_delay_seconds = plausible(turn.transcription_delay_seconds)
        self.callback_seconds = plausible(turn.callback_seconds)

    def answer(self, message: MessageAdded) -> float | None:
        """Its first message answered the user.

        Returns:
            The silence before it as it was reported, or else the sum of its parts.
        """
        self.answered = True
        seconds = message.latency_seconds
        if seconds is None and not message.measured:
            parts = (self.eou_delay_seconds, self.first_token_seconds, self.first_byte_seconds)
            known = [part for part in parts if part is not None]
            seconds = sum(known) if len(known) == len(parts) else None
            self.derived = seconds is not None
        self.latency_seconds = plausible(seconds)
        return seconds

    def say(self, message: MessageAdded) -> bool:
        """A message of it was spoken; `True` when the user talked over an answer with it."""
        self.persona = message.persona or self.persona
        self.characters += message.characters
        if message.spoken_seconds is not None:
            self.spoken_seconds = (self.spoken_seconds or 0.0) + message.spoken_seconds
        self.spoken = True
        talked_over = message.interrupted and self.answered and not self.interrupted
        self.interrupted = self.interrupted or message.interrupted
        return talked_over
