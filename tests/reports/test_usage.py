"""Usage and waste: the quantities of the metrics, and what was for nothing."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekit_exporter import contract
from livekit_exporter.prices.rules import token_buckets
from livekit_exporter.record import RequestFailed, Usage
from livekit_exporter.reports import usage, waste
from tests.intake import Intake
from tests.questions import question, reading, rows, totals
from tests.records import (
    AT,
    LLM,
    answered,
    asked,
    call,
    closed,
    committed,
    spoken,
    started,
    thought,
)


def failed() -> RequestFailed:
    """An attempt that failed."""
    return RequestFailed(
        session="s1",
        at=AT + 2,
        stage="llm",
        provider=LLM.provider,
        model=LLM.model,
        recoverable=True,
        error="timeout",
    )


def test_usage_of_one_call(intake: Intake) -> None:
    """Each stage in its own quantities."""
    intake.take(*call()[:-1], failed(), thought(cancelled=True, tokens=0), closed())

    with reading(intake) as ledger:
        report = usage.report(ledger, question("stage", "model"))

    lines = {line["stage"]: line for line in rows(report)}
    assert lines["llm"]["requests"] == intake.counter(contract.REQUESTS, stage="llm") == 3
    assert (lines["llm"]["input_tokens"], lines["llm"]["output_tokens"]) == (1000, 100)
    assert (lines["llm"]["errors"], lines["llm"]["cancelled_requests"]) == (1, 1)
    assert lines["llm"]["without_usage_requests"] == 1
    assert (lines["tts"]["characters"], lines["tts"]["audio_seconds"]) == (40, 2.5)
    assert lines["stt"]["audio_seconds"] == 5.0
    assert totals(report)["requests"] == 5


@settings(max_examples=25)
@given(
    st.lists(
        st.builds(
            Usage,
            input_tokens=st.integers(0, 1000),
            cached_input_tokens=st.integers(0, 1000),
            cache_write_tokens=st.integers(0, 1000),
            output_tokens=st.integers(0, 1000),
            total_tokens=st.integers(0, 3000),
            input_audio_tokens=st.integers(0, 500),
            cached_audio_tokens=st.integers(0, 500),
            output_audio_tokens=st.integers(0, 500),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_token_kinds_are_those_of_the_metric(
    tmp_path_factory: pytest.TempPathFactory, usages: list[Usage]
) -> None:
    """They exclude one another and add up, whatever a provider reports."""
    intake = Intake(tmp_path_factory.mktemp("ledger") / "data")
    reports = [replace(thought(at=AT + number), usage=each) for number, each in enumerate(usages)]
    intake.take(started(), *reports, closed())
    intake.ingest.close()

    with reading(intake) as ledger:
        [line] = rows(usage.report(ledger, question()))

    expected: dict[str, int] = {}
    for each in usages:
        for (kind, _), tokens in token_buckets(each).items():
            expected[kind] = expected.get(kind, 0) + tokens
    for kind in ("input", "cached_input", "cache_write", "output"):
        assert line[f"{kind}_tokens"] == expected.get(kind, 0)


def test_nothing_used_is_a_sentence(intake: Intake) -> None:
    """Neither is a table drawn of nothing wasted."""
    intake.passes()

    with reading(intake) as ledger:
        assert usage.report(ledger, question("model")).rows == ()
        report = waste.report(ledger, question("model"))

    assert (report.rows, report.totals) == ((), None)
    assert report.empty == "nothing was wasted: 2026-11-18 (UTC)"


def test_waste_by_reason_is_that_of_the_metric(intake: Intake) -> None:
    """A reply talked over half way, and one thrown away before it was said."""
    intake.take(
        started(),
        thought(speech="early"),
        committed(),
        asked(),
        thought(),
        spoken(characters=80),
        answered(interrupted=True),
        closed(),
    )

    with reading(intake) as ledger:
        by_reason = waste.report(ledger, question())
        by_stage = waste.report(ledger, question("stage"))

    for line in rows(by_reason):
        counted = intake.counter(contract.WASTED_COST, reason=str(line["reason"]))
        assert line["wasted_usd"] == pytest.approx(counted)
        assert counted > 0
    assert {line["reason"] for line in rows(by_reason)} == {"interrupted", "speculative"}
    tts = next(line for line in rows(by_stage) if line["stage"] == "tts")
    assert tts["cost_share"] == pytest.approx(0.5)
    assert totals(by_stage)["wasted_usd"] == pytest.approx(totals(by_reason)["wasted_usd"])
    assert sum(float(str(line["wasted_share"])) for line in rows(by_reason)) == pytest.approx(1)
