"""Large ledger of generated calls: the same rows every time."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from livekit_exporter.ledger.rows import (
    Batch,
    SessionRow,
    TurnRow,
    UsageRow,
    UserSums,
)
from livekit_exporter.ledger.store import Ledger
from livekit_exporter.record import Stage, Usage

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


class _Model(NamedTuple):
    """A model, what one request of it uses at most, and what that costs per unit."""

    stage: Stage
    provider: str
    model: str
    quantity: str
    most: int
    usd: float
    seconds: float = 0.2
    """Median time to the first token or byte."""


_AGENTS: Final = ("booking", "sales", "support")
_STT: Final = (
    _Model("stt", "deepgram", "nova-3", "audio_seconds", 12, 0.00008),
    _Model("stt", "groq", "whisper-large-v3-turbo", "audio_seconds", 12, 0.00001),
)
_LLM: Final = (
    _Model("llm", "openai", "gpt-4.1-mini", "input_tokens", 4000, 4e-7, 0.4),
    _Model("llm", "groq", "llama-3.3-70b-versatile", "input_tokens", 4000, 5.9e-7, 0.25),
    _Model("llm", "openai", "gpt-4.1", "input_tokens", 4000, 2e-6, 0.6),
)
_TTS: Final = (
    _Model("tts", "cartesia", "sonic-3", "characters", 300, 5e-5),
    _Model("tts", "elevenlabs", "eleven_turbo_v2_5", "characters", 300, 5e-5),
)


class Sums(NamedTuple):
    """Sums of the rows, added up while they are written.

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
    random = Random(_SEED)
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
    models = (random.choice(_STT), random.choice(_LLM), random.choice(_TTS))
    for turn in range(_TURNS):
        _turn(random, row, turn, models, batch)
    batch.sessions[session] = row
    # What is used is added up from its rows.
    sums = UserSums(sessions=1, session_seconds=row.seconds or 0.0, turns=_TURNS)
    batch.add_up(row, at, sums)
    return row


def _turn(
    random: Random, row: SessionRow, number: int, models: tuple[_Model, ...], batch: Batch
) -> None:
    """One answer: a request to each of the models; a tenth of them is talked over half way."""
    turn = TurnRow(
        session=row.session,
        speech=f"speech_{row.session[:8]}{number:02}",
        at=row.started_at + 10 + number * 5,
        eou_delay_seconds=0.2 + 0.3 * random.random(),
        committed=True,
        spoken=True,
        answered=True,
        interrupted=random.random() < 0.1,
    )
    row.interrupted += turn.interrupted
    for model in models:
        seconds = model.seconds * random.lognormvariate(0, 0.4)
        cost, wasted = _request(random, row, turn, model, seconds, batch)
        if model.stage == "llm":
            turn.first_token_seconds = seconds
        elif model.stage == "tts":
            turn.first_byte_seconds = seconds
        turn.cost_usd += cost
        turn.wasted_usd += wasted
    turn.latency_seconds = sum(
        part or 0.0
        for part in (turn.eou_delay_seconds, turn.first_token_seconds, turn.first_byte_seconds)
    )
    row.cost_usd += turn.cost_usd
    row.wasted_usd += turn.wasted_usd
    batch.turns[row.session, turn.speech] = turn


def _request(
    random: Random, row: SessionRow, turn: TurnRow, model: _Model, seconds: float, batch: Batch
) -> tuple[float, float]:
    """One request, with its cost and the wasted part of it."""
    amount = random.randint(1, model.most)
    usd = amount * model.usd
    wasted = usd / 2 if turn.interrupted and model.stage == "tts" else 0.0
    batch.usage.append(
        UsageRow(
            session=row.session,
            at=turn.at,
            agent=row.agent,
            user=row.user,
            labels=row.labels,
            speech=turn.speech,
            turn=turn.speech,
            persona=row.agent,
            stage=model.stage,
            provider=model.provider,
            model=model.model,
            reported_provider=model.provider,
            usage=replace(Usage(), **{model.quantity: amount}),
            first_seconds=None if model.stage == "stt" else seconds,
            request_seconds=1.0,
            status="priced",
            cost_usd=usd,
            waste_reason="interrupted" if wasted else None,
            wasted_usd=wasted,
        )
    )
    return usd, wasted
