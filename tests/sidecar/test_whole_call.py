"""A call beyond its session: usage after it, beside it, in a second life, or without one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from livekit_exporter import contract
from livekit_exporter.cli.app import app
from livekit_exporter.record import CollectorReport, Record, Usage, UsageMissing, UsageReported
from livekit_exporter.sidecar.config.settings import LedgerSettings
from tests.intake import Intake
from tests.records import AT, answered, asked, call, closed, spoken, started, thought


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    """A sidecar's loop."""
    return Intake(tmp_path)


def judged(phase: str, *, at: float = AT + 40) -> UsageReported:
    """A judge's request, which belongs to the call and to none of its turns."""
    return replace(thought(at=at), phase=phase, speech=None, request=f"judge-{phase}")  # type: ignore[arg-type]


def test_usage_after_and_beside_belongs_to_the_call_and_to_no_turn(intake: Intake) -> None:
    """The last turn costs what it cost, and nothing is wasted."""
    intake.take(*call())
    alone = intake.sum(contract.TURN_COST)
    with_judges = [*call("s2")]
    with_judges.insert(-1, replace(judged("beside"), session="s2"))
    intake.take(*with_judges, replace(judged("after"), session="s2"))

    assert intake.sum(contract.TURN_COST) == pytest.approx(2 * alone)
    assert intake.counter(contract.WASTED_COST) == 0
    phases = intake.ask("SELECT phase, turn FROM usage WHERE request LIKE 'judge%' ORDER BY id")
    assert phases == [("beside", None), ("after", None)]
    costs = intake.ask("SELECT cost_usd FROM usage WHERE session = 's2'")
    (total,) = intake.ask("SELECT cost_usd FROM sessions WHERE session = 's2'")
    assert total[0] == pytest.approx(sum(float(str(cost)) for (cost,) in costs), abs=1e-12)


def test_what_the_provider_says_it_costs_is_the_cost(intake: Intake) -> None:
    """Whether or not there is a price."""
    billed = UsageReported(
        session="s1",
        at=AT + 2,
        stage="custom",
        provider="acme",
        model="unheard-of",
        usage=Usage(input_tokens=10),
        cost_usd=0.0123,
    )
    intake.take(started(), billed, closed())

    assert intake.ask("SELECT status, cost_usd, price FROM usage") == [("priced", 0.0123, "vendor")]
    assert intake.counter(contract.UNPRICED_REQUESTS) == 0
    assert intake.counter(contract.COST) == pytest.approx(0.0123)


def test_a_call_that_never_started_is_in_no_length(intake: Intake) -> None:
    """It is counted by its reason."""
    intake.take(started(), closed(reason="not_started"))

    assert intake.counter(contract.SESSIONS_CLOSED, reason="not_started") == 1
    assert intake.counter(contract.SESSIONS_CLOSED, reason="lost") == 0
    assert intake.count(contract.SESSION_SECONDS) == 0
    assert intake.count(contract.SESSION_COST) == 0


def test_a_session_started_again_is_one_call(intake: Intake) -> None:
    """In one journal: the end is that of the second life."""
    intake.take(
        started(),
        asked(),
        answered(),
        closed(at=AT + 30),
        started(at=AT + 60),
        asked(at=AT + 61),
        answered(at=AT + 63, speech="b"),
        closed(at=AT + 90, reason="error"),
    )

    assert intake.ask("SELECT reason, closed_at, started_at, turns FROM sessions") == [
        ("error", AT + 90, AT, 2)
    ]
    assert intake.counter(contract.SESSIONS) == 1
    assert intake.counter(contract.SESSIONS_CLOSED) == 1
    assert intake.sum(contract.SESSION_SECONDS) == 90


def test_a_second_life_that_dies_is_lost(intake: Intake) -> None:
    """The goodbye of the first one is not the end."""
    intake.take(started(), closed(at=AT + 30), started(at=AT + 60), thought(at=AT + 70))

    assert intake.ask("SELECT reason, closed_at FROM sessions") == [("lost", AT + 70)]


def test_a_second_life_in_a_second_journal_counts_its_turns_once(intake: Intake) -> None:
    """The first journal was over before; each answer's cost is observed once."""
    first: list[Record] = [started(), asked(), thought(), answered(), closed(at=AT + 30)]
    second: list[Record] = [
        started(),
        asked(at=AT + 61),
        thought(at=AT + 62, speech="b"),
        spoken(at=AT + 62, speech="b"),
        answered(at=AT + 63, speech="b"),
        closed(at=AT + 90),
    ]
    intake.take(*first)
    intake.take(*second)

    assert intake.count(contract.TURN_COST) == 2
    assert intake.ask("SELECT turns, closed_at FROM sessions") == [(2, AT + 90)]
    assert intake.counter(contract.SESSIONS_CLOSED) == 1


def test_missing_usage_is_counted_and_kept(intake: Intake) -> None:
    """By the names of the catalogue."""
    missing = UsageMissing(
        session="s1", at=AT + 5, stage="llm", provider="api.openai.com", model="gpt-4.1", turns=3
    )
    intake.take(started(), missing, closed())

    assert intake.counter(contract.USAGE_MISSING, stage="llm", provider="openai") == 3
    assert intake.ask("SELECT stage, provider, model, turns FROM missing") == [
        ("llm", "openai", "gpt-4.1", 3)
    ]


def test_what_was_lost_has_an_amount(intake: Intake) -> None:
    """As the agent priced it."""
    intake.take(
        started(), CollectorReport(session="s1", at=AT, dropped={"queue_full": 2}, lost_usd=0.5)
    )

    assert intake.counter(contract.LOST_COST) == 0.5


@pytest.fixture(params=["embedded", "server"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where the ledger is: both kinds of database."""
    if request.param == "embedded":
        return tmp_path / "ledger.db"
    return str(request.getfixturevalue("database_url"))


@pytest.mark.parametrize("report", ["cost", "usage", "latency"])
def test_reports_tell_what_was_after_the_call(
    tmp_path: Path, where: Path | str, report: str
) -> None:
    """`--by phase`, in either database."""
    settings = LedgerSettings(url=SecretStr(where)) if isinstance(where, str) else None
    intake = Intake(tmp_path, ledger=settings)
    intake.take(*call(), judged("after"))
    intake.ingest.close()
    place = {"LIVEKIT_EXPORTER_LEDGER_URL": where} if isinstance(where, str) else {}

    command = ["report", report, "--by", "phase", "--since", "2020-01-01", "--format", "json"]
    result = CliRunner().invoke(app, [*command, "--data-dir", str(tmp_path)], env=place)

    assert result.exit_code == 0, result.stderr
    lines = json.loads(result.stdout)["rows"]
    assert "call" in {line["phase"] for line in lines}
    if report != "latency":
        assert {line["phase"] for line in lines} == {"call", "after"}


def test_a_call_shows_what_was_beside_and_after_it(tmp_path: Path) -> None:
    """Below its cost, which contains both."""
    intake = Intake(tmp_path)
    intake.take(*call()[:-1], judged("beside"), closed(), judged("after"), judged("after"))
    intake.ingest.close()

    result = CliRunner().invoke(app, ["calls", "show", "s1", "--data-dir", str(tmp_path)])

    # A narrow terminal breaks the line.
    said = " ".join(result.stdout.split())
    assert "of it $0.000560 beside the session (1 request), $0.001120 after it (2 requests)" in said
