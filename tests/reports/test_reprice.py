"""Costs corrected in the ledger: everything follows, or nothing changes."""

import json
import signal
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from livekit_exporter import contract, files
from livekit_exporter.cli.app import app
from livekit_exporter.ledger import repricing
from livekit_exporter.ledger.checking import findings
from livekit_exporter.ledger.reading import reading
from livekit_exporter.ledger.repricing import Which
from livekit_exporter.ledger.store import LedgerError
from livekit_exporter.prices import catalogue
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.record import Gap, Record
from livekit_exporter.reports import reprice
from livekit_exporter.reports.period import Period
from livekit_exporter.reports.question import Question
from livekit_exporter.reports.report import Report
from livekit_exporter.reports.reprice import Chunk, Outcome
from livekit_exporter.sidecar.config.settings import Ledger
from tests import records
from tests.intake import Intake
from tests.ledger.test_rollups import calls as any_calls
from tests.records import AT, STT, TTS, Writer
from tests.reports.spending import DAY, lines, overlaid, totals
from tests.sidecar.test_estimates import prompt

SHIPPED = catalogue.load()

# Half the price of the language model, another one for speech, one for what had none, and
# none for recognition any more.
CORRECTION = """
schema: 1
currency: USD
entries:
  - id: openai/gpt-4.1-mini
    prices:
      - {per_1m: {input: 0.20, cached_input: 0.05, output: 0.90}, source: x, checked: 2026-11-20}
  - id: cartesia/sonic
    prices: [{per_1m_chars: 30, source: x, checked: 2026-11-20}]
  - id: openai/no-such-model
    stage: llm
    basis: tokens
    prices: [{per_1m: {input: 1, output: 2}, source: x, checked: 2026-11-20}]
  - id: deepgram/nova-3
    prices: [{valid_from: 2030-01-01, per_minute: 0.1, source: x, checked: 2026-11-20}]
"""
CORRECTED = overlaid(CORRECTION)
ALL = Which(AT - 90 * DAY, AT + 90 * DAY)

Row: TypeAlias = dict[str, object]


def run(
    intake: Intake, prices: Catalogue = CORRECTED, which: Which = ALL, *, dry_run: bool = False
) -> Outcome:
    """Reprice what a sidecar has taken in."""
    where = intake.config.ledger.where(intake.config.data_dir)
    return reprice.reprice(where, which, prices, iter_all, dry_run=dry_run)


def iter_all(calls: list[Chunk]) -> Iterable[Chunk]:
    """All calls, and nobody watches."""
    return calls


def table(intake: Intake, name: str) -> list[Row]:
    """Rows of a table, in an order of their own."""
    path = files.ledger(intake.config.data_dir)
    with closing(sqlite3.connect(path)) as ledger:
        ledger.row_factory = sqlite3.Row
        found = [dict(row) for row in ledger.execute(f"SELECT * FROM {name}")]  # noqa: S608 - ours
    return sorted(found, key=lambda row: [str(row[key]) for key in _KEYS[name]])


_KEYS = {
    "usage": ("session", "id"),
    "turns": ("session", "speech"),
    "sessions": ("session",),
    "daily": ("day", "agent", "stage", "provider", "model", "source"),
    "daily_users": ("day", "key"),
}
_OF_AN_INTAKE = {"instance", "journal", "id", "prices_version", "exported_at", "key"}


def assert_same(first: Sequence[Row], second: Sequence[Row]) -> None:
    """Rows are alike, money to a billionth of a dollar."""
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        for name, value in one.items():
            if name in _OF_AN_INTAKE:
                continue
            if isinstance(value, float):
                assert other[name] == pytest.approx(value, abs=1e-9), name
            else:
                assert other[name] == value, name


def number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def assert_sums_are_those_of_the_rows(intake: Intake) -> None:
    """Turns, calls and both rollups, to a billionth of a dollar; and the ledger's own check."""
    assert list(findings(files.ledger(intake.config.data_dir))) == []
    sums: dict[tuple[object, ...], list[float]] = defaultdict(lambda: [0.0, 0.0, 0])
    for row in table(intake, "usage"):
        day = records_day(number(row["at"]))
        without = max(int(number(row["requests"])), 1) if row["status"] == "unpriced" else 0
        keys: tuple[tuple[object, ...], ...] = (
            ("call", row["session"]),
            ("turn", row["session"], row["turn"]),
            ("model", day, row["agent"], row["stage"], row["provider"], row["model"]),
            ("user", day, row["agent"], row["user"], row["labels"]),
        )
        for key in keys:
            held = sums[key]
            held[0] += number(row["cost_usd"])
            held[1] += number(row["wasted_usd"])
            held[2] += without
    for row in table(intake, "sessions"):
        assert_row(row, sums["call", row["session"]])
    for row in table(intake, "turns"):
        assert number(row["cost_usd"]) == pytest.approx(
            sums["turn", row["session"], row["speech"]][0], abs=1e-9
        )
    for row in table(intake, "daily"):
        model = ("model", row["day"], row["agent"], row["stage"], row["provider"], row["model"])
        assert_row(row, sums[model])
    for row in table(intake, "daily_users"):
        assert_row(row, sums["user", row["day"], row["agent"], row["user"], row["labels"]])


def assert_row(row: Row, expected: list[float]) -> None:
    assert number(row["cost_usd"]) == pytest.approx(expected[0], abs=1e-9)
    assert number(row["wasted_usd"]) == pytest.approx(expected[1], abs=1e-9)
    assert row["unpriced_requests"] == expected[2]


def records_day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


def test_every_figure_of_a_call_follows(intake: Intake) -> None:
    """1000 tokens in and 100 out, 40 characters spoken, 5 seconds heard."""
    intake.take(*records.call())
    outcome = run(intake)

    [row] = table(intake, "sessions")
    spoken, thought = 40 * 30e-6, 1000 * 0.2e-6 + 100 * 0.9e-6
    assert row["cost_usd"] == pytest.approx(spoken + thought)
    assert row["unpriced_requests"] == 1
    [turn] = table(intake, "turns")
    assert turn["cost_usd"] == pytest.approx(spoken + thought)
    assert outcome.number == 1
    assert (outcome.calls, outcome.changed, outcome.going_on) == (1, 1, 0)
    assert_sums_are_those_of_the_rows(intake)


def test_row_says_which_prices_gave_its_cost(intake: Intake) -> None:
    """A row whose cost stays keeps the version that it was priced with."""
    platform = records.thought(model="gpt-4.1")
    intake.take(records.started(), records.thought(), platform, records.closed())
    run(intake)

    versions = {row["model"]: row["prices_version"] for row in table(intake, "usage")}
    assert versions == {"gpt-4.1-mini": CORRECTED.version, "gpt-4.1": SHIPPED.version}


def test_wasted_part_follows(intake: Intake) -> None:
    """A reply thrown away, one talked over half-way, and one that had no price."""
    intake.take(
        records.started(),
        records.asked(),
        records.thought(),
        records.spoken(characters=80),
        records.answered(interrupted=True),
        records.thought(speech="thrown-away"),
        records.thought(speech="unknown", model="no-such-model"),
        records.closed(),
    )
    assert intake.figure("SELECT wasted_usd FROM usage WHERE model = 'no-such-model'") == 0
    run(intake)

    rows = {(row["speech"], row["model"]): row for row in table(intake, "usage")}
    assert rows["speech-1", "sonic-3"]["wasted_usd"] == pytest.approx(40 * 30e-6)
    assert rows["speech-1", "gpt-4.1-mini"]["wasted_usd"] == pytest.approx(50 * 0.9e-6)
    assert rows["thrown-away", "gpt-4.1-mini"]["wasted_usd"] == pytest.approx(0.00029)
    unknown = rows["unknown", "no-such-model"]
    assert (unknown["waste_reason"], unknown["wasted_usd"]) == ("speculative", unknown["cost_usd"])
    assert_sums_are_those_of_the_rows(intake)


def test_attempt_that_failed_is_waste_once_it_has_a_price(intake: Intake) -> None:
    """It was for nothing all along; of a reply that was cut off, some may have been heard."""
    reasons: tuple[Gap, ...] = ("failed", "interrupted")
    attempts = [replace(prompt(reason=reason), model="no-such-model") for reason in reasons]
    intake.take(records.started(), *attempts, records.closed())
    assert intake.figure("SELECT sum(wasted_usd) FROM usage") == 0
    run(intake)

    failed, interrupted = table(intake, "usage")
    assert (failed["waste_reason"], failed["cost_usd"]) == ("failed", pytest.approx(0.0012))
    assert failed["wasted_usd"] == failed["cost_usd"] == interrupted["cost_usd"]
    assert interrupted["wasted_usd"] == 0
    assert list(findings(intake.config.ledger.where(intake.config.data_dir))) == []


@st.composite
def orderly(draw: st.DrawFn, session: str) -> list[Record]:
    """A call in which things happen in their order, and which says goodbye."""
    first = records.started(session, at=AT + draw(st.integers(-3, 3)) * 9 * 3600)
    happened: list[Record] = [
        replace(first, user=draw(st.sampled_from([None, "u-1"])), labels={"tenant": "acme"})
    ]
    at = first.at
    for number_of in range(draw(st.integers(0, 4))):
        at += draw(st.sampled_from([10.0, 9 * 3600.0]))
        speech = f"speech-{number_of}"
        model = draw(st.sampled_from(["gpt-4.1-mini", "gpt-4.1", "no-such-model"]))
        tokens = draw(st.integers(0, 500))
        happened += [records.asked(session, at=at), records.heard(session, at=at)]
        if draw(st.booleans()):
            happened.append(
                records.thought(session, at=at, speech=f"early-{number_of}", model=model)
            )
        happened += [
            records.committed(session, at=at, speech=speech),
            records.thought(session, at=at, speech=speech, model=model, tokens=tokens),
            records.spoken(session, at=at, speech=speech, characters=draw(st.integers(0, 200))),
            records.answered(session, at=at, speech=speech, interrupted=draw(st.booleans())),
        ]
    return [*happened, records.closed(session, at=at + 60)]


@settings(max_examples=25)
@given(orderly("s1"), orderly("s2"))
def test_repriced_ledger_is_the_one_of_a_sidecar_with_these_prices(
    first: list[Record], second: list[Record]
) -> None:
    """The same journals, priced later or at once."""
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        later = Intake(Path(one))
        at_once = Intake(Path(other), prices=CORRECTED)
        with closing(later.ingest), closing(at_once.ingest):
            for intake in (later, at_once):
                intake.take(*first)
                intake.take(*second)
            run(later)
            for name in _KEYS:
                assert_same(table(at_once, name), table(later, name))


@settings(max_examples=25)
@given(any_calls("s1"), any_calls("s2"), st.integers(0, 40))
def test_sums_follow_whatever_happened(
    first: Sequence[Record], second: Sequence[Record], cut: int
) -> None:
    """Calls of any shape; the second repricing changes nothing, the way back changes all back."""
    with TemporaryDirectory() as folder:
        intake = Intake(Path(folder))
        with closing(intake.ingest):
            intake.take(*first[:cut], *second)
            intake.take(*first[cut:])
            before = {name: table(intake, name) for name in _KEYS}
            run(intake)
            assert_sums_are_those_of_the_rows(intake)
            after = {name: table(intake, name) for name in _KEYS}
            again = run(intake)
            assert (again.models, again.number) == ({}, None)
            assert {name: table(intake, name) for name in _KEYS} == after
            run(intake, SHIPPED)
            for name in ("usage", "sessions", "turns", "daily", "daily_users"):
                without_waste = [
                    [{**row, "wasted_usd": 0.0, "waste_reason": None} for row in rows]
                    for rows in (before[name], table(intake, name))
                ]
                assert_same(*without_waste)


def test_same_prices_change_nothing(intake: Intake) -> None:
    """Not a digit, and no history."""
    intake.take(*records.call())
    before = {name: table(intake, name) for name in _KEYS}

    outcome = run(intake, SHIPPED)

    assert outcome.models == {}
    assert {name: table(intake, name) for name in _KEYS} == before
    assert intake.ask("SELECT count(*) FROM repricings") == [(0,)]


def test_dry_run_says_the_same_and_changes_nothing(intake: Intake) -> None:
    """It only looks."""
    intake.take(*records.call())
    before = {name: table(intake, name) for name in _KEYS}

    dry = run(intake, dry_run=True)

    assert dry.number is None
    assert {name: table(intake, name) for name in _KEYS} == before
    assert run(intake).models == dry.models


def test_call_that_goes_on_keeps_its_cost(intake: Intake) -> None:
    """The sidecar has it in hand."""
    intake.take(*records.call("over"))
    with Writer(intake.config.data_dir, "going-on") as journal:
        journal.put(records.started("now"), records.thought("now"))
        intake.passes()
        outcome = run(intake)

        assert (outcome.calls, outcome.going_on) == (1, 1)
        assert intake.figure("SELECT cost_usd FROM sessions WHERE session = 'now'") == 0.00056


def test_usage_outside_of_the_period_keeps_its_cost(intake: Intake) -> None:
    """From the first moment on, until the moment before the last; the call is the sum of both."""
    intake.take(
        records.started(),
        *(records.thought(at=AT + second, speech=f"s{second}") for second in (10, 20, 30)),
        records.closed(),
    )
    run(intake, which=Which(AT + 20, AT + 30))

    costs = [row["cost_usd"] for row in table(intake, "usage")]
    assert costs == [0.00056, pytest.approx(0.00029), 0.00056]
    assert_sums_are_those_of_the_rows(intake)


def test_only_the_chosen_model_changes(intake: Intake) -> None:
    """A correction of one price need not touch the others."""
    intake.take(*records.call())
    outcome = run(intake, which=Which(ALL.since, ALL.until, {"stage": ("tts",)}))

    assert [name.model for name in outcome.models] == [TTS.model]
    assert intake.figure("SELECT cost_usd FROM usage WHERE stage = 'llm'") == 0.00056
    assert_sums_are_those_of_the_rows(intake)


def test_history_keeps_what_changed(intake: Intake) -> None:
    """When, with which prices, and the sums before and after by model."""
    intake.take(*records.call())
    run(intake)
    run(intake, SHIPPED)

    with reading(files.ledger(intake.config.data_dir)) as connection:
        history = repricing.history(connection)

    assert [line.repricing for line in history] == [2, 2, 2, 1, 1, 1]
    first = {line.name.model: line for line in history if line.repricing == 1}
    assert first["gpt-4.1-mini"].prices_version == CORRECTED.version
    assert tuple(first["gpt-4.1-mini"].change) == pytest.approx((1, 0.00056, 0.00029, 0, 0))
    assert tuple(first[STT.model].change) == pytest.approx((1, 0.0004, 0.0, 0, 1))


def test_running_sidecar_shows_the_new_spend_and_keeps_its_counters(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counters cannot go down; the gauge of the period is the ledger's sum."""
    monkeypatch.setattr("time.time", lambda: AT + 100)
    intake = Intake(data_dir)
    with closing(intake.ingest):
        intake.take(*records.call())
        before = intake.counter(contract.COST)
        run(intake)
        intake.clock.advance(5)
        intake.passes()

        assert intake.counter(contract.COST) == before
        spent = intake.figure("SELECT sum(cost_usd) FROM usage")
        assert f'period="day",source="reported"}} {spent}' in intake.page()
        assert intake.counter(contract.LEDGER_ERRORS) == 0


def test_late_record_of_an_ended_call_does_not_bring_old_costs_back(intake: Intake) -> None:
    """The sidecar remembers calls that ended; it has to forget these."""
    intake.take(*records.call())
    run(intake)
    intake.take(records.thought(at=AT + 90, speech="late"))
    intake.passes()

    assert intake.figure("SELECT count(*) FROM usage WHERE speech = 'late'") == 1
    assert intake.counter(contract.LEDGER_ERRORS) == 0
    assert_sums_are_those_of_the_rows(intake)


def test_call_that_changes_meanwhile_stops_everything(intake: Intake) -> None:
    """Nothing is written over what came after it was read."""
    intake.take(*records.call("s1"))
    intake.take(*records.call("s2"))
    before: dict[str, list[Row]] = {}

    def interrupted(calls: list[Chunk]) -> Iterator[Chunk]:
        yield from calls
        intake.take(records.thought("s2", at=AT + 90, speech="late"))
        before.update({name: table(intake, name) for name in _KEYS})

    where = files.ledger(intake.config.data_dir)
    with pytest.raises(LedgerError, match="a call changed while it was repriced; nothing was"):
        reprice.reprice(where, ALL, CORRECTED, interrupted, dry_run=False)

    assert {name: table(intake, name) for name in _KEYS} == before
    assert intake.ask("SELECT count(*) FROM repricings") == [(0,)]
    assert run(intake).number == 1
    assert_sums_are_those_of_the_rows(intake)


def test_killed_half_way_nothing_changed(intake: Intake, tmp_path: Path) -> None:
    """The last statement of the transaction never comes."""
    intake.take(*records.call())
    before = {name: table(intake, name) for name in _KEYS}
    prices = tmp_path / "mine.yaml"
    prices.write_text(CORRECTION)
    code = (
        "import os, signal\n"
        "from livekit_exporter.ledger import repricing\n"
        "repricing._note = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from livekit_exporter.cli.app import app\n"
        "app()\n"
    )
    words = ["prices", "reprice", "--since", "2026-11-01", "--prices", str(prices)]
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--data-dir", str(intake.config.data_dir)],
        capture_output=True,
        check=False,
    )

    assert done.returncode == -signal.SIGKILL, done.stderr
    assert {name: table(intake, name) for name in _KEYS} == before
    assert intake.ask("SELECT count(*) FROM repricings") == [(0,)]


def test_export_of_a_repriced_call_is_written_again(intake: Intake) -> None:
    """It says what the call cost."""
    intake.take(*records.call())
    intake.passes()
    assert intake.ask("SELECT exported_at IS NULL FROM sessions") == [(0,)]
    run(intake)

    assert intake.ask("SELECT exported_at IS NULL FROM sessions") == [(1,)]


def test_ledger_on_a_server_is_repriced_alike(data_dir: Path, database_url: str) -> None:
    """The same statements, in PostgreSQL."""
    intake = Intake(data_dir, ledger=Ledger(url=database_url))  # type: ignore[arg-type]
    with closing(intake.ingest):
        intake.take(*records.call())
        outcome = run(intake)
        intake.take(records.thought(at=AT + 90, speech="late"))
        intake.passes()

        assert outcome.number == 1
        summed = "SELECT sum(cost_usd) FROM"
        rows = intake.figure(f"{summed} usage")
        for name in ("daily", "daily_users", "sessions"):
            assert intake.figure(f"{summed} {name}") == pytest.approx(rows)
        assert intake.figure("SELECT cost_usd FROM usage WHERE stage = 'tts'") == pytest.approx(
            40 * 30e-6
        )
        assert run(intake).number == 2
        assert intake.counter(contract.LEDGER_ERRORS) == 0


def report(outcome: Outcome, *, dry_run: bool = False) -> Report:
    """The answer about all of the time."""
    asked = Question(period=Period(ALL.since, ALL.until))
    return reprice.report(outcome, asked, CORRECTED.version, dry_run=dry_run)


def test_answer_shows_both_sums_and_what_it_does_not_touch(intake: Intake) -> None:
    """By model, the largest difference first."""
    intake.take(*records.call())
    found = report(run(intake))

    assert [line["model"] for line in lines(found)] == [TTS.model, STT.model, "gpt-4.1-mini"]
    assert totals(found)["difference_usd"] == pytest.approx(-0.0008 - 0.0004 - 0.00027)
    assert any("in one transaction: repricing 1" in note for note in found.notes)
    assert any("counters and histograms on /metrics keep what was counted" in note
               for note in found.notes)  # fmt: skip


def test_answer_names_calls_that_went_on_and_days_that_are_sums() -> None:
    """Whoever corrects a price must know what it did not reach."""
    outcome = Outcome(models={}, calls=0, changed=0, going_on=2, kept_from=AT)
    found = report(outcome)

    assert found.empty == "every cost stays what it is: 0 calls looked at"
    assert found.notes == (
        "2 calls of the period still going on; they keep their costs until somebody reprices them",
        "of calls before 2026-11-18 only daily sums may be left, which stay as they are",
    )


def command(data_dir: Path, *words: str) -> tuple[int, str, str]:
    """Exit status, standard output and error of a command about prices."""
    result = CliRunner().invoke(app, ["prices", *words, "--data-dir", str(data_dir)])
    return result.exit_code, result.stdout, result.stderr


def test_command_reprices_and_keeps_the_history(
    data_dir: Path, tmp_path: Path, intake: Intake
) -> None:
    """From the words on the command line to the ledger."""
    intake.take(*records.call())
    prices = tmp_path / "mine.yaml"
    prices.write_text(CORRECTION)
    words = ("reprice", "--since", "2026-11-01", "--prices", str(prices), "--json")

    dry = json.loads(command(data_dir, *words, "--dry-run")[1])
    status, out, _ = command(data_dir, *words)
    history = json.loads(command(data_dir, "repricings", "--json")[1])

    assert status == 0
    assert json.loads(out)["rows"] == dry["rows"]
    assert [row["repricing"] for row in history["rows"]] == [1, 1, 1]
    assert intake.figure("SELECT cost_usd FROM usage WHERE stage = 'llm'") == pytest.approx(0.00029)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "say from when on usage is priced again, such as --since 2026-11-01"),
        (("--since", "nonsense"), "'nonsense' is no time"),
        (("--since", "7d"), "ledger.db'"),
        (("--since", "7d", "--prices", "none.yaml"), "--prices: cannot read"),
    ],
)
def test_command_says_no_in_one_line(words: tuple[str, ...], says: str, data_dir: Path) -> None:
    """A mistake is no traceback, and makes no ledger."""
    status, _, error = command(data_dir, "reprice", *words)

    assert status == 1
    assert says in error
    assert error.count("\n") == 1
    assert not files.ledger(data_dir).exists()
