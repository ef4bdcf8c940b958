"""Records and journals as an agent writes them, for tests of what reads them."""

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from livekit_exporter import files
from livekit_exporter.record import (
    MessageAdded,
    Model,
    Record,
    SessionClosed,
    SessionStarted,
    TurnCommitted,
    Usage,
    UsageReported,
    to_line,
)

AT: Final = 1_795_000_000.0
"""A moment in November 2026."""

LLM: Final = Model(stage="llm", provider="api.openai.com", model="gpt-4.1-mini")
TTS: Final = Model(stage="tts", provider="Cartesia", model="sonic-3")
STT: Final = Model(stage="stt", provider="Deepgram", model="nova-3")


def started(session: str = "s1", *, at: float = AT, agent: str = "support") -> SessionStarted:
    """The first record of a call."""
    return SessionStarted(session=session, at=at, agent=agent, models=(STT, LLM, TTS))


def asked(session: str = "s1", *, at: float = AT + 1) -> MessageAdded:
    """Something that the user said."""
    return MessageAdded(session=session, at=at, role="user", characters=20)


def answered(
    session: str = "s1",
    *,
    at: float = AT + 3,
    speech: str | None = "speech-1",
    latency: float | None = 0.9,
    interrupted: bool = False,
    measured: bool = True,
) -> MessageAdded:
    """Something that the agent said."""
    return MessageAdded(
        session=session,
        at=at,
        role="assistant",
        speech=speech,
        characters=40,
        latency_seconds=latency,
        interrupted=interrupted,
        measured=measured,
    )


def committed(
    session: str = "s1",
    *,
    at: float = AT + 1,
    speech: str | None = "speech-1",
    delay: float | None = 0.3,
) -> TurnCommitted:
    """The decision that the user's turn is over."""
    return TurnCommitted(
        session=session,
        at=at,
        provider="livekit",
        model="multilingual",
        speech=speech,
        eou_delay_seconds=delay,
        transcription_delay_seconds=delay,
    )


def thought(
    session: str = "s1",
    *,
    at: float = AT + 2,
    speech: str | None = "speech-1",
    model: str = LLM.model,
    provider: str = LLM.provider,
    tokens: int = 100,
    first: float | None = 0.4,
    cancelled: bool = False,
) -> UsageReported:
    """A request to a language model."""
    return UsageReported(
        session=session,
        at=at,
        stage="llm",
        provider=provider,
        model=model,
        speech=speech,
        cancelled=cancelled,
        usage=Usage(input_tokens=10 * tokens, output_tokens=tokens, total_tokens=11 * tokens),
        first_seconds=first,
        request_seconds=None if cancelled else 1.1,
        tokens_per_second=None if cancelled else 80.0,
    )


def spoken(
    session: str = "s1",
    *,
    at: float = AT + 2.5,
    speech: str | None = "speech-1",
    characters: int = 40,
) -> UsageReported:
    """A request to speech synthesis."""
    return UsageReported(
        session=session,
        at=at,
        stage="tts",
        provider=TTS.provider,
        model=TTS.model,
        speech=speech,
        usage=Usage(characters=characters, audio_seconds=2.5),
        first_seconds=0.2,
        request_seconds=0.9,
    )


def heard(session: str = "s1", *, at: float = AT + 1, seconds: float = 5.0) -> UsageReported:
    """A usage report of a speech-to-text stream."""
    return UsageReported(
        session=session,
        at=at,
        stage="stt",
        provider=STT.provider,
        model=STT.model,
        streamed=True,
        usage=Usage(audio_seconds=seconds),
    )


def closed(
    session: str = "s1", *, at: float = AT + 60, reason: str = "user_initiated"
) -> SessionClosed:
    """The last record of a call that ended well."""
    return SessionClosed(session=session, at=at, reason=reason)


def call(session: str = "s1", *, agent: str = "support") -> list[Record]:
    """A whole call with one answered question."""
    return [
        started(session, agent=agent),
        heard(session),
        committed(session),
        asked(session),
        thought(session),
        spoken(session),
        answered(session),
        closed(session),
    ]


class Writer:
    """Holds a journal open and locked, as an agent does, and writes bytes as they are.

    Args:
        data_dir: The data directory.
        name: The journal's name without its ending.
    """

    def __init__(self, data_dir: Path, name: str = "s1-aa") -> None:
        folder = files.journals(data_dir)
        files.make(folder)
        self.path = folder / f"{name}.jsonl"
        hidden = folder / f".{name}.tmp"
        self._descriptor = os.open(hidden, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        hidden.rename(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        """Append."""
        while data:
            data = data[os.write(self._descriptor, data) :]

    def put(self, *records: Record) -> None:
        """Append records in one write."""
        self.write(b"".join(map(to_line, records)))

    def close(self) -> None:
        """Let go of the journal, as the system does when a process ends."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def write_journal(data_dir: Path, records: Iterable[Record], name: str = "s1-aa") -> Path:
    """A finished journal: nobody writes it any more."""
    with Writer(data_dir, name) as journal:
        journal.put(*records)
    return journal.path
