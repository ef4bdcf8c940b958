"""Latency: from every value, measured and added-up ones apart."""

from dataclasses import replace
from statistics import quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_exporter import contract
from livekit_exporter.record import Record
from livekit_exporter.reports import latency
from livekit_exporter.reports.latency import percentiles
from tests.intake import Intake
from tests.questions import DAY, question, reading, rows
from tests.records import (
    AT,
    answered,
    asked,
    call,
    closed,
    committed,
    spoken,
    started,
    thought,
)


def turns(session: str, waits: list[float], agent: str = "support") -> list[Record]:
    """A call with a turn for each of these latencies."""
    records: list[Record] = [started(session, agent=agent)]
    for number, wait in enumerate(waits):
        at, speech = AT + 10 * number, f"speech-{number}"
        records += [
            committed(session, at=at + 1, speech=speech),
            asked(session, at=at + 1),
            thought(session, at=at + 2, speech=speech, first=wait / 2),
            spoken(session, at=at + 3, speech=speech),
            answered(session, at=at + 4, speech=speech, latency=wait),
        ]
    return [*records, closed(session, at=AT + 10 * len(waits))]


def test_percentiles_come_from_single_values(intake: Intake) -> None:
    """A hundred and one turns, so that each percentile is one of them."""
    intake.take(*turns("s1", [n / 100 for n in range(100, 201)]))

    with reading(intake) as ledger:
        report = latency.report(ledger, question())

    lines = {line["wait"]: line for line in rows(report)}
    turn = lines["turn latency"]
    assert turn["count"] == 101
    assert [turn[f"p{n}_seconds"] for n in (50, 95, 99)] == pytest.approx([1.5, 1.95, 1.99])
    assert turn["longest_seconds"] == 2.0
    assert lines["LLM first token"]["p50_seconds"] == pytest.approx(0.75)
    assert list(lines) == [
        "turn latency",
        "EOU delay",
        "transcription delay",
        "LLM first token",
        "TTS first byte",
    ]


def test_percentile_of_two_halves_is_not_the_mean_of_their_percentiles(intake: Intake) -> None:
    """What goes wrong where averages are kept."""
    intake.take(*turns("s1", [1.0] * 90))
    intake.take(*turns("s2", [9.0] * 10))

    with reading(intake) as ledger:
        [line, *_] = rows(latency.report(ledger, question()))

    assert (line["p50_seconds"], line["p95_seconds"]) == (1.0, 9.0)


def test_latency_that_was_added_up_is_told_apart(intake: Intake) -> None:
    """Old LiveKit measures none: EOU delay, first token and first byte are its parts."""
    records = [
        replace(record, measured=False, latency_seconds=None)
        if record.kind == "message"
        else record
        for record in call()
    ]
    intake.take(*records)

    with reading(intake) as ledger:
        report = latency.report(ledger, question())

    lines = {line["wait"]: line for line in rows(report)}
    assert "turn latency" not in lines
    assert lines["turn latency, derived"]["p50_seconds"] == pytest.approx(0.3 + 0.4 + 0.2)
    assert any(note.startswith("derived is EOU delay") for note in report.notes)


def test_counts_are_those_of_the_histograms(intake: Intake) -> None:
    """The page and the ledger know of the same observations."""
    for number in range(5):
        intake.take(*turns(f"s{number}", [0.5, -1.0, 0.7]))

    with reading(intake) as ledger:
        report = latency.report(ledger, question())

    counts = {line["wait"]: line["count"] for line in rows(report)}
    assert counts["turn latency"] == intake.count(contract.TURN_LATENCY) == 10
    assert counts["LLM first token"] == intake.count(contract.LLM_TTFT)
    assert counts["TTS first byte"] == intake.count(contract.TTS_TTFB)
    assert counts["EOU delay"] == intake.count(contract.EOU_DELAY)
    assert any("values left out since the ledger began" in note for note in report.notes)


def test_by_model_shows_waits_for_requests_only(intake: Intake) -> None:
    """A turn has no model of its own, and says so."""
    intake.take(*call())

    with reading(intake) as ledger:
        report = latency.report(ledger, question("model"))
        filtered = latency.report(ledger, question(model="sonic-3"))

    assert {(line["model"], line["wait"]) for line in rows(report)} == {
        ("gpt-4.1-mini", "LLM first token"),
        ("sonic-3", "TTS first byte"),
    }
    assert report.notes[0].startswith("turns have no stage, provider or model")
    assert [line["wait"] for line in rows(filtered)] == ["TTS first byte"]


def test_by_agent_day_and_label(intake: Intake) -> None:
    """In the order of days, the busiest agent first."""
    intake.take(*turns("s1", [0.5], agent="sales"))
    intake.take(*turns("s2", [0.6, 0.7]))
    later = [replace(record, at=record.at + DAY, session="s3") for record in turns("s3", [0.8])]
    intake.take(*later)

    with reading(intake) as ledger:
        report = latency.report(ledger, question("day", "agent", until=AT + 2 * DAY))

    found = [
        (line["day"], line["agent"], line["count"])
        for line in rows(report)
        if line["wait"] == "turn latency"
    ]
    assert found == [
        ("2026-11-18", "support", 2),
        ("2026-11-18", "sales", 1),
        ("2026-11-19", "support", 1),
    ]


def test_histogram_has_the_buckets_of_the_metric(intake: Intake) -> None:
    """A bucket holds what is no longer than its bound; buckets without values at the ends go."""
    intake.take(*turns("s1", [0.8, 0.81, 1.0, 30.0]))

    with reading(intake) as ledger:
        [chart] = latency.report(ledger, question()).charts

    counted = dict(zip(chart.labels, chart.series[0][1], strict=True))
    assert (counted["≤ 0.8 s"], counted["≤ 1 s"], counted["> 20 s"]) == (1.0, 2.0, 1.0)
    assert (chart.labels[0], chart.labels[-1]) == ("≤ 0.8 s", "> 20 s")


def test_nobody_waited_is_a_sentence(intake: Intake) -> None:
    """An empty ledger is no mistake."""
    intake.passes()

    with reading(intake) as ledger:
        report = latency.report(ledger, question("agent"))

    assert (report.rows, report.charts) == ((), ())
    assert report.empty == "nobody waited for an answer: 2026-11-18 (UTC)"


@given(st.lists(st.floats(0, 100), min_size=2))
def test_percentiles_lie_between_the_values_they_part(values: list[float]) -> None:
    """As numpy and spreadsheets draw the line."""
    p50, p95, p99 = percentiles(values)

    cuts = quantiles(values, n=100, method="inclusive")
    assert (p50, p95, p99) == (cuts[49], cuts[94], cuts[98])
    room = max(values) * 1e-12
    assert min(values) - room <= p50 <= p95 + room <= p99 + 2 * room <= max(values) + 3 * room
