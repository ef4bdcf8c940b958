"""What no event reports: apart from what is, and with its reason, in every report."""

from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest
from typer.testing import CliRunner

from livekit_exporter.cli.app import app
from livekit_exporter.reports import calls, usage, waste, written
from tests.intake import Intake
from tests.questions import question, reading, rows, totals
from tests.records import answered, asked, call, closed, committed, started, thought
from tests.sidecar.test_estimates import (
    CHARACTER_USD,
    INPUT_USD,
    OUTPUT_USD,
    barge_in,
    cut_off,
    probe,
    probing,
    prompt,
    voice,
)

PROMPT_USD = 1000 * INPUT_USD + 100 * OUTPUT_USD
VOICE_USD = 400 * CHARACTER_USD


def of_every_reason(intake: Intake) -> None:
    """A reply cut off, of which a quarter was heard, an attempt that failed, and two probes."""
    intake.take(
        *(started(), committed(), asked(), prompt(), voice(), cut_off()),
        *(committed(speech="speech-2"), asked(), thought(speech="speech-2")),
        *(probing("speech-2"), answered(speech="speech-2"), probe("speech-2")),
        *(prompt("speech-2", reason="failed"), prompt("speech-2", reason="recovery_probe")),
        closed(),
    )


def test_waste_has_what_is_estimated_in_columns_of_its_own(intake: Intake) -> None:
    """Every reason has a line, also where no event reports any of it."""
    of_every_reason(intake)

    with reading(intake) as ledger:
        report = waste.report(ledger, question())

    lines = {str(line["reason"]): line for line in rows(report)}
    assert {reason: line["reports"] for reason, line in lines.items()} == {
        "recovery_probe": 1, "interrupted": 0, "failed": 0,
    }  # fmt: skip
    assert {reason: line["estimated_requests"] for reason, line in lines.items()} == {
        "recovery_probe": 1, "interrupted": 2, "failed": 1,
    }  # fmt: skip
    assert lines["recovery_probe"]["wasted_usd"] == pytest.approx(PROMPT_USD)
    assert lines["failed"]["wasted_usd"] == lines["interrupted"]["wasted_usd"] == 0.0
    assert lines["failed"]["estimated_wasted_usd"] == pytest.approx(PROMPT_USD)
    unheard = 75 * OUTPUT_USD + 300 * CHARACTER_USD
    assert lines["interrupted"]["estimated_wasted_usd"] == pytest.approx(unheard)
    assert totals(report)["wasted_usd"] == pytest.approx(PROMPT_USD)
    assert totals(report)["estimated_wasted_usd"] == pytest.approx(2 * PROMPT_USD + unheard)
    assert totals(report)["estimated_requests"] == 4


def test_usage_says_that_what_is_estimated_is_not_in_it(intake: Intake) -> None:
    """The request that was cut off is counted, since an event tells of it; its tokens are not."""
    intake.take(*barge_in())

    with reading(intake) as ledger:
        report = usage.report(ledger, question("model"))

    assert [(line["requests"], line["input_tokens"]) for line in rows(report)] == [(1, 0)]
    note = "what 2 requests used that no event reports is estimated, and not in these figures"
    assert note in report.notes


def test_list_has_the_estimate_beside_the_cost(intake: Intake) -> None:
    """Of each call its own; a list without estimates does not speak of them."""
    intake.take(*call("quiet"))
    with reading(intake) as ledger:
        before = calls.listing(ledger, question(), "latest")
    intake.take(*barge_in())
    with reading(intake) as ledger:
        report = calls.listing(ledger, question(), "latest")

    assert not any("estimated" in note for note in before.notes)
    lines = {line["session"]: line for line in rows(report)}
    assert lines["s1"]["estimated_usd"] == pytest.approx(PROMPT_USD + VOICE_USD)
    assert (lines["s1"]["cost_usd"], lines["quiet"]["estimated_usd"]) == (0.0, 0.0)
    assert any(note.startswith("estimated cost is") for note in report.notes)


def test_list_of_more_calls_than_are_asked_for_at_a_time(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one's estimate is found, too."""
    monkeypatch.setattr(calls, "_AT_A_TIME", 2)
    for number in range(5):
        session = f"s{number}"
        intake.take(*(replace(each, session=session) for each in barge_in()))

    with reading(intake) as ledger:
        lines = rows(calls.listing(ledger, question(), "latest"))

    assert [line["estimated_usd"] for line in lines] == pytest.approx([PROMPT_USD + VOICE_USD] * 5)


def test_call_lists_what_is_estimated_request_by_request(intake: Intake) -> None:
    """In the order of time, with its reason; in no figure of the cost."""
    of_every_reason(intake)

    with reading(intake) as ledger:
        shown = calls.detail(ledger, "s1")
    report, facts = calls.estimates(shown), dict(calls.facts(shown, UTC))

    assert [(line["speech"], line["stage"], line["reason"]) for line in rows(report)] == [
        ("speech-1", "llm", "interrupted"),
        ("speech-2", "llm", "failed"),
        ("speech-2", "llm", "recovery_probe"),
        ("speech-1", "tts", "interrupted"),
    ]
    assert [line["estimated_usd"] for line in rows(report)] == pytest.approx(
        [PROMPT_USD, PROMPT_USD, PROMPT_USD, VOICE_USD]
    )
    together = 3 * PROMPT_USD + VOICE_USD
    assert totals(report)["estimated_usd"] == pytest.approx(together)
    assert totals(report)["requests"] == 4
    assert facts["estimated"] == f"about {written.money(together)} more that no event reports"
    assert facts["cost"].startswith(written.money(2 * PROMPT_USD))
    assert any(note.startswith("estimated cost is") for note in calls.models(shown).notes)


def test_reason_of_an_estimate_without_a_price_is_known(intake: Intake) -> None:
    """Its cost is not, which is not nothing."""
    intake.take(started(), replace(prompt(reason="failed"), model="nobody-knows"), closed())

    with reading(intake) as ledger:
        report = calls.estimates(calls.detail(ledger, "s1"))

    assert [(line["reason"], line["estimated_usd"]) for line in rows(report)] == [("failed", None)]


@pytest.mark.parametrize(("estimated", "told"), [(True, True), (False, False)])
def test_command_speaks_of_estimates_only_where_there_are_any(
    intake: Intake, data_dir: Path, *, estimated: bool, told: bool
) -> None:
    """A call without any looks as it did."""
    intake.take(*(barge_in() if estimated else call()))

    shown = CliRunner().invoke(app, ["calls", "show", "s1", "--data-dir", str(data_dir)])

    assert shown.exit_code == 0, shown.output
    assert ("Billed and not reported" in shown.stdout) is told
    assert ("no event reports" in shown.stdout) is told
