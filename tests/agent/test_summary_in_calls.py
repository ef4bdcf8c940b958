"""The lines of real AgentSessions: right, and without a say in the call."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("livekit.agents", reason="needs livekit-agents: pip install -e '.[agent]'")

from livekit.agents import Agent, AgentSession

from livekit_exporter import attach
from livekit_exporter.demo.call import run_call
from livekit_exporter.demo.script import CallScript, call_script
from livekit_exporter.demo.truth import Truth
from tests.agent.accounts import Loads
from tests.agent.agreement import assert_agrees
from tests.agent.logs import EXPORTER, logged, raising_handler
from tests.agent.speech import ScriptedLLM
from tests.demo.eventful import EVENTFUL, SPEED

if TYPE_CHECKING:
    from pathlib import Path

    from livekit_exporter import Call
    from tests.intake import Intake


async def hold(
    data_dir: Path, *questions: str, model: ScriptedLLM | None = None, log: bool = True
) -> Call:
    """A text call with these questions, to the last word in its journal."""
    session = AgentSession[None](llm=model or ScriptedLLM())
    call = attach(session, data_dir=data_dir, log=log)
    await session.start(Agent(instructions="Be brief."))
    for question in questions:
        await session.run(user_input=question)
    await session.aclose()
    await asyncio.to_thread(finish, call)
    return call


def finish(call: Call) -> None:
    """Wait until the writer is through."""
    call.close(20)


async def scripted(script: CallScript, data_dir: Path, directory: Path) -> None:
    """A voice call, and the second after its end in which speech-to-text may still report."""
    with Truth(directory / f"truth-{script.number}.jsonl", call=script.number) as truth:
        await run_call(script, data_dir=data_dir, truth=truth, speed=SPEED, log=True)
        await asyncio.sleep(2)


async def test_voice_calls_agree_with_the_ledger(
    tmp_path: Path, data_dir: Path, intake: Intake
) -> None:
    """Tools, a transfer, a fallback and an interruption; and a realtime call."""
    with logged() as lines:
        await asyncio.gather(
            scripted(EVENTFUL, data_dir, tmp_path),
            scripted(call_script(1, 1), data_dir, tmp_path),
        )
    intake.passes()

    calls = {call["session"]: call for call in lines.fields("call")}
    assert len(calls) == 2
    for session in calls:
        assert_agrees(lines, intake, session)
    stages = {stage for call in calls.values() for stage in call["stages"]}
    assert stages == {"stt", "llm", "tts", "realtime"}
    turns = lines.fields("turn")
    steps = [turn["stages"]["llm"]["requests"] for turn in turns if "llm" in turn["stages"]]
    assert max(steps) > 1, "a tool makes a turn of two requests"
    assert any(turn["interrupted"] for turn in turns)
    assert "order" not in json.dumps(turns), "no text of the conversation is in it"


async def test_a_call_with_a_model_that_has_no_price_agrees_with_the_ledger(
    data_dir: Path, intake: Intake
) -> None:
    """And with what the call itself says it costs."""
    with logged() as lines:
        call = await hold(data_dir, "Hello?", "Why?", model=ScriptedLLM("auto", "openrouter.ai"))
        priced = await hold(data_dir, "Hello?", "Why?", "Really?")
    intake.passes()

    assert_agrees(lines, intake, call.session_id)
    assert_agrees(lines, intake, priced.session_id)
    assert "unpriced: llm openrouter/auto (2 requests)" in "\n".join(lines.texts())
    (whole,) = lines.fields("call", priced.session_id)
    assert whole["cost_usd"] == pytest.approx(float(priced.cost), abs=1e-12)
    assert whole["turns"] == priced.turns == 3


async def test_a_line_comes_while_the_call_goes_on(data_dir: Path) -> None:
    """The first turn is over when the second answer begins."""
    session = AgentSession[None](llm=ScriptedLLM())
    with logged() as lines:
        call = attach(session, data_dir=data_dir)
        await session.start(Agent(instructions="Be brief."))
        await session.run(user_input="Hello?")
        assert call.flush(10)
        before = len(lines.records)
        await session.run(user_input="Still there?")
        assert call.flush(10)
        during = lines.fields("turn")
        await session.aclose()
        await asyncio.to_thread(finish, call)

    assert before == 0
    assert [turn["turn"] for turn in during] == [1]
    assert [turn["turn"] for turn in lines.fields("turn")] == [1, 2]
    assert lines.fields("call")[0]["reason"] == "user_initiated"


@pytest.mark.parametrize(
    ("level", "log"),
    [(logging.INFO, False), (logging.ERROR, True), (logging.WARNING, True)],
    ids=["switched off", "nobody listens", "nothing is slow"],
)
async def test_a_call_that_shall_not_log_says_nothing(
    data_dir: Path, level: int, monkeypatch: pytest.MonkeyPatch, *, log: bool
) -> None:
    """The journal is written as ever, and prices are not read."""
    loads = Loads(monkeypatch)
    with logged(level) as lines:
        await hold(data_dir, "Hello?", "Why?", log=log)

    assert lines.records == []
    assert not loads.count
    assert usage_records(data_dir) == 2


def journalled(data_dir: Path) -> list[dict[str, object]]:
    """Everything in the journals."""
    return [
        json.loads(line)
        for path in (data_dir / "journal").glob("*.jsonl")
        for line in path.read_bytes().splitlines()
        if line.endswith(b"}")
    ]


def usage_records(data_dir: Path) -> int:
    return sum(record["kind"] == "usage" for record in journalled(data_dir))


async def test_a_handler_that_raises_costs_the_call_its_lines_and_nothing_else(
    data_dir: Path,
) -> None:
    """A turn is missing, then the last one with the block, and the sidecar is told of both."""
    with raising_handler():
        call = await hold(data_dir, "Hello?", "Why?")

    assert call.turns == 2
    records = journalled(data_dir)
    assert usage_records(data_dir) == 2
    assert records[-1]["kind"] == "collector"
    rejected = [record["rejected"] for record in records if record["kind"] == "collector"]
    assert sum(counts["follower_failed"] for counts in rejected) == 2  # type: ignore[index]


class Unformattable(logging.Formatter):
    """Expects something of every record that ours does not have."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{record.tenant} {record.getMessage()}"  # type: ignore[attr-defined]


async def test_a_formatter_that_raises_does_not_hurt_the_call(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The logging module itself says so on standard error; the call goes on."""
    handler = logging.StreamHandler()
    handler.setFormatter(Unformattable())
    with logged():
        EXPORTER.addHandler(handler)
        try:
            call = await hold(data_dir, "Hello?", "Why?")
        finally:
            EXPORTER.removeHandler(handler)

    assert call.turns == 2
    assert usage_records(data_dir) == 2
    assert "AttributeError" in capsys.readouterr().err


async def test_a_journal_that_cannot_be_written_does_not_silence_the_log(tmp_path: Path) -> None:
    """Somebody reads the log then."""
    (tmp_path / "data").write_text("not a directory")
    session = AgentSession[None](llm=ScriptedLLM())
    with logged() as lines:
        call = attach(session, data_dir=tmp_path / "data")
        await session.start(Agent(instructions="Be brief."))
        for _ in range(3):
            await session.run(user_input="Hello?")
        await session.aclose()
        async with asyncio.timeout(30):
            while not lines.fields("call"):
                await asyncio.sleep(0.05)

        assert not call.flush(0)
        (tmp_path / "data").unlink()
        await asyncio.to_thread(finish, call)

    assert [turn["turn"] for turn in lines.fields("turn")] == [1, 2, 3]
    assert len(lines.fields("call")) == 1


ENDLESS = """
    import asyncio, json, logging, sys

    from livekit.agents import Agent, AgentSession

    from livekit_exporter import attach
    from tests.agent.speech import ScriptedLLM


    class Told(logging.Handler):
        def emit(self, record):
            print(json.dumps(record.livekit_exporter), flush=True)


    async def talk():
        session = AgentSession(llm=ScriptedLLM())
        attach(session, data_dir=sys.argv[1])
        await session.start(Agent(instructions="Be brief."))
        while True:
            await session.run(user_input="Hello?")
            await asyncio.sleep(0.01)


    logging.getLogger("livekit_exporter").addHandler(Told())
    logging.getLogger("livekit_exporter").setLevel(logging.INFO)
    asyncio.run(talk())
"""


def test_a_killed_process_has_logged_what_the_ledger_has(data_dir: Path, intake: Intake) -> None:
    """A record is on file before a line is made of it; the block is never written."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ENDLESS), str(data_dir)],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(5)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.read().splitlines()
    intake.passes()

    turns = [json.loads(line) for line in told if line.strip().endswith(b"}")]
    assert {turn["kind"] for turn in turns} == {"turn"}
    rows = intake.ask("SELECT speech, cost_usd FROM turns WHERE answered")
    assert len(rows) >= len(turns) >= 5
    ledger = {speech: cost for speech, cost in rows}  # noqa: C416 - mypy
    for turn in turns:
        assert turn["cost_usd"] == pytest.approx(ledger[turn["speech"]], abs=1e-9)
    assert intake.ask("SELECT reason FROM sessions") == [("lost",)]
