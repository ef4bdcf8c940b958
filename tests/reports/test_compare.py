"""Comparisons: what each selector takes, the figures by hand, and what is chance."""

from dataclasses import replace

import pytest

from livekit_exporter.record import Record, RequestFailed
from livekit_exporter.reports import compare
from livekit_exporter.reports.period import PeriodError
from livekit_exporter.reports.question import QuestionError
from livekit_exporter.reports.report import Quantity, Report
from tests.intake import Intake
from tests.questions import DAY, question, reading, rows
from tests.records import AT, answered, asked, closed, committed, spoken, started, thought
from tests.reports.test_cost import LLM_USD, TTS_USD

GROQ = ("groq", "llama-3.3-70b-versatile")


def held(  # noqa: PLR0913 - what may differ from call to call
    session: str,
    *,
    at: float = AT,
    agent: str = "support",
    provider: str = "api.openai.com",
    model: str = "gpt-4.1-mini",
    latency: float = 1.0,
    interrupted: bool = False,
    tokens: int = 100,
    tenant: str = "acme",
    persona: str | None = None,
) -> list[Record]:
    """A call of a minute with one turn."""
    return [
        replace(started(session, at=at, agent=agent), labels={"tenant": tenant}, user="u-1"),
        committed(session, at=at + 1),
        asked(session, at=at + 1),
        replace(
            thought(session, at=at + 2, provider=provider, model=model, tokens=tokens),
            persona=persona,
        ),
        replace(spoken(session, at=at + 3), persona=persona),
        replace(
            answered(session, at=at + 4, latency=latency, interrupted=interrupted), persona=persona
        ),
        closed(session, at=at + 60),
    ]


def compared(intake: Intake, a: str, b: str) -> Report:
    """The answer for the day of the calls."""
    asked_for = question(until=AT + 3 * DAY)
    sides = [compare.selection(each, asked_for, AT + 2 * DAY) for each in (a, b)]
    with reading(intake) as ledger:
        return compare.report(ledger, asked_for, *sides)


def figures(report: Report) -> dict[str, tuple[float | None, float | None]]:
    """Both sides by measure."""
    found = {}
    for line in rows(report):
        a, b = line["a"], line["b"]
        assert isinstance(a, Quantity)
        assert isinstance(b, Quantity)
        found[str(line["measure"])] = (a.amount, b.amount)
    return found


def verdicts(report: Report) -> dict[str, str]:
    """What is said of each measure."""
    return {str(line["measure"]): str(line["verdict"]) for line in rows(report)}


def test_two_models_by_hand(intake: Intake) -> None:
    """Twenty calls with each; one of them is dearer, and slow with every other turn."""
    for number in range(20):
        intake.take(*held(f"a{number}", tokens=100 + number, latency=0.9 + number / 100))
        intake.take(
            *held(
                f"b{number}",
                provider=GROQ[0],
                model=GROQ[1],
                tokens=1000 + number,
                latency=1.9 + number / 100,
                interrupted=number < 10,
            )
        )

    report = compared(intake, "model=openai/gpt-4.1-mini", f"model={'/'.join(GROQ)}")

    found = figures(report)
    llm = (100 + 9.5) / 100 * LLM_USD
    assert found["selected models, per minute"][0] == pytest.approx(llm)
    assert found["cost per minute"][0] == pytest.approx(llm + TTS_USD)
    assert found["cost per turn"][0] == pytest.approx(llm + TTS_USD)
    assert found["turn latency p50"] == pytest.approx((0.995, 1.995))
    assert found["interrupted turns"] == (0.0, 0.5)
    assert found["failed requests"] == (0.0, 0.0)
    assert verdicts(report) == {
        "cost per minute": "B is higher",
        "selected models, per minute": "B is higher",
        "cost per turn": "B is higher",
        "turn latency p50": "B is higher",
        "turn latency p95": "too little data",
        "interrupted turns": "B is higher",
        "failed requests": "within noise",
    }
    assert report.notes[0] == (
        "A is model=openai/gpt-4.1-mini, 2026-11-18 00:00:00 to 2026-11-21 11:06:40 (UTC):"
        " 20 calls, 20.0 minutes, 20 turns, 20 requests"
    )


def test_equal_sides_are_within_noise(intake: Intake) -> None:
    """The same calls under two names."""
    for number in range(20):
        for tenant in ("acme", "globex"):
            intake.take(*held(f"{tenant}{number}", tenant=tenant, tokens=100 + number))

    report = compared(intake, "tenant=acme", "tenant=globex")

    assert set(verdicts(report).values()) == {"within noise", "too little data"}
    assert verdicts(report)["cost per minute"] == "within noise"


def test_a_handful_of_calls_is_too_little(intake: Intake) -> None:
    """The figures are shown, and that they prove nothing."""
    intake.take(*held("a", agent="support"))
    intake.take(*held("b", agent="sales", tokens=9999, latency=9.0))

    report = compared(intake, "agent=support", "agent=sales")

    assert set(verdicts(report).values()) == {"too little data"}
    assert figures(report)["turn latency p50"] == (1.0, 9.0)


def test_periods_are_compared(intake: Intake) -> None:
    """A call belongs to the period in which it began, with all its turns."""
    intake.take(*held("before", latency=1.0))
    intake.take(*held("after", at=AT + DAY, latency=2.0))
    split = "2026-11-19"

    report = compared(intake, f"since=2026-11-18,until={split}", f"since={split},agent=support")

    assert figures(report)["turn latency p50"] == (1.0, 2.0)
    assert "B is since=2026-11-19,agent=support, 2026-11-19 00:00:00 to" in report.notes[1]


def test_personas_share_calls_and_not_turns(intake: Intake) -> None:
    """A hand-off within a call; nobody knows which minutes were whose."""
    first = held("s1", persona="greeter", latency=1.0)
    second: list[Record] = [
        replace(asked("s1"), at=AT + 31),
        replace(thought("s1", speech="speech-2"), at=AT + 32, persona="closer"),
        replace(answered("s1", speech="speech-2", latency=2.0), at=AT + 34, persona="closer"),
    ]
    intake.take(*first[:-1], *second, first[-1])

    report = compared(intake, "persona=greeter", "persona=closer")

    assert "cost per minute" not in figures(report)
    assert figures(report)["turn latency p50"] == (1.0, 2.0)
    assert "1 call on both sides" in report.notes


def test_failed_requests_are_those_of_the_selection(intake: Intake) -> None:
    """Another model's errors are not this one's."""
    failure = RequestFailed(
        session="a",
        at=AT + 2,
        stage="llm",
        provider="api.openai.com",
        model="gpt-4.1-mini",
        recoverable=True,
        error="timeout",
    )
    intake.take(*held("a")[:-1], failure, closed("a"))
    intake.take(*held("b", provider=GROQ[0], model=GROQ[1]))

    report = compared(intake, "model=gpt-4.1-mini", f"model={GROQ[1]}")

    assert figures(report)["failed requests"] == (0.5, 0.0)


def test_side_without_calls_is_a_sentence(intake: Intake) -> None:
    """Which of the two it is."""
    intake.take(*held("a"))

    report = compared(intake, "agent=support", "agent=nobody")

    assert report.rows == ()
    assert report.empty == "no call of the period matches 'agent=nobody'"


def test_unknown_model_and_label_are_refused(intake: Intake) -> None:
    """With what may have been meant."""
    intake.take(*held("a"))

    with pytest.raises(QuestionError, match=r"'gpt-4.1-mni' was not used .* mean 'gpt-4.1-mini'"):
        compared(intake, "model=gpt-4.1-mni", "agent=support")
    with pytest.raises(QuestionError, match=r"'tenent' is no .* did you mean 'tenant'"):
        compared(intake, "tenent=acme", "agent=support")


@pytest.mark.parametrize("text", ["", ",", "support", "=x"])
def test_selector_that_selects_nothing_is_refused(text: str) -> None:
    """Its form is shown."""
    with pytest.raises(QuestionError):
        compare.selection(text, question(), AT)


def test_selector_with_a_wrong_period_is_refused() -> None:
    """As everywhere."""
    with pytest.raises(PeriodError, match="'soon' is no time"):
        compare.selection("since=soon", question(), AT)
    with pytest.raises(QuestionError, match="ends before it begins"):
        compare.selection("since=2026-11-19,until=2026-11-18", question(), AT)
