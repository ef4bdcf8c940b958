"""Estimated usage is kept apart from reported usage everywhere."""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from livekit_exporter import contract, files
from livekit_exporter.agent.estimates.calibration import ledger_sizes
from livekit_exporter.calls.sizes import Sizes
from livekit_exporter.ledger.checking import findings
from livekit_exporter.record import (
    MessageAdded,
    Record,
    RequestTraced,
    Usage,
    UsageEstimated,
    UsageReported,
)
from tests.intake import Intake
from tests.records import (
    AT,
    LLM,
    TTS,
    Writer,
    answered,
    asked,
    closed,
    committed,
    heard,
    spoken,
    started,
    thought,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from livekit_exporter.record import Gap

INPUT_USD = 0.40 / 1e6
OUTPUT_USD = 1.60 / 1e6
CHARACTER_USD = 50 / 1e6
"""List prices of the models of these records."""


@pytest.fixture
def intake(data_dir: Path) -> Iterator[Intake]:
    intake = Intake(data_dir)
    yield intake
    intake.ingest.close()


def prompt(speech: str | None = "speech-1", *, reason: Gap = "interrupted") -> UsageEstimated:
    """A cut-off request of 1 000 and 100 tokens."""
    return UsageEstimated(
        session="s1",
        at=AT + 2,
        stage="llm",
        provider=LLM.provider,
        model=LLM.model,
        speech=speech,
        reason=reason,
        basis="call",
        usage=Usage(input_tokens=1000, output_tokens=100, total_tokens=1100),
    )


def voice(speech: str = "speech-1", *, characters: int = 400) -> UsageEstimated:
    """Speech synthesis that was cut off."""
    return UsageEstimated(
        session="s1",
        at=AT + 2.5,
        stage="tts",
        provider=TTS.provider,
        model=TTS.model,
        speech=speech,
        reason="interrupted",
        basis="call",
        usage=Usage(characters=characters),
    )


def cut_off(characters: int = 100, speech: str = "speech-1") -> MessageAdded:
    """The part of a reply that the caller heard before talking over it."""
    return replace(answered(interrupted=True, speech=speech), characters=characters)


def barge_in() -> list[Record]:
    """A call whose only reply was cut off, so that events show nothing of its cost."""
    cancelled = replace(thought(cancelled=True), usage=Usage())
    return [started(), committed(), asked(), cancelled, prompt(), voice(), cut_off(), closed()]


def test_an_estimate_is_in_no_reported_figure(intake: Intake) -> None:
    """Counters, gauges, the call, its turn: the reported ones are as if it were not there."""
    intake.take(*barge_in())
    cost = 1000 * INPUT_USD + 100 * OUTPUT_USD + 400 * CHARACTER_USD

    assert intake.counter(contract.COST) == 0
    assert intake.counter(contract.WASTED_COST) == 0
    assert intake.counter(contract.TOKENS) == intake.counter(contract.CHARACTERS) == 0
    assert intake.counter(contract.REQUESTS) == 1
    assert intake.figure("SELECT sum(cost_usd + wasted_usd) FROM sessions") == 0
    assert intake.figure("SELECT sum(cost_usd + wasted_usd) FROM turns") == 0
    assert intake.counter(contract.ESTIMATED_COST) == pytest.approx(cost, abs=1e-12)
    assert intake.counter(contract.ESTIMATED_COST, stage="tts", reason="interrupted") == (
        pytest.approx(400 * CHARACTER_USD, abs=1e-12)
    )
    assert intake.counter(contract.ESTIMATED_REQUESTS) == 2
    by_source = "SELECT sum(cost_usd) FROM {} WHERE source = '{}'"
    for table in ("usage", "daily", "daily_users"):
        assert intake.figure(by_source.format(table, "reported")) == 0
        estimated = intake.figure(by_source.format(table, "estimated"))
        assert estimated == pytest.approx(cost, abs=1e-12), table


def test_of_a_reply_that_was_cut_off_what_was_heard_is_no_waste(intake: Intake) -> None:
    """A quarter of its characters was heard; the question was needed either way."""
    intake.take(*barge_in())

    rows = intake.ask(
        "SELECT stage, waste_reason, wasted_usd FROM usage WHERE source = 'estimated'"
    )

    assert sorted(rows) == [
        ("llm", "interrupted", pytest.approx(75 * OUTPUT_USD)),
        ("tts", "interrupted", pytest.approx(300 * CHARACTER_USD)),
    ]


def test_an_estimate_that_comes_late_is_waste_all_the_same(intake: Intake) -> None:
    """The first reply of a call waits for one that finishes; by then another turn is over."""
    intake.take(
        started(),
        *(committed(), asked(), cut_off()),
        *(committed(speech="speech-2"), asked(), thought(speech="speech-2")),
        answered(speech="speech-2"),
        *(prompt(), voice()),
        closed(),
    )

    wasted = intake.figure("SELECT sum(wasted_usd) FROM usage WHERE source = 'estimated'")
    assert wasted == pytest.approx(75 * OUTPUT_USD + 300 * CHARACTER_USD)


@pytest.mark.parametrize("reason", ["speculative", "failed", "recovery_probe"])
def test_what_nobody_could_hear_is_waste_as_a_whole(intake: Intake, reason: Gap) -> None:
    """Whatever becomes of the reply that it was made for."""
    intake.take(
        started(),
        committed(),
        asked(),
        prompt(reason=reason),
        thought(),
        spoken(),
        answered(),
        closed(),
    )

    rows = intake.ask(
        "SELECT waste_reason, wasted_usd, cost_usd FROM usage WHERE source = 'estimated'"
    )

    cost = 1000 * INPUT_USD + 100 * OUTPUT_USD
    assert rows == [(reason, pytest.approx(cost), pytest.approx(cost))]
    assert intake.counter(contract.ESTIMATED_COST, reason=reason) == pytest.approx(cost)


def probe(speech: str = "speech-1", request: str = "probe") -> RequestTraced:
    return RequestTraced(
        session="s1",
        at=AT + 4,
        stage="llm",
        provider=LLM.provider,
        model=LLM.model,
        request=request,
        speech=speech,
        recovery_probe=True,
    )


def probing(speech: str = "speech-1") -> UsageReported:
    return replace(thought(speech=speech, at=AT + 3.5), request="probe")


@pytest.mark.parametrize("at_once", [True, False], ids=["one batch", "a batch each"])
def test_a_probe_that_was_answered_is_waste_for_its_own_reason(
    data_dir: Path, *, at_once: bool
) -> None:
    """It is reported like the reply that it was made beside, and told by its request id."""
    records: list[Record] = [
        started(),
        *(committed(), asked(), thought(), probing(), spoken(), answered(), probe()),
        closed(),
    ]
    cost = 1000 * INPUT_USD + 100 * OUTPUT_USD
    with closing(Intake(data_dir).ingest) as ingest, Writer(data_dir) as journal:
        for record in records:
            journal.put(record)
            assert at_once or ingest.attempt()
    intake = Intake(data_dir)
    intake.passes()

    assert intake.counter(contract.WASTED_COST, reason="recovery_probe") == pytest.approx(cost)
    assert intake.counter(contract.WASTED_COST) == pytest.approx(cost)
    assert intake.figure("SELECT wasted_usd FROM sessions") == pytest.approx(cost)
    assert intake.ask("SELECT request FROM usage WHERE waste_reason = 'recovery_probe'") == [
        ("probe",)
    ]
    assert list(findings(intake.config.ledger.where(data_dir))) == []
    intake.ingest.close()


def test_useful_and_wasted_cost_are_the_cost(intake: Intake) -> None:
    """A call with every reason there is: no cost is wasted twice, and none is lost."""
    intake.take(
        started(),
        replace(answered(speech="hello", interrupted=True), latency_seconds=None, characters=10),
        *(thought(speech="hello"), spoken(speech="hello")),
        *(committed(), asked(), thought(), probing(), probe(), spoken(characters=400), cut_off()),
        *(thought(speech="ahead"), prompt("ahead", reason="speculative")),
        *(committed(speech="two"), asked(), thought(speech="two"), answered(speech="two")),
        *(prompt("two", reason="failed"), heard(), voice("two")),
        closed(),
    )

    reasons = {
        reason: intake.counter(contract.WASTED_COST, reason=reason)
        for reason in ("interrupted", "speculative", "recovery_probe")
    }
    assert all(reasons.values()), reasons
    assert intake.figure("SELECT max(wasted_usd - coalesce(cost_usd, 0)) FROM usage") <= 1e-15
    whole = intake.figure("SELECT wasted_usd FROM sessions")
    assert sum(reasons.values()) == pytest.approx(whole, abs=1e-12)
    assert whole == pytest.approx(
        intake.figure("SELECT sum(wasted_usd) FROM usage WHERE source = 'reported'"), abs=1e-12
    )
    assert whole < intake.figure("SELECT cost_usd FROM sessions")
    assert list(findings(intake.config.ledger.where(intake.config.data_dir))) == []


def test_spend_of_the_day_shows_estimates_apart(data_dir: Path) -> None:
    """And the gauge is the ledger's, also after a restart."""
    intake = Intake(data_dir)
    now = time.time()
    records = [replace(record, at=record.at - AT + now - 120) for record in barge_in()]
    intake.take(*records)
    cost = intake.counter(contract.ESTIMATED_COST)
    again = Intake(data_dir)
    intake.ingest.close()
    again.passes()

    for shown in (intake, again):
        page = shown.page()
        for source, usd in (("reported", 0.0), ("estimated", cost)):
            labels = f'{{agent="support",period="month",source="{source}"}}'
            (line,) = [
                line
                for line in page.splitlines()
                if line.startswith(f"livekit_agent_period_cost_usd{labels}")
            ]
            assert float(line.rpartition(" ")[2]) == pytest.approx(usd, abs=1e-12)
    again.ingest.close()


def test_an_export_tells_them_apart(intake: Intake) -> None:
    intake.take(*barge_in())

    (file,) = files.calls(intake.config.data_dir).glob("*/*.json")
    call = json.loads(file.read_text("utf-8"))

    assert call["cost_usd"] == call["wasted_usd"] == 0
    assert call["estimated_usd"] == pytest.approx(intake.counter(contract.ESTIMATED_COST))
    requests = [*call["turns"][0]["llm"], *call["turns"][0]["tts"]]
    assert [one["source"] for one in requests] == ["reported", "estimated", "estimated"]


def test_the_page_of_a_call_asks_for_its_estimates_alone(intake: Intake) -> None:
    """Not another call's, and nothing that was reported; of an unknown call there is none."""
    intake.take(*barge_in())
    intake.take(*(replace(each, session="s2") for each in [*barge_in()[:-1], prompt(), closed()]))
    ledger = intake.ingest.ledger
    assert ledger is not None

    one = 1000 * INPUT_USD + 100 * OUTPUT_USD
    assert ledger.estimated_usd("s1") == pytest.approx(one + 400 * CHARACTER_USD)
    assert ledger.estimated_usd("s2") == pytest.approx(2 * one + 400 * CHARACTER_USD)
    assert ledger.estimated_usd("nobody's") == 0.0


def test_an_estimate_without_a_price_costs_nothing_and_is_counted(intake: Intake) -> None:
    """It is not among the unpriced requests, which are reported ones."""
    intake.take(started(), replace(prompt(), model="nobody-knows"), closed())

    assert intake.counter(contract.ESTIMATED_REQUESTS, model="nobody-knows") == 1
    assert intake.counter(contract.UNPRICED_REQUESTS) == 0
    assert intake.ask("SELECT status, cost_usd FROM usage") == [("unpriced", None)]
    assert intake.figure("SELECT unpriced_requests FROM sessions") == 0


def test_sizes_of_finished_requests_reach_the_next_agent(data_dir: Path) -> None:
    """Added up over calls and restarts, never twice."""
    intake = Intake(data_dir)
    traced = replace(
        probe(),
        recovery_probe=False,
        prompt_characters=4000,
        reply_characters=400,
        input_tokens=1000,
        cached_input_tokens=500,
        output_tokens=100,
        first_seconds=0.5,
        answering_seconds=2.0,
    )
    intake.take(started(), traced, traced)
    intake.ingest.close()
    again = Intake(data_dir)
    again.passes()
    again.ingest.close()

    sizes = ledger_sizes(data_dir)(replace(LLM, label="whatever"))

    assert sizes == Sizes.of(traced) + Sizes.of(traced)
    assert ledger_sizes(data_dir)(TTS) is None
