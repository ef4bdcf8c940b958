"""Scripted calls: their bills are what the scripts say, and events show the part that they show."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("livekit.agents", reason="needs livekit-agents: pip install -e '.[agent]'")

from bench.accuracy import scenarios
from bench.accuracy.call import simulated
from bench.accuracy.measure import Measured, measure
from bench.accuracy.tokens import tokens

if TYPE_CHECKING:
    from pathlib import Path


async def held(*names: str, root: Path) -> dict[str, Measured]:
    chosen = [scenario for scenario in scenarios.ALL if scenario.name in names]
    assert len(chosen) == len(names)
    cast = simulated()
    measured = await measure([(scenario, "simulated", cast) for scenario in chosen], root)
    return {one.scenario.name: one for one in measured}


async def test_a_bill_is_what_the_script_says_and_events_show_of_it_what_they_show(
    tmp_path: Path,
) -> None:
    calls = await held(
        "plain turns",
        "cut late",
        "cut before a token",
        "drop, retried",
        "fallback, probe works",
        "fallback, probe fails",
        root=tmp_path,
    )

    plain = calls["plain turns"]
    written = sum(len(tokens(step.reply)) for step in plain.scenario.steps)
    assert plain.stages["llm"].billed.output_tokens == written
    assert plain.total.billed.usd > 0
    for stage in plain.stages.values():
        assert replace(stage.reported, usd=0) == replace(stage.billed, usd=0)
        assert stage.reported.usd == pytest.approx(stage.billed.usd, abs=1e-9)

    late = calls["cut late"]
    cut = [bill for bill in late.books.bills if bill.ending == "cut"]
    assert [bill.product.stage for bill in cut] == ["llm", "tts"]
    reply = late.scenario.steps[1].reply
    assert 0.7 * len(tokens(reply)) <= cut[0].output_tokens < len(tokens(reply))
    assert 0.6 * len(reply) <= cut[1].characters < len(reply)
    assert late.total.reported_share < 0.5

    unsaid = calls["cut before a token"]
    assert [bill.output_tokens for bill in unsaid.books.bills if bill.ending == "cut"] == [0]
    assert unsaid.stages["llm"].billed.requests == unsaid.stages["llm"].reported.requests + 1

    dropped = calls["drop, retried"].books.of("llm")
    assert [bill.ending for bill in dropped] == ["complete", "dropped", "complete", "complete"]

    works = [
        (bill.product.model, bill.ending) for bill in calls["fallback, probe works"].books.of("llm")
    ]
    assert ("gpt-4.1", "complete") in works
    assert works.count(("gpt-4.1-mini", "cut")) == 1
    fails = [
        (bill.product.model, bill.ending) for bill in calls["fallback, probe fails"].books.of("llm")
    ]
    assert fails.count(("gpt-4.1-mini", "cut")) == 2
    assert calls["fallback, probe fails"].total.reported_share < 1
