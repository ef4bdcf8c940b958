"""Whether a call's lines in its agent's log say what the ledger says of it."""

import math
from typing import Any

import pytest

from tests.agent.logs import Lines
from tests.intake import Intake


def assert_agrees(lines: Lines, intake: Intake, session: str) -> None:
    """A session's lines are the ledger's figures."""
    rows = intake.ask(
        "SELECT speech, cost_usd, latency_seconds, first_token_seconds, first_byte_seconds,"  # noqa: S608 - our own session ids
        f" interrupted, tool_calls FROM turns WHERE session = '{session}' AND answered"
    )
    ledger = {str(speech): tuple(map(number, figures)) for speech, *figures in rows}
    told = {turn["speech"]: turn for turn in lines.fields("turn", session)}
    assert told.keys() == ledger.keys()
    for speech, turn in told.items():
        named = ("cost_usd", "latency_seconds", "ttft_seconds", "ttfb_seconds", "interrupted",
                 "tool_calls")  # fmt: skip
        said = tuple(number(turn[name]) for name in named)
        assert said == pytest.approx(ledger[speech], abs=1e-9, nan_ok=True), speech
    assert_stages_agree(told, intake, session)

    (whole,) = lines.fields("call", session)
    ((*figures, reason),) = intake.ask(
        "SELECT cost_usd, turns, interrupted, unpriced_requests, closed_at - started_at, reason"  # noqa: S608
        f" FROM sessions WHERE session = '{session}'"
    )
    sums = ("cost_usd", "turns", "interrupted", "unpriced_requests", "seconds")
    assert [whole[name] for name in sums] == pytest.approx(figures, abs=1e-9)
    assert whole["reason"] == reason
    in_turns = math.fsum(turn["cost_usd"] for turn in told.values())
    assert whole["outside_turns_usd"] == pytest.approx(whole["cost_usd"] - in_turns, abs=1e-9)
    latencies = [figures[1] for figures in ledger.values() if not math.isnan(figures[1])]
    assert whole["latency_seconds"]["count"] == len(latencies)
    assert_models_agree(whole, intake, session)


def assert_stages_agree(told: dict[str, Any], intake: Intake, session: str) -> None:
    """What each turn used, stage by stage."""
    rows = intake.ask(
        "SELECT turn, stage, sum(requests), sum(cost_usd), sum(status = 'unpriced') FROM usage"  # noqa: S608 - the same
        f" WHERE session = '{session}' AND NOT connection AND source = 'reported'"
        " GROUP BY turn, stage"
    )
    ledger = {
        (speech, stage): (requests, known(number(cost or 0), number(unpriced)))
        for speech, stage, requests, cost, unpriced in rows
        if speech in told
    }
    assert ledger == {
        (speech, stage): (spent["requests"], spent["cost_usd"])
        for speech, turn in told.items()
        for stage, spent in turn["stages"].items()
    }


def assert_models_agree(whole: dict[str, Any], intake: Intake, session: str) -> None:
    """Usage and cost by model, and cost by stage."""
    rows = intake.ask(
        "SELECT stage, provider, model, sum(requests), sum(characters), sum(audio_seconds),"  # noqa: S608 - the same
        f" sum(cost_usd), sum(status = 'unpriced') FROM usage WHERE session = '{session}'"
        " AND NOT connection AND source = 'reported' GROUP BY stage, provider, model"
    )
    ledger = {(stage, provider, model): figures for stage, provider, model, *figures in rows}
    told = {
        (row["stage"], row["provider"], row["model"]): [
            row["requests"],
            row.get("characters", 0),
            row.get("audio_seconds", 0.0),
            row["cost_usd"],
        ]
        for row in whole["models"]
    }
    assert told.keys() == ledger.keys()
    stages: dict[str, tuple[float, float]] = {}
    for model, (*quantities, usd) in told.items():
        *counted, cost, unpriced = (number(figure or 0) for figure in ledger[model])
        assert quantities == pytest.approx(counted, abs=1e-9), model
        assert usd == known(cost, unpriced), model
        before = stages.get(model[0], (0.0, 0.0))
        stages[model[0]] = (before[0] + cost, before[1] + unpriced)
    assert whole["stages"] == {stage: known(*sums) for stage, sums in stages.items()}


def known(cost: float, unpriced: float) -> object:
    """A cost as a line says it: what has no price is not free."""
    return None if unpriced and not cost else pytest.approx(cost, abs=1e-9)


def number(value: object) -> float:
    """A figure of the ledger or of a line, NaN where there is none."""
    return math.nan if value is None else float(value)  # type: ignore[arg-type]
