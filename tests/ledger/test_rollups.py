"""What stays when rows go: sums by day that are those of the rows, whatever happened."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekit_exporter import contract
from livekit_exporter.ledger.rows import ModelSums, UserSums, utc_day
from livekit_exporter.record import Record
from tests.intake import Intake
from tests.records import (
    AT,
    Writer,
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

HOUR = 3600.0
TIMES = st.integers(-30, 30).map(lambda hours: AT + hours * HOUR)
SPEECHES = st.sampled_from(["a", "b", "c"])


@st.composite
def calls(draw: st.DrawFn, session: str) -> list[Record]:
    """A call of any shape: talked over, thrown away, unpriced, cancelled, over midnight, lost."""
    labels = draw(st.sampled_from([{}, {"tenant": "acme"}, {"tier": "1", "tenant": "acme"}]))
    user = draw(st.sampled_from([None, "", "u-1", "u-2"]))
    agent = draw(st.sampled_from(["support", "sales"]))
    first = replace(started(session, at=draw(TIMES), agent=agent), user=user, labels=labels)
    at = draw(TIMES)
    records: list[Record] = [first]
    for speech in draw(st.lists(SPEECHES, max_size=6)):
        at += draw(st.sampled_from([1.0, HOUR, 9 * HOUR]))
        usage = thought(
            session,
            at=at,
            speech=draw(st.sampled_from([speech, None])),
            model=draw(st.sampled_from(["gpt-4.1-mini", "no-such-model"])),
            tokens=draw(st.integers(0, 500)),
            cancelled=draw(st.booleans()),
        )
        said = answered(session, at=at, speech=speech, interrupted=draw(st.booleans()))
        happened: list[Record] = [
            asked(session, at=at),
            heard(session, at=at),
            committed(session, at=at, speech=speech),
            replace(usage, usage=replace(usage.usage, cached_input_tokens=3)),
            spoken(session, at=at, speech=speech, characters=draw(st.integers(0, 300))),
            said,
        ]
        records += draw(st.permutations(happened))[: draw(st.integers(1, 6))]
    if draw(st.booleans()):
        records.append(closed(session, at=draw(TIMES)))
    return records


@settings(max_examples=40)
@given(calls("s1"), calls("s2"), st.integers(0, 40))
def test_rollups_are_the_sums_of_their_rows(
    first: Sequence[Record], second: Sequence[Record], cut: int
) -> None:
    """To a billionth of a dollar, wherever a batch ended."""
    with TemporaryDirectory() as folder:
        intake = Intake(Path(folder))
        with closing(intake.ingest):
            intake.take(*first[:cut], *second)
            intake.take(*first[cut:])

            assert_same(by_model(intake), kept(intake, "daily", MODEL, ModelSums._fields))
            assert_same(by_user(intake), kept(intake, "daily_users", USER, UserSums._fields))
            assert_waste_is_one_sum(intake)
            assert_a_turn_costs_what_its_rows_cost(intake)


MODEL = ("day", "agent", "stage", "provider", "model", "source")
USER = ("day", "agent", "user", "labels", "source")


def assert_a_turn_costs_what_its_rows_cost(intake: Intake) -> None:
    """Every row belongs to one turn, or to none that was ever answered."""
    summed: dict[tuple[object, ...], float] = defaultdict(float)
    for row in rows(intake, "usage"):
        if row["turn"] is not None:
            summed[row["session"], row["turn"]] += number(row["cost_usd"])
    turns = {
        (row["session"], row["speech"]): number(row["cost_usd"]) for row in rows(intake, "turns")
    }
    assert turns.keys() >= summed.keys()
    for turn, usd in turns.items():
        assert summed[turn] == pytest.approx(usd, abs=1e-9)


def rows(intake: Intake, table: str) -> list[dict[str, object]]:
    """All rows of a table by column."""
    info = f"SELECT name FROM pragma_table_info('{table}')"  # noqa: S608 - a list
    names = [name for (name,) in intake.ask(info)]
    return [
        dict(zip(map(str, names), row, strict=True))
        for row in intake.ask(f"SELECT * FROM {table}")  # noqa: S608 - a list
    ]


def kept(
    intake: Intake, table: str, key: Sequence[str], sums: Sequence[str]
) -> dict[tuple[object, ...], list[float]]:
    """What a rollup says."""
    return {
        tuple(row[name] for name in key): [number(row[name]) for name in sums]
        for row in rows(intake, table)
    }


def number(value: object) -> float:
    return float(str(value)) if value is not None else 0.0


def unpriced(row: Mapping[str, object]) -> float:
    return max(number(row["requests"]), 1) if row["status"] == "unpriced" else 0


def by_model(intake: Intake) -> dict[tuple[object, ...], list[float]]:
    """The rollup by model, added up from rows."""
    summed: dict[tuple[object, ...], list[float]] = defaultdict(
        lambda: [0.0] * len(ModelSums._fields)
    )
    for row in rows(intake, "usage"):
        key = (utc_day(number(row["at"])), *(row[name] for name in MODEL[1:]))
        counted = {
            "cancelled_requests": number(row["cancelled"]),
            "unpriced_requests": unpriced(row),
        }
        add(summed[key], [counted.get(name, number(row.get(name))) for name in ModelSums._fields])
    return summed


def by_user(intake: Intake) -> dict[tuple[object, ...], list[float]]:
    """The rollup by user, added up from rows."""
    summed: dict[tuple[object, ...], list[float]] = defaultdict(
        lambda: [0.0] * len(UserSums._fields)
    )
    sessions = {row["session"]: row for row in rows(intake, "sessions")}

    def key(at: object, row: Mapping[str, object]) -> tuple[object, ...]:
        return (utc_day(number(at)), row["agent"], row["user"], row["labels"], "reported")

    for row in sessions.values():
        ended = number(row["closed_at"]) - number(row["started_at"]) if row["ended"] else 0.0
        sums = UserSums(sessions=1, session_seconds=max(ended, 0.0))
        add(summed[key(row["started_at"], row)], sums)
    for row in rows(intake, "turns"):
        if row["answered"]:
            add(summed[key(row["at"], sessions[row["session"]])], UserSums(turns=1))
    for row in rows(intake, "usage"):
        sums = UserSums(
            unpriced_requests=int(unpriced(row)),
            cost_usd=number(row["cost_usd"]),
            wasted_usd=number(row["wasted_usd"]),
        )
        add(summed[key(row["at"], row)], sums)
    return summed


def add(held: list[float], sums: Sequence[float]) -> None:
    for position, amount in enumerate(sums):
        held[position] += amount


def assert_same(
    summed: Mapping[tuple[object, ...], list[float]], told: Mapping[tuple[object, ...], list[float]]
) -> None:
    """The same days and products, and the same numbers."""
    assert summed.keys() == told.keys()
    for key, sums in summed.items():
        assert told[key] == pytest.approx(sums, abs=1e-9), key


def assert_waste_is_one_sum(intake: Intake) -> None:
    """Calls, replies, usage and the page agree on it, and no row wastes more than it cost."""
    wasted = intake.figure("SELECT sum(wasted_usd) FROM usage")
    assert intake.counter(contract.WASTED_COST) == pytest.approx(wasted, abs=1e-9)
    for table in ("sessions", "turns"):
        told = intake.figure(f"SELECT sum(wasted_usd) FROM {table}")  # noqa: S608 - a list
        assert told == pytest.approx(wasted, abs=1e-9), table
    assert not intake.ask(
        "SELECT * FROM usage WHERE wasted_usd > coalesce(cost_usd, 0.0) + 1e-12"
        " OR (wasted_usd > 0) <> (waste_reason IS NOT NULL)"
    )


def test_every_usage_row_says_whose_it_is_and_where_its_price_came_from(intake: Intake) -> None:
    """So that no report has to ask the call for it."""
    first, *rest = call()
    whose = {"user": "u-42", "labels": {"tier": "gold", "tenant": "acme"}}
    intake.take(replace(first, **whose), *rest)  # type: ignore[arg-type]

    told = rows(intake, "usage")
    assert len(told) == 3
    for row in told:
        assert (row["session"], row["agent"], row["user"]) == ("s1", "support", "u-42")
        assert row["labels"] == '{"tenant": "acme", "tier": "gold"}'
        assert row["source"] == "reported"
        assert row["price"]
        assert row["prices_version"]
        assert (row["waste_reason"], row["wasted_usd"]) == (None, 0.0)


def test_what_was_wasted_stands_on_the_usage_that_was_wasted(
    data_dir: Path, intake: Intake
) -> None:
    """Known when the next answer begins: rows that are in the ledger by then are changed."""
    with Writer(data_dir) as journal:
        journal.put(
            started(),
            asked(),
            thought(),
            spoken(characters=400),
            replace(answered(interrupted=True), characters=100),
        )
        intake.passes()
        assert intake.figure("SELECT count(*) FROM usage WHERE waste_reason IS NOT NULL") == 0

        journal.put(
            asked(at=AT + 9),
            thought(at=AT + 9, speech="thrown-away"),
            thought(at=AT + 9, speech="speech-2"),
            answered(at=AT + 9, speech="speech-2"),
        )
        intake.passes()

        told = intake.ask("SELECT speech, stage, waste_reason, wasted_usd / cost_usd FROM usage")

    assert told[1] == ("speech-1", "tts", "interrupted", pytest.approx(0.75))
    assert told[0][:3] == ("speech-1", "llm", "interrupted")
    assert told[2] == ("thrown-away", "llm", None, 0.0)
    assert told[3] == ("speech-2", "llm", None, 0.0)
