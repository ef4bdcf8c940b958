"""Measure the time that the JSON file of a long call takes to make."""

import json
import time
from dataclasses import asdict
from typing import Final

from bench.figures import Answer, Quote, millis, percentile, ratio
from livekit_exporter.export.document import call_export
from livekit_exporter.ledger.rows import SessionRow, TurnRow, UsageRow
from livekit_exporter.record import Stage, Usage

_EVENTS: Final = 1000
_BEGIN: Final = 1_795_000_000.0
_STAGES: Final[tuple[Stage, ...]] = ("stt", "llm", "tts")


def measure(*, quick: bool) -> Answer:
    """Export a call of a thousand events, and write the same rows as they are.

    Raises:
        AssertionError: The export lacks a row.
    """
    session, turns, usage = _call(_EVENTS)
    bare_rows = list(map(asdict, usage))
    taken, plain = [], []
    for _ in range(5 if quick else 50):
        begun = time.perf_counter()
        made = call_export(session, turns, usage, ())
        text = made.model_dump_json(indent=1)
        taken.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        json.dumps(bare_rows, indent=1)
        plain.append(time.perf_counter() - begun)
        assert sum(len(turn.stt + turn.llm + turn.tts) for turn in made.turns) == _EVENTS
    median, bare = percentile(taken, 50), percentile(plain, 50)
    what = f"JSON file of a call with {_EVENTS} events"
    return Answer(
        question="How long the file of a call takes to make",
        method=(
            f"{_EVENTS} usage rows in {len(turns)} turns, put together, checked and written as"
            f" {len(text) // 1024} KiB of JSON, against `json.dumps` of the bare rows. Meant to be"
            " under 20 ms."
        ),
        columns=("what", "ms", "json.dumps of the rows, ms", "ratio"),
        rows=[(what, millis(median), millis(bare), ratio(median, bare))],
        quotes=[
            Quote(
                what=what,
                measured=f"{millis(median)} ms",
                against=f"`json.dumps` of its bare rows: {millis(bare)} ms",
                ratio=ratio(median, bare),
            )
        ],
    )


def _call(events: int) -> tuple[SessionRow, list[TurnRow], list[UsageRow]]:
    """A call whose turns take three requests each."""
    session = SessionRow(
        session="bench", journal="bench", agent="support", started_at=_BEGIN,
        last_at=_BEGIN + events, closed_at=_BEGIN + events, reason="user_initiated", ended=True,
    )  # fmt: skip
    usage = [
        UsageRow(
            session="bench",
            at=_BEGIN + number,
            agent="support",
            turn=f"speech-{number // len(_STAGES)}",
            persona="support",
            stage=_STAGES[number % len(_STAGES)],
            provider="acme",
            model="mind-1",
            reported_provider="acme",
            usage=Usage(input_tokens=900, output_tokens=60),
            first_seconds=0.3,
            request_seconds=0.8,
            status="priced",
            cost_usd=0.00042,
            price="acme/mind-1",
            prices_version="bench",
        )
        for number in range(events)
    ]
    turns = [
        TurnRow(
            session="bench", speech=f"speech-{number}", at=_BEGIN + 3 * number, spoken=True,
            answered=True, latency_seconds=0.7 + number / 1000, cost_usd=0.00126,
        )
        for number in range(-(-events // len(_STAGES)))
    ]  # fmt: skip
    return session, turns, usage
