"""Journals of finished calls, as the collector would have written them."""

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

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

RECORDS_PER_CALL: Final = 44
"""Seven turns: a beginning, six records a turn, an end."""

_SESSION: Final = "0" * 16
_AGENTS: Final = ("reception", "support", "sales", "dispatch", "survey")
_STT: Final = Model(stage="stt", provider="Deepgram", model="nova-3")
_LLMS: Final = (
    Model(stage="llm", provider="api.openai.com", model="gpt-4o-mini"),
    Model(stage="llm", provider="Anthropic", model="claude-haiku-4-5"),
)
_TTS: Final = Model(stage="tts", provider="Cartesia", model="sonic-2")


def write(root: Path, journals: int, records: int) -> None:
    """Write the journals of ended calls, which no process holds any more.

    Args:
        root: A data directory.
        journals: Number of calls.
        records: Records in all, in equal parts; at least two a call.
    """
    directory = files.journals(root)
    files.make(directory)
    each, longer = divmod(records, journals)
    templates: dict[tuple[int, int], bytes] = {}
    for number in range(journals):
        # Encoding a million records would take longer than reading them.
        kind = (number % (len(_AGENTS) * len(_LLMS)), each + (number < longer))
        if kind not in templates:
            templates[kind] = b"".join(map(to_line, _call(*kind)))
        session = f"{number:016x}"
        text = templates[kind].replace(_SESSION.encode(), session.encode())
        (directory / f"{session}-bench.jsonl").write_bytes(text)


def _call(kind: int, records: int) -> Iterator[Record]:
    """The records of one call, exactly as many as asked for."""
    chance = random.Random(kind)
    llm = _LLMS[kind % len(_LLMS)]
    # Past times stay in range for the ledger and out of the period that is going on.
    at = time.time() - 10.0 * records
    yield SessionStarted(
        session=_SESSION, at=at, agent=_AGENTS[kind % len(_AGENTS)], models=(_STT, llm, _TTS)
    )
    middle = _conversation(chance, llm, at)
    for _ in range(records - 2):
        yield next(middle)
    yield SessionClosed(session=_SESSION, at=time.time(), reason="participant_disconnected")


def _conversation(chance: random.Random, llm: Model, at: float) -> Iterator[Record]:
    """Yield the records of turns without end, six records a turn."""
    turn = 0
    while True:
        turn += 1
        at += 10.0
        speech = f"speech_{turn:012x}"
        ttft, ttfb, eou = (chance.lognormvariate(-1.2, 0.4) for _ in range(3))
        yield _request(
            _STT, at, Usage(audio_seconds=round(chance.uniform(1, 6), 2)), turn, streamed=True
        )
        yield MessageAdded(session=_SESSION, at=at, role="user", characters=40)
        yield TurnCommitted(
            session=_SESSION,
            at=at,
            speech=speech,
            eou_delay_seconds=eou,
            transcription_delay_seconds=eou / 2,
        )
        asked, answered = 400 + 60 * turn % 4000, chance.randrange(20, 120)
        usage = Usage(
            input_tokens=asked,
            cached_input_tokens=asked // 2,
            output_tokens=answered,
            total_tokens=asked + answered,
        )
        yield _request(llm, at + 1, usage, turn, speech=speech, first_seconds=ttft)
        characters = chance.randrange(60, 400)
        usage = Usage(characters=characters, audio_seconds=characters / 15)
        yield _request(_TTS, at + 2, usage, turn, speech=speech, first_seconds=ttfb)
        yield MessageAdded(
            session=_SESSION,
            at=at + 5,
            role="assistant",
            speech=speech,
            characters=characters,
            latency_seconds=ttft + ttfb + eou,
            first_token_seconds=ttft,
            first_byte_seconds=ttfb,
        )


def _request(
    model: Model,
    at: float,
    usage: Usage,
    turn: int,
    *,
    streamed: bool = False,
    speech: str | None = None,
    first_seconds: float | None = None,
) -> UsageReported:
    return UsageReported(
        session=_SESSION,
        at=at,
        stage=model.stage,
        provider=model.provider,
        model=model.model,
        label=f"livekit.plugins.{model.provider.lower()}.{model.stage.upper()}",
        request=f"{model.stage}-{turn:024x}",
        speech=speech,
        streamed=streamed,
        usage=usage,
        first_seconds=first_seconds,
        request_seconds=None if streamed else 1.2,
        tokens_per_second=None if model.stage != "llm" else 60.0,
    )
