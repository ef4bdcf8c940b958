"""One real call, and every place that says what it cost: all of them say the same."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("livekit.agents", reason="needs livekit-agents: pip install -e '.[agent]'")

from livekit_exporter import files
from livekit_exporter.demo.call import run_call
from livekit_exporter.demo.truth import Truth
from tests.agent.logs import logged
from tests.demo.eventful import EVENTFUL, SPEED
from tests.sidecars import total, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve

STAGES = ("stt", "llm", "tts", "platform")


def ask(data_dir: Path, *arguments: str) -> dict[str, Any]:
    """What a command of the program prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "livekit_exporter", *arguments, "--data-dir", str(data_dir)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


async def test_every_surface_says_what_a_call_cost(
    tmp_path: Path, data_dir: Path, serve: Serve
) -> None:
    """Log block, JSON file, `calls show`, `report cost`, the metrics and the ledger, to 1e-9.

    The call has a tool, a transfer, a fallback, an interruption and platform legs.
    """
    config = tmp_path / "exporter.yaml"
    config.write_text(
        "platform:\n  legs:\n    livekit/agent-session: all\n"
        f"    twilio/us-inbound-local: tenant={EVENTFUL.tenant}\n"
    )
    sidecar = serve("--config", str(config))
    sidecar.wait_ready()
    with logged() as lines, Truth(tmp_path / "truth.jsonl", call=0) as truth:
        await run_call(EVENTFUL, data_dir=data_dir, truth=truth, speed=SPEED, log=True)
        await asyncio.sleep(2)
    wait_until(lambda: bool(list(files.calls(data_dir).glob("*/*.json"))), "the export")

    (file,) = files.calls(data_dir).glob("*/*.json")
    exported = json.loads(file.read_text("utf-8"))
    session = exported["session"]
    shown = ask(data_dir, "calls", "show", session, "--json")
    (block,) = lines.fields("call", session)
    page = sidecar.samples()
    reported = ask(data_dir, "report", "cost", "--by", "stage", "--since", "2000-01-01", "--json")[
        "rows"
    ]

    costs = {
        "log": block["stages"],
        "file": {stage: part["cost_usd"] for stage, part in exported["stages"].items()},
        "calls show": {stage: part["cost_usd"] for stage, part in shown["stages"].items()},
        "report cost": {row["stage"]: row["cost_usd"] for row in reported},
        "metrics": {
            stage: total(page, "livekit_agent_cost_usd_total", stage=stage) for stage in STAGES
        },
    }
    for where, by_stage in costs.items():
        assert set(by_stage) == set(STAGES), where
        for stage in STAGES:
            assert by_stage[stage] == pytest.approx(costs["file"][stage], abs=1e-9), where
            assert by_stage[stage] > 0, where
    whole = exported["cost_usd"]
    assert block["cost_usd"] == pytest.approx(whole, abs=1e-9)
    assert shown == exported
    assert total(page, "livekit_agent_session_cost_usd_sum") == pytest.approx(whole, abs=1e-9)
    for source, usd in (("reported", whole), ("estimated", exported["estimated_usd"])):
        shown_today = total(page, "livekit_agent_period_cost_usd", period="day", source=source)
        assert shown_today == pytest.approx(usd, abs=1e-9), source
    turns = {turn["speech"]: turn for turn in exported["turns"]}
    logged_turns = lines.fields("turn", session)
    assert len(logged_turns) == exported["turns_answered"] > 3
    for turn in logged_turns:
        same = turns[turn["speech"]]
        assert turn["cost_usd"] == pytest.approx(same["cost_usd"], abs=1e-9)
        assert turn["latency_seconds"] == same["latency_seconds"]
    assert block["latency_seconds"]["p95"] == exported["latencies"]["latency_seconds"]["p95"]
