"""Single calls: the list, and one of them turn by turn."""

from dataclasses import replace
from datetime import UTC

import pytest

from livekit_exporter.record import ToolCalled
from livekit_exporter.reports import calls, written
from livekit_exporter.reports.question import QuestionError
from tests.intake import Intake
from tests.questions import question, reading, rows, totals
from tests.records import (
    AT,
    answered,
    asked,
    call,
    closed,
    committed,
    heard,
    spoken,
    started,
    thought,
)
from tests.reports.test_cost import CALL_USD, LLM_USD, STT_USD, TTS_USD, moved


def listed(intake: Intake, order: calls.Order = "latest", model: str | None = None) -> list[object]:
    """Ids of the calls that are listed, in their order."""
    asked_for = question(model=model) if model else question()
    with reading(intake) as ledger:
        return [line["session"] for line in rows(calls.listing(ledger, asked_for, order))]


def test_calls_are_listed_in_the_order_that_is_asked_for(intake: Intake) -> None:
    """The newest first, if nothing is said."""
    intake.take(*call("short")[:-1], closed("short", at=AT + 30))
    intake.take(*moved(call("dear"), "dear", 60)[:-1], thought("dear", at=AT + 90, tokens=9999))
    intake.take(
        started("slow", at=AT + 120),
        asked("slow", at=AT + 121),
        answered("slow", at=AT + 130, latency=5.0),
        closed("slow", at=AT + 999),
    )

    assert listed(intake) == ["slow", "dear", "short"]
    assert listed(intake, "cost") == ["dear", "short", "slow"]
    assert listed(intake, "duration") == ["slow", "dear", "short"]
    assert listed(intake, "latency")[0] == "slow"
    assert listed(intake, "turns")[-1] in {"dear", "short", "slow"}
    assert set(listed(intake, model="sonic-3")) == {"short", "dear"}


def test_list_is_short_and_says_what_it_leaves_out(intake: Intake) -> None:
    """Twenty, or as many as asked for."""
    for number in range(22):
        intake.take(*call(f"s{number:02}"))

    with reading(intake) as ledger:
        report = calls.listing(ledger, question(), "latest")
        three = calls.listing(ledger, question(limit=3), "latest")

    assert len(report.rows) == 20
    assert report.notes == ("2 more lines are left out by --limit",)
    assert len(three.rows) == 3


def test_list_can_be_of_one_label(intake: Intake) -> None:
    """Or of none that there is."""
    intake.take(replace(started("s1"), labels={"tenant": "acme"}), *call("s1")[1:])
    intake.take(*call("s2"))

    with reading(intake) as ledger:
        report = calls.listing(ledger, question(labels={"tenant": ("acme",)}), "latest")
        with pytest.raises(QuestionError, match="did you mean 'tenant'"):
            calls.listing(ledger, question(labels={"tenat": ("acme",)}), "latest")

    assert [line["session"] for line in rows(report)] == ["s1"]


def test_begin_of_an_id_is_enough(intake: Intake) -> None:
    """As long as no other call's id begins so; a whole id always is."""
    for session in ("abc1", "abc2", "abc", "x%_"):
        intake.take(*call(session))

    with reading(intake) as ledger:
        assert calls.detail(ledger, "abc1").call.session == "abc1"
        assert calls.detail(ledger, "abc").call.session == "abc"
        assert calls.detail(ledger, "x%").call.session == "x%_"
        with pytest.raises(
            QuestionError, match="several calls' ids begin with 'ab': abc, abc1, abc2"
        ):
            calls.detail(ledger, "ab")
        for nothing in ("zz", "", "%", "_"):
            with pytest.raises(QuestionError, match="no call's id begins with"):
                calls.detail(ledger, nothing)


def test_call_is_shown_turn_by_turn(intake: Intake) -> None:
    """What was said, how long the caller waited, and what it cost by stage."""
    intake.take(
        *call()[:-1],
        asked(at=AT + 20),
        committed(at=AT + 20, speech="speech_b"),
        thought(at=AT + 21, speech="speech_b"),
        ToolCalled(session="s1", at=AT + 22, tool="look", speech="speech_b"),
        spoken(at=AT + 23, speech="speech_b", characters=80),
        answered(at=AT + 24, speech="speech_b", interrupted=True),
        closed(),
    )

    with reading(intake) as ledger:
        shown = calls.detail(ledger, "s1")
    turns, models = calls.turns(shown), calls.models(shown)

    first, second = rows(turns)
    assert (first["speech"], first["at"], first["happened"]) == ("speech-1", "0:01.0", None)
    assert first["cost_usd"] == pytest.approx(CALL_USD)
    assert [first[f"{part}_usd"] for part in ("stt", "llm", "tts", "other")] == pytest.approx(
        [STT_USD, LLM_USD, TTS_USD, 0.0]
    )
    assert (second["speech"], second["happened"], second["tool_calls"]) == ("b", "talked over", 1)
    assert second["other_usd"] == 0.0
    assert [line["stage"] for line in rows(models)] == ["llm", "stt", "tts"]
    assert totals(models)["cost_usd"] == pytest.approx(2 * LLM_USD + 3 * TTS_USD + STT_USD)
    facts = dict(calls.facts(shown, UTC))
    assert facts["began"] == "2026-11-18 11:06:40+00:00"
    assert facts["turns"] == "2, 1 of them talked over"
    total = written.money(2 * LLM_USD + 3 * TTS_USD + STT_USD)
    assert facts["cost"].startswith(f"{total}, {total} per minute, $0.0")


def test_call_with_nothing_in_it_is_shown(intake: Intake) -> None:
    """It began, and its process died."""
    intake.take(started("s1"))

    with reading(intake) as ledger:
        shown = calls.detail(ledger, "s1")

    assert (calls.turns(shown).rows, calls.models(shown).rows) == ((), ())
    assert dict(calls.facts(shown, UTC))["ended"] == "its process died; the end may be missing"


def test_unpriced_models_of_a_call_are_named(intake: Intake) -> None:
    """Its cost is not known, which is not nothing."""
    intake.take(started(), thought(model="home-made", provider="nobody"), closed())

    with reading(intake) as ledger:
        shown = calls.detail(ledger, "s1")

    [line] = rows(calls.models(shown))
    assert (line["cost_usd"], line["unpriced_requests"]) == (None, 1)
    assert calls.models(shown).notes == (
        "without a price, so the cost is too low: nobody/home-made",
    )
    assert dict(calls.facts(shown, UTC))["cost"].startswith("not known")


def test_names_of_a_call_cannot_move_the_cursor(intake: Intake) -> None:
    """A room's name is whatever somebody called it."""
    hostile = "\x1b[2J\nroom"
    begun = replace(started(), room=hostile, user=hostile, labels={hostile: hostile})
    intake.take(begun, heard(), closed(reason=hostile))

    with reading(intake) as ledger:
        facts = calls.facts(calls.detail(ledger, "s1"), UTC)

    assert all(value.isprintable() for _, value in facts)
