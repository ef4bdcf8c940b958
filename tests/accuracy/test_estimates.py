"""Calls whose bill is known: reported and estimated come to it, waste lands in its reason."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("livekit.agents", reason="needs livekit-agents: pip install -e '.[agent]'")

from bench.accuracy import figures, scenarios
from bench.accuracy.call import hold, simulated
from bench.accuracy.measure import Measured, measure
from livekit_exporter import files

if TYPE_CHECKING:
    from pathlib import Path

    from bench.accuracy.script import Scenario

WITHIN = 0.05
"""How far reported and estimated cost together may be from the bill, as a share of it."""


async def held(root: Path, *chosen: Scenario) -> list[Measured]:
    cast = simulated()
    return await measure([(scenario, "simulated", cast) for scenario in chosen], root)


def rows(call: Measured, columns: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(files.ledger(call.data_dir))) as ledger:
        return list(ledger.execute(f"SELECT {columns} FROM usage ORDER BY id"))  # noqa: S608


async def test_a_call_full_of_barge_ins_is_billed_to_within_a_twentieth(tmp_path: Path) -> None:
    """Of which events show about 40 %; the export says how much of the rest is estimated."""
    (call,) = await held(tmp_path, scenarios.BARGE_IN_CALL)

    total = call.total
    assert 0.3 < total.reported_share < 0.5
    assert abs(total.error) < WITHIN
    (file,) = files.calls(call.data_dir).glob("*/*.json")
    exported = json.loads(file.read_text("utf-8"))
    assert exported["cost_usd"] == pytest.approx(total.reported.usd, abs=1e-9)
    assert exported["estimated_usd"] == pytest.approx(total.estimated.usd, abs=1e-9)
    assert total.estimated.usd > total.reported.usd


async def test_every_kind_of_silence_is_estimated_to_within_a_twentieth(tmp_path: Path) -> None:
    """Cut off at any moment, given up by a fallback adapter, thrown away."""
    calls = await held(
        tmp_path,
        scenarios.CUT_EARLY,
        scenarios.CUT_LATE,
        scenarios.CUT_SENT,
        scenarios.CUT_PLAYED,
        scenarios.CUT_UNSAID,
        scenarios.FIRST_CUT,
        scenarios.SPECULATIVE,
        scenarios.DROP_BEFORE,
        scenarios.DROP_AFTER,
        scenarios.REFUSED,
        scenarios.PROBE_BACK,
        scenarios.PROBE_FAILS,
        scenarios.TOOL,
    )

    errors = {call.scenario.name: call.total.error for call in calls}
    assert {name: error for name, error in errors.items() if abs(error) >= WITHIN} == {}
    # What is reported in full is not estimated on top.
    for call in calls:
        if call.scenario in (scenarios.CUT_PLAYED, scenarios.REFUSED, scenarios.TOOL):
            assert call.total.estimated.requests == 0
            assert call.total.error == pytest.approx(0, abs=1e-9)


async def test_waste_lands_in_its_reason_and_adds_up(tmp_path: Path) -> None:
    """Interrupted, speculative, a recovery probe; a turn with a tool wastes nothing."""
    calls = await held(
        tmp_path,
        scenarios.CUT_PLAYED,
        scenarios.SPECULATIVE,
        scenarios.PROBE_BACK,
        scenarios.TOOL,
        scenarios.CUT_LATE,
    )
    reasons = {
        call.scenario.name: {
            (source, reason)
            for source, reason, wasted in rows(call, "source, waste_reason, wasted_usd")
            if wasted
        }
        for call in calls
    }

    assert ("reported", "interrupted") in reasons["cut in playback"]
    # Whether the model was through with it when it was thrown away is a matter of moments.
    assert "speculative" in {reason for _, reason in reasons["speculative"]}
    assert {("reported", "recovery_probe"), ("estimated", "failed")} <= reasons[
        "fallback, probe works"
    ]
    assert reasons["tool turn"] == set()
    assert ("estimated", "interrupted") in reasons["cut late"]
    for call in calls:
        with closing(sqlite3.connect(files.ledger(call.data_dir))) as ledger:
            ((cost, wasted),) = ledger.execute("SELECT cost_usd, wasted_usd FROM sessions")
        found = rows(call, "source, cost_usd, wasted_usd")
        reported = [(usd or 0.0, lost) for source, usd, lost in found if source == "reported"]
        useful = sum(usd - lost for usd, lost in reported)  # type: ignore[operator]
        assert useful + wasted == pytest.approx(cost, abs=1e-9)
        assert all(0 <= lost <= usd + 1e-15 for usd, lost in reported)  # type: ignore[operator]


async def test_what_a_call_cannot_say_itself_the_ledger_says(tmp_path: Path) -> None:
    """The only reply of a call is cut off: in a new ledger that is counted and not estimated."""
    first = await hold(scenarios.ONLY_CUT, simulated(), tmp_path)
    alone = figures.read(first, tmp_path)["llm"]
    assert alone.estimated.requests > 0
    assert alone.estimated.usd == alone.reported.usd == 0

    before = await hold(scenarios.PLAIN, simulated(), tmp_path)
    figures.read(before, tmp_path)
    second = await hold(scenarios.ONLY_CUT, simulated(), tmp_path)
    known = figures.read(second, tmp_path)["llm"]

    assert abs(known.error) < 2 * WITHIN
    assert known.estimated.usd > 0
