"""Cost: by hand, from rollups and rows alike, and never less than what is said beside it."""

from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from livekit_exporter import files
from livekit_exporter.prices import catalogue
from livekit_exporter.prices.pricing import price_record
from livekit_exporter.record import Record, SessionStarted
from livekit_exporter.reports import cost, period
from livekit_exporter.reports import reading as ledger_reading
from livekit_exporter.reports.question import QuestionError
from tests.intake import Intake
from tests.questions import DAY, MIDNIGHT, question, reading, rows, totals
from tests.records import AT, answered, asked, call, closed, heard, spoken, started, thought

PRICES = catalogue.load()
LLM_USD, TTS_USD, STT_USD = (
    float(price_record(PRICES, record).cost) for record in (thought(), spoken(), heard())
)
CALL_USD = LLM_USD + TTS_USD + STT_USD


def moved(records: list[Record], session: str, seconds: float) -> list[Record]:
    """The same call as another one, at another time."""
    return [replace(record, session=session, at=record.at + seconds) for record in records]


def tagged(session: str, user: str | None, **labels: str) -> SessionStarted:
    """The begin of a call with a user and labels."""
    return replace(started(session), user=user, labels=labels)


def test_cost_of_one_call_by_hand(intake: Intake) -> None:
    """One minute, one turn, three providers."""
    intake.take(*call())

    with reading(intake) as ledger:
        report = cost.report(ledger, question())

    [line] = rows(report)
    assert line["cost_usd"] == pytest.approx(CALL_USD, rel=1e-12)
    assert (line["sessions"], line["session_minutes"], line["cost_share"]) == (1, 1.0, 1.0)
    assert line["cost_usd_per_minute"] == line["cost_usd_per_turn"] == line["cost_usd"]
    assert report.notes == ()


def test_cost_by_model_adds_up(intake: Intake) -> None:
    """The largest first; the rates are parts of a whole minute's cost."""
    intake.take(*call())
    intake.take(*moved(call(), "s2", 60))

    with reading(intake) as ledger:
        report = cost.report(ledger, question("stage", "model"))

    assert {line["model"]: line["cost_usd"] for line in rows(report)} == pytest.approx(
        {"sonic-3": 2 * TTS_USD, "gpt-4.1-mini": 2 * LLM_USD, "nova-3": 2 * STT_USD}
    )
    spent = [float(str(line["cost_usd"])) for line in rows(report)]
    assert spent == sorted(spent, reverse=True)
    total = totals(report)
    for name in ("cost_usd", "cost_share", "cost_usd_per_minute", "cost_usd_per_turn"):
        assert sum(float(str(line[name])) for line in rows(report)) == pytest.approx(total[name])


def test_cost_by_user_and_label(intake: Intake) -> None:
    """Who they are stands in the ledger, not in the metrics; nobody is a line too."""
    intake.take(tagged("s1", "u-1", tenant="acme"), *call("s1")[1:])
    intake.take(tagged("s2", "u-2", tenant="acme"), *call("s2")[1:])
    intake.take(tagged("s3", None), *call("s3")[1:])

    with reading(intake) as ledger:
        report = cost.report(ledger, question("tenant", "user"))

    assert [(line["tenant"], line["user"], line["sessions"]) for line in rows(report)] == [
        (None, None, 1),
        ("acme", "u-1", 1),
        ("acme", "u-2", 1),
    ]


def test_filters_leave_the_rest_out(intake: Intake) -> None:
    """By user, label, agent and model; in any combination."""
    intake.take(tagged("s1", "u-1", tenant="acme"), *call("s1")[1:])
    intake.take(tagged("s2", "u-2", tenant="globex"), *call("s2")[1:])

    with reading(intake) as ledger:
        spent = [
            rows(cost.report(ledger, asked_for))[0]["cost_usd"]
            for asked_for in (
                question(user="u-1"),
                question(labels={"tenant": ("globex",)}),
                question(labels={"tenant": ("acme", "globex")}, model="nova-3"),
                question(agent="support", stage="llm", user="u-2"),
            )
        ]
        nothing = cost.report(ledger, question("agent", user="u-3"))

    assert spent == pytest.approx([CALL_USD, CALL_USD, 2 * STT_USD, LLM_USD])
    assert nothing.rows == ()
    assert nothing.empty == "nothing was used and no call began: 2026-11-18 (UTC)"


def test_nothing_at_all_is_a_sentence(intake: Intake) -> None:
    """Not a line of zeros, whatever it would be divided by."""
    intake.take(*call())
    later = MIDNIGHT + 9 * DAY

    with reading(intake) as ledger:
        reports = [
            cost.report(ledger, question(*by, since=since, until=later + DAY))
            for by in ((), ("day",), ("model",), ("hour",))
            for since in (later, later + 1)
        ]

    assert [report.rows for report in reports] == [()] * 8


def test_unknown_label_is_refused(intake: Intake) -> None:
    """With what may have been meant."""
    intake.take(tagged("s1", "u-1", tenant="acme"), *call("s1")[1:])

    with reading(intake) as ledger:
        with pytest.raises(QuestionError, match=r"'tennant' is no .*did you mean 'tenant'"):
            cost.report(ledger, question("tennant"))
        with pytest.raises(QuestionError, match=r"'plan' is no dimension.*there are day, hour"):
            cost.report(ledger, question(labels={"plan": ("x",)}))


def test_label_called_like_a_figure_keeps_both(intake: Intake) -> None:
    """Columns of a file must not overwrite one another."""
    intake.take(tagged("s1", "u-1", cost_usd="high"), *call("s1")[1:])

    with reading(intake) as ledger:
        report = cost.report(ledger, question("cost_usd"))

    [line] = rows(report)
    assert line["label.cost_usd"] == "high"
    assert line["cost_usd"] == pytest.approx(CALL_USD)


def test_usage_without_a_price_is_named_and_costs_unknown(intake: Intake) -> None:
    """Never zero."""
    intake.take(started(), thought(model="home-made", provider="nobody"), closed())

    with reading(intake) as ledger:
        report = cost.report(ledger, question("model"))

    [line] = rows(report)
    assert (line["cost_usd"], line["cost_usd_per_minute"], line["unpriced_requests"]) == (
        None,
        None,
        1,
    )
    assert report.notes[-1].startswith(
        "1 request without a price, so the cost is too low: nobody/home-made;"
    )


def test_lost_and_open_calls_are_named(intake: Intake) -> None:
    """Their figures may grow, or never will."""
    intake.take(*call("s1")[:-1])  # no goodbye: its process died

    with reading(intake) as ledger:
        report = cost.report(ledger, question())

    assert report.notes == ("1 call ended without a goodbye; the end may be missing",)


def test_estimated_cost_is_never_in_the_cost(intake: Intake) -> None:
    """What vendors bill and LiveKit does not report has a column of its own."""
    intake.take(*call())
    estimate(intake, usd=0.5)

    with reading(intake) as ledger:
        by_model = cost.report(ledger, question("model"))
        by_user = cost.report(ledger, question("user"))

    for report in (by_model, by_user):
        assert totals(report)["cost_usd"] == pytest.approx(CALL_USD)
        assert totals(report)["estimated_usd"] == 0.5
        assert any(note.startswith("estimated cost is") for note in report.notes)


def test_limit_leaves_lines_out_of_the_table_and_not_of_the_total(intake: Intake) -> None:
    """And says how many."""
    intake.take(*call())

    with reading(intake) as ledger:
        report = cost.report(ledger, question("model", limit=1))

    assert [line["model"] for line in rows(report)] == ["sonic-3"]
    assert totals(report)["cost_usd"] == pytest.approx(CALL_USD)
    assert "2 more lines are left out by --limit" in report.notes


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_day_of_a_zone_is_as_long_as_its_clocks_say(intake: Intake, day: str, hours: int) -> None:
    """A request at every hour; those of the day before and after are not in it."""
    zone = ZoneInfo("Europe/Berlin")
    read = period.read(day, f"{day[:-2]}{int(day[-2:]) + 1}", AT, zone)
    begin = read.since
    for hour in range(-1, hours + 1):
        intake.take(
            started(f"s{hour}", at=begin + hour * 3600),
            thought(f"s{hour}", at=begin + hour * 3600 + 1),
            closed(f"s{hour}", at=begin + hour * 3600 + 60),
        )
    since, until = begin - DAY, read.until + DAY

    with reading(intake) as ledger:
        by_day = rows(cost.report(ledger, question("day", since=since, until=until, zone=zone)))
        by_hour = rows(cost.report(ledger, question("hour", since=since, until=until, zone=zone)))

    assert [(line["sessions"]) for line in by_day] == [1, hours, 1]
    assert by_day[1]["day"] == day
    assert by_day[1]["cost_usd"] == pytest.approx(hours * LLM_USD)
    assert len(by_hour) == hours + 2
    assert sum(str(line["hour"]).startswith(day) for line in by_hour) == hours


def test_day_that_is_gone_says_what_is_left_of_it(intake: Intake) -> None:
    """Rows are deleted when they are old; the sums by day stay."""
    intake.take(*moved(call(), "old", -3 * DAY))
    intake.take(*call())
    ledger_store = intake.ingest.ledger
    assert ledger_store is not None
    assert ledger_store.forget_calls(MIDNIGHT, 100) == 1
    since = MIDNIGHT - 7 * DAY

    with reading(intake) as ledger:
        by_model = cost.report(ledger, question("model", since=since))
        by_persona = cost.report(ledger, question("persona", since=since))

    assert totals(by_model)["cost_usd"] == pytest.approx(2 * CALL_USD)
    assert totals(by_persona)["cost_usd"] == pytest.approx(CALL_USD)
    assert any(note.startswith("of calls before 2026-11-18 only") for note in by_persona.notes)


DIMENSIONS = ("day", "agent", "stage", "provider", "model", "user", "tenant", "session", "persona")


@settings(max_examples=30)
@given(
    calls=st.lists(
        st.tuples(
            st.integers(-3 * 24, 3 * 24),  # hours from the middle
            st.sampled_from(["support", "sales"]),
            st.sampled_from([None, "u-1", "u-2"]),
            st.sampled_from([{}, {"tenant": "acme"}]),
            st.integers(1, 5000),
        ),
        min_size=1,
        max_size=8,
    ),
    by=st.lists(st.sampled_from(DIMENSIONS[:6]), unique=True, max_size=3),
    cut=st.floats(-2 * DAY, 2 * DAY),
)
def test_rollup_and_rows_give_the_same_sums(
    tmp_path_factory: pytest.TempPathFactory,
    calls: list[tuple[int, str, str | None, dict[str, str], int]],
    by: list[str],
    cut: float,
) -> None:
    """Whatever is asked, whatever the period begins with."""
    intake = Intake(tmp_path_factory.mktemp("ledger") / "data")
    for number, (hours, agent, user, labels, tokens) in enumerate(calls):
        session, at = f"s{number}", AT + hours * 3600
        begun = replace(started(session, at=at, agent=agent), user=user, labels=labels)
        intake.take(
            begun,
            heard(session, at=at + 1),
            asked(session, at=at + 1),
            thought(session, at=at + 2, tokens=tokens),
            spoken(session, at=at + 3, characters=tokens),
            answered(session, at=at + 4),
            closed(session, at=at + 60),
        )
    intake.ingest.close()
    asked_for = question(*by, since=AT + cut, until=MIDNIGHT + 4 * DAY)
    row_by_row = replace(asked_for, by=(*by, "hour"))

    with reading(intake) as ledger:
        quick = ledger_reading.usage(ledger, asked_for, ("cost_usd", "unpriced_requests"))
        slow = ledger_reading.usage(ledger, row_by_row, ("cost_usd", "unpriced_requests"))
        calls_quick = ledger_reading.calls(ledger, asked_for)
        calls_slow = ledger_reading.calls(ledger, row_by_row)

    assert not slow.rolled_up
    folded = fold(slow.reported)
    assert quick.reported.keys() == folded.keys()
    for group, sums in quick.reported.items():
        assert sums == pytest.approx(folded[group])
    folded = fold(calls_slow)
    for group, sums in calls_quick.items():
        if any(sums.values()):
            assert {name: sums.get(name, 0) for name in folded[group]} == pytest.approx(
                folded[group]
            )


def fold(
    groups: dict[tuple[str | None, ...], dict[str, float]],
) -> dict[tuple[str | None, ...], dict[str, float]]:
    """Add groups up over their last dimension."""
    folded: dict[tuple[str | None, ...], dict[str, float]] = {}
    for group, sums in groups.items():
        held = folded.setdefault(group[:-1], {})
        for name, amount in sums.items():
            held[name] = held.get(name, 0) + amount
    return folded


def change(intake: Intake, statement: str, **values: object) -> None:
    """Write to the ledger with nothing but SQL."""
    path = files.ledger(intake.config.data_dir)
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text(statement), values)
    engine.dispose()


def estimate(intake: Intake, usd: float) -> None:
    """Add estimated cost to a row of usage and to the rollups, as a sidecar writes it."""
    for table, columns in (
        ("usage", "cost_usd"),
        ("daily", "cost_usd"),
        ("daily_users", "cost_usd"),
    ):
        found = intake.ask(f"SELECT * FROM {table} LIMIT 1")  # noqa: S608 - our own names
        names = [str(row[1]) for row in intake.ask(f"PRAGMA table_info({table})")]
        row = dict(zip(names, found[0], strict=True))
        row.update({"source": "estimated", columns: usd})
        row.pop("id", None)
        if "key" in row:
            row["key"] = "another"
        marks = ", ".join(f":{name}" for name in row)
        quoted = ", ".join(f'"{name}"' for name in row)
        change(intake, f"INSERT INTO {table} ({quoted}) VALUES ({marks})", **row)  # noqa: S608
