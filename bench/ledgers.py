"""A large ledger that nobody had to hold calls for: the same rows every time."""

import json
from itertools import islice
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from livekit_exporter.ledger import schema
from livekit_exporter.ledger.rows import (
    Batch,
    ModelKey,
    ModelSums,
    SessionRow,
    TurnRow,
    UserSums,
    user_key,
    utc_day,
)
from livekit_exporter.ledger.store import Ledger

DAY: Final = 86400.0
BEGIN: Final = 1_793_491_200.0
"""Midnight of 2026-11-01 UTC."""

DAYS: Final = 30
USERS: Final = 500
USER: Final = "u-7"
"""One of the users."""

TOP: Final = 10
"""How many users are the most expensive ones."""

_TENANTS: Final = 20
_TURNS: Final = 10
_CALLS_PER_BATCH: Final = 500
_SEED: Final = 1


class _Use(NamedTuple):
    """What one request of a model uses at most, and costs per unit."""

    stage: str
    provider: str
    model: str
    quantity: str
    most: int
    usd: float


_AGENTS: Final = ("booking", "sales", "support")
_STT: Final = (
    _Use("stt", "deepgram", "nova-3", "audio_seconds", 12, 0.00008),
    _Use("stt", "groq", "whisper-large-v3-turbo", "audio_seconds", 12, 0.00001),
)
_LLM: Final = (
    _Use("llm", "openai", "gpt-4.1-mini", "input_tokens", 4000, 4e-7),
    _Use("llm", "groq", "llama-3.3-70b-versatile", "input_tokens", 4000, 5.9e-7),
    _Use("llm", "openai", "gpt-4.1", "input_tokens", 4000, 2e-6),
)
_TTS: Final = (
    _Use("tts", "cartesia", "sonic-3", "characters", 300, 5e-5),
    _Use("tts", "elevenlabs", "eleven_turbo_v2_5", "characters", 300, 5e-5),
)


class Sums(NamedTuple):
    """What was written, added up while it was written.

    Args:
        rows: Usage rows.
        calls: Calls.
        usd: Cost of all.
        today_usd: Cost of the last day.
        user_usd: Cost of `USER`.
        top_usd: Cost of the `TOP` most expensive users.
        first_call: Id of the first call.
        first_call_usd: Its cost.
    """

    rows: int
    calls: int
    usd: float
    today_usd: float
    user_usd: float
    top_usd: float
    first_call: str
    first_call_usd: float


def write(path: Path, rows: int) -> Sums:
    """Write usage of thirty days through the ledger's own code.

    Args:
        path: The new ledger.
        rows: Usage rows, ten turns of three requests a call.

    Returns:
        What the bench must find again; today is the last day.
    """
    ledger = Ledger(path)
    random = Random(_SEED)  # noqa: S311 - the same rows every time
    calls = iter(range(rows // (3 * _TURNS)))
    written, count, today = 0, 0, 0.0
    by_user: dict[str, float] = {}
    first: tuple[str, float] | None = None
    total = rows // (3 * _TURNS)
    try:
        while numbers := list(islice(calls, _CALLS_PER_BATCH)):
            batch = Batch()
            for number in numbers:
                row = _call(random, number, total, batch)
                count += 1
                user = str(row.user)
                by_user[user] = by_user.get(user, 0.0) + row.cost_usd
                today += row.cost_usd if row.started_at >= BEGIN + (DAYS - 1) * DAY else 0.0
                first = first or (row.session, row.cost_usd)
            written += len(batch.usage)
            ledger.commit(batch)
    finally:
        ledger.close()
    assert first is not None
    top = sum(sorted(by_user.values())[-TOP:])
    return Sums(written, count, sum(by_user.values()), today, by_user[USER], top, *first)


def _call(random: Random, number: int, calls: int, batch: Batch) -> SessionRow:
    """One call, within one day."""
    # In the order of time, as calls come in; the last minutes of a day stay free.
    day, within = divmod(number * DAYS / calls, 1)
    at = BEGIN + day * DAY + within * (DAY - 600)
    # Some users call often, most seldom.
    user = f"u-{int(USERS * random.random() ** 2)}"
    session = f"{number:08x}{random.getrandbits(32):08x}"
    row = SessionRow(
        session=session,
        journal=f"{session}-bench",
        agent=random.choice(_AGENTS),
        user=user,
        labels=json.dumps({"tenant": f"t-{random.randrange(_TENANTS)}"}),
        started_at=at,
        last_at=at + 300,
        closed_at=at + 60 + 240 * random.random(),
        reason="user_initiated",
        ended=True,
        turns=_TURNS,
    )
    uses = (random.choice(_STT), random.choice(_LLM), random.choice(_TTS))
    for turn in range(_TURNS):
        speech = f"speech_{session}{turn}"
        spent = sum(_use(random, row, (speech, at + 10 + turn * 5), use, batch) for use in uses)
        row.cost_usd += spent
        latency = random.lognormvariate(-0.2, 0.5)
        batch.turns[session, speech] = TurnRow(
            session=session,
            speech=speech,
            at=at + 10 + turn * 5,
            latency_seconds=latency,
            eou_delay_seconds=latency / 4,
            first_token_seconds=latency / 2,
            first_byte_seconds=latency / 4,
            committed=True,
            spoken=True,
            answered=True,
            interrupted=random.random() < 0.1,
            cost_usd=spent,
        )
    batch.sessions[session] = row
    batch.add_user(
        user_key(row, at),
        UserSums(
            sessions=1,
            session_seconds=row.seconds or 0.0,
            turns=_TURNS,
            cost_usd=row.cost_usd,
        ),
    )
    return row


def _use(random: Random, row: SessionRow, of: tuple[str, float], use: _Use, batch: Batch) -> float:
    """One request; its cost."""
    speech, at = of
    amount = random.randint(1, use.most)
    usd = amount * use.usd
    quantities = {name: 0 for name, _ in schema.QUANTITIES} | {use.quantity: amount}
    batch.usage.append(
        {
            "session": row.session,
            "at": at,
            "agent": row.agent,
            "user": row.user,
            "labels": row.labels,
            "speech": speech,
            "turn": speech,
            "persona": "main",
            "stage": use.stage,
            "provider": use.provider,
            "model": use.model,
            "reported_provider": use.provider,
            "label": "bench",
            "request": "",
            "requests": 1,
            "cancelled": False,
            "streamed": False,
            "connection": False,
            **quantities,
            "first_seconds": None if use.stage == "stt" else 0.4,
            "request_seconds": 1.0,
            "source": "reported",
            "status": "priced",
            "cost_usd": usd,
            "output_usd": 0.0,
            "price": "bench",
            "prices_version": "bench",
            "waste_reason": None,
            "wasted_usd": 0.0,
        }
    )
    key = ModelKey(utc_day(at), row.agent, use.stage, use.provider, use.model, "reported")
    batch.add_model(key, ModelSums(requests=1, cost_usd=usd)._replace(**{use.quantity: amount}))
    return usd
