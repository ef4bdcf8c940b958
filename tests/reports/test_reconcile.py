"""The ledger against a provider's export."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from livekit_exporter.cli.app import app
from livekit_exporter.prices import catalogue
from livekit_exporter.reports import csv_table, exports, reconcile
from livekit_exporter.reports.csv_table import CsvError, parse
from livekit_exporter.reports.exports import UNITS, Columns, Export
from livekit_exporter.reports.question import QuestionError
from livekit_exporter.reports.reconcile import ModelNames, Pair
from livekit_exporter.reports.report import Report
from tests import records
from tests.intake import Intake
from tests.reports.spending import lines, question, totals

ZONE = ZoneInfo("UTC")
DAY = datetime.fromtimestamp(records.AT, UTC).date()
MIDNIGHT = int(datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC).timestamp())
TOLERANCE = Decimal("0.05")

COST = (
    "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item,"
    "project_id,organization_id,organization_name\n"
)
ACTIVITY = (
    "start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,user_id,"
    "api_key_id,model,batch,service_tier,input_tokens,output_tokens,input_cached_tokens\n"
)


def cost(amount: str, item: str, *, at: int = MIDNIGHT, currency: str = "usd") -> str:
    """A line of OpenAI's cost export."""
    days = f"{at},{at + 86400},,"
    return f'{days},{amount},{currency},"{item}",proj_x,org-x,Acme\n'


def read(text: str, columns: Columns | None = None) -> Export:
    """Read an export of this text."""
    return exports.read(parse(text, "export.csv"), columns or Columns(), ZONE)


def test_cost_export_of_openai_is_recognised() -> None:
    """By its columns; the parts of a model's price add up."""
    found = read(
        COST
        + cost("0.0800000000000000", "gpt-4.1-mini-2025-04-14, input")
        + cost("0.02", "gpt-4.1-mini-2025-04-14, cached input")
    )

    assert found.amounts == {("usd", DAY.isoformat(), "gpt-4.1-mini-2025-04-14"): Decimal("0.10")}
    assert (found.first, found.last) == (DAY, DAY)


@pytest.mark.parametrize(
    ("item", "model"),
    [
        ("gpt-4o-2024-08-06, input", "gpt-4o-2024-08-06"),
        ("gpt-audio-mini-2025-12-15 audio, output", "gpt-audio-mini-2025-12-15"),
        ("priority | gpt-5.6-sol, output, long context", "gpt-5.6-sol"),
        ("web search tool calls", "web search tool calls"),
        ("", None),
        (", input", ", input"),
    ],
)
def test_line_item_names_its_model(item: str, model: str | None) -> None:
    """What is no model keeps its name."""
    found = read(COST + cost("1", item))

    assert [key[2] for key in found.amounts] == [model]


def test_day_without_spend_is_a_day_of_the_export() -> None:
    """Its line has no amount, and is no mistake."""
    found = read(COST + f"{MIDNIGHT},{MIDNIGHT + 86400},,,,,,,,\n")

    assert found.mistakes == []
    assert (found.first, found.last) == (DAY, DAY)
    assert sum(found.amounts.values()) == 0


def test_activity_export_of_openai_is_recognised() -> None:
    """Three amounts a line."""
    found = read(
        ACTIVITY
        + f"{MIDNIGHT},,,,p,10.0,u,k,gpt-4.1-mini-2025-04-14,FALSE,default,592.0,106.0,5.0\n"
    )

    assert {key[0]: amount for key, amount in found.amounts.items()} == {
        "requests": Decimal(10),
        "input_tokens": Decimal(592),
        "output_tokens": Decimal(106),
    }


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (cost("abc", "gpt-4o, input"), "'amount_value' is 'abc', no amount"),
        (cost("1", "gpt-4o, input", currency="eur"), "'amount_currency' is 'eur'; only US dollars"),
        ("yesterday,,,,1,usd,x,,,\n", "'start_time' is 'yesterday', no time; write it as"),
        ("9999999999999999,,,,1,usd,x,,,\n", "'start_time' is '9999999999999999', no time"),
        ("1,2\n", "2 cells where the first line names 10"),
    ],
)
def test_bad_line_is_named_and_the_others_count(line: str, says: str) -> None:
    """File, line, what is wrong; nothing else is lost."""
    found = read(COST + cost("1", "gpt-4o, input") + line + cost("2", "gpt-4o, input"))

    [mistake] = found.mistakes
    assert mistake.startswith(f"export.csv:3: {says}")
    assert sum(found.amounts.values()) == 3


@pytest.mark.parametrize(
    "text", ["2026-11-20", "2026-11-20T23:59:59", "2026-11-20 01:02:03", "1795132800",
             "2026-11-20T22:30:00-01:00"],
)  # fmt: skip
def test_days_are_read_as_providers_write_them(text: str) -> None:
    """A day, a time of the provider's own, Unix seconds, a time with its offset."""
    found = read(f"when,usd\n{text},1\n", Columns(date="when", cost="usd"))

    assert found.first == date(2026, 11, 20)


def test_time_with_an_offset_is_a_day_of_the_zone() -> None:
    """Half past eleven at night in UTC is the next day in Berlin."""
    columns = Columns(date="when", cost="usd")
    table = parse("when,usd\n2026-11-20T23:30:00Z,1\n", "x.csv")

    assert exports.read(table, columns, ZoneInfo("Europe/Berlin")).first == date(2026, 11, 21)


def test_export_without_a_good_line_is_refused() -> None:
    """With its first mistake."""
    with pytest.raises(CsvError, match="'start_time' is 'x', no time"):
        read(COST + "x,,,,1,usd,y,,,\n")
    with pytest.raises(CsvError, match="there are no lines in it"):
        read(COST)


def test_export_without_the_named_column_is_refused() -> None:
    """And says which there are."""
    columns = Columns(date="Date", model="Model", cost="Cost")

    with pytest.raises(CsvError, match="'Cost' is missing; the first line names Date, Model"):
        read("Date,Model\n1,2\n", columns)


@pytest.mark.parametrize(
    ("columns", "unit", "says"),
    [
        ((None, None, None, None), "tokens", "not recognised by its columns"),
        ((None, "Model", "Cost", None), "tokens", "not recognised by its columns"),
        (("Date", None, "Cost", "Hours"), "tokens", "--cost-column or --usage-column"),
        (("Date", None, None, "Hours"), "hours", "'hours' is no unit; --unit takes requests"),
    ],
)
def test_options_are_explicit(
    columns: tuple[str | None, str | None, str | None, str | None], unit: str, says: str
) -> None:
    """Nothing is guessed."""
    with pytest.raises(CsvError, match=says):
        read("Date,Model\n1,2\n", Columns(*columns, unit))


def test_cell_without_end_loses_one_line_only() -> None:
    """The reader goes on behind it."""
    long = "x" * 200_000
    table = csv_table.parse(f"a,b\n{long},1\n2,3\n", "x.csv")

    assert [number for number, _ in table.rows] == [2, 3]
    assert table.rows[1][1] == ("2", "3")


def compare(pairs: dict[reconcile.Key, Pair], *by: str) -> tuple[Report, bool]:
    """The answer, from amounts."""
    return reconcile.compared(question(*(by or ("model",))), pairs, [], TOLERANCE)


@pytest.mark.parametrize(
    ("ledger", "billed", "verdict", "agree"),
    [
        ("1.00", "1.00", "equal", True),
        ("1.05", "1.00", "tolerated", True),
        ("0.95", "1.00", "tolerated", True),
        ("1.0501", "1.00", "larger", False),
        ("0.9499", "1.00", "smaller", False),
        ("1.00", None, "ledger only", False),
        (None, "1.00", "file only", False),
        ("1.00", "0", "ledger only", False),
    ],
)
def test_verdict(ledger: str | None, billed: str | None, verdict: str, agree: bool) -> None:  # noqa: FBT001 - a parameter
    """Which side is larger, on both sides of the tolerance."""
    pair = Pair(
        None if ledger is None else Decimal(ledger),
        None,
        None if billed is None else Decimal(billed),
    )
    report, agreed = compare({("usd", ("m",)): pair})

    assert lines(report)[0]["verdict"] == verdict
    assert agreed is agree


def test_ratio_and_difference_are_of_the_file() -> None:
    """Three dollars here, four there."""
    report, _ = compare({("usd", ("m",)): Pair(Decimal(3), None, Decimal(4))})

    [line] = lines(report)
    assert (line["ratio"], line["difference"]) == (Decimal("0.75"), Decimal(-1))
    assert "the ledger is smaller than the file by $1.00, 25.0% of it" in report.notes


def test_estimated_cost_is_beside_the_reported_one() -> None:
    """It may be what is missing, and is not added."""
    report, agree = compare({("usd", ("m",)): Pair(Decimal(3), Decimal(1), Decimal(4))})

    assert lines(report)[0]["estimated"] == Decimal(1)
    assert not agree


def test_both_sides_zero_is_no_line() -> None:
    """Nothing was used and nothing billed."""
    report, agree = compare({("usd", ("m",)): Pair(Decimal(0), None, Decimal(0))})

    assert (report.rows, agree) == ((), True)


def test_missing_on_either_side_is_summed_up() -> None:
    """How much, not only that."""
    report, _ = compare(
        {
            ("usd", ("a",)): Pair(Decimal(3)),
            ("usd", ("b",)): Pair(billed=Decimal(4)),
            ("usd", ("c",)): Pair(billed=Decimal(1)),
        }
    )

    assert "1 line of the ledger, $3.00, not in the file" in report.notes
    assert "2 lines of the file, $5.00, not in the ledger" in report.notes


def test_units_are_never_added_up() -> None:
    """Requests and tokens have no total."""
    report, _ = compare(
        {
            ("requests", ("m",)): Pair(Decimal(1), None, Decimal(1)),
            ("input_tokens", ("m",)): Pair(Decimal(10), None, Decimal(12)),
        }
    )

    assert report.totals is None
    assert [line["unit"] for line in lines(report)] == ["requests", "input_tokens"]


@given(
    st.dictionaries(
        st.text(min_size=1),
        st.tuples(st.none() | st.integers(0, 10**9), st.none() | st.integers(0, 10**9)),
    )
)
def test_total_is_the_sum_of_all_lines(amounts: dict[str, tuple[int | None, int | None]]) -> None:
    """Of both sides."""
    report, _ = compare(
        {
            ("usd", (name,)): Pair(
                None if ledger is None else Decimal(ledger),
                None,
                None if billed is None else Decimal(billed),
            )
            for name, (ledger, billed) in amounts.items()
        }
    )

    if report.rows:
        assert (totals(report)["ledger"] or 0) == sum(ledger or 0 for ledger, _ in amounts.values())
        assert (totals(report)["file"] or 0) == sum(billed or 0 for _, billed in amounts.values())


def test_names_of_one_price_are_one_model() -> None:
    """A dated snapshot, a voice, and what a person says."""
    openai = ModelNames(catalogue.load(), "openai", {"My deployment": "gpt-4.1"})

    assert openai.of("gpt-4.1-mini-2025-04-14") == openai.of("gpt-4.1-mini") == "gpt-4.1-mini"
    assert openai.of("gpt-4o-2024-08-06") == "gpt-4o"
    assert openai.of("My deployment") == "gpt-4.1"
    assert openai.of("web search tool calls") == "web search tool calls"
    assert openai.of(None) is None
    assert ModelNames(catalogue.load(), "deepgram").of("aura-2-andromeda-en") == "aura-2"


def test_period_is_the_file_and_may_be_part_of_it() -> None:
    """Whole days only: half a day of the ledger is no day of the file."""
    billed = Export(units=(), first=date(2026, 11, 1), last=date(2026, 11, 30))
    asked = question("model", days=3.5, until=datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp())

    whole = reconcile.question(asked, billed, bounded=False)
    part = reconcile.question(asked, billed, bounded=True)

    assert str(whole.period) == "2026-11-01 to 2026-11-30 (UTC)"
    assert str(part.period) == "2026-11-17 to 2026-11-19 (UTC)"


def test_file_outside_of_the_period_is_refused() -> None:
    """There is nothing to compare."""
    billed = Export(units=(), first=date(2025, 1, 1), last=date(2025, 1, 31))

    with pytest.raises(QuestionError, match="about 2025-01-01 to 2025-01-31; no day of it"):
        reconcile.question(question("model"), billed, bounded=True)


@pytest.mark.parametrize("by", [("agent",), ("day", "user"), ()])
def test_file_says_nothing_of_agents_and_users(by: tuple[str, ...]) -> None:
    """It can be divided by what it says."""
    billed = Export(units=(), first=DAY, last=DAY)

    with pytest.raises(QuestionError, match="compared by day, provider, model"):
        reconcile.question(question(*by), billed, bounded=False)


def command(data_dir: Path, tmp_path: Path, text: str, *words: str) -> tuple[int, str, str]:
    """Exit status, standard output and error of the command."""
    file = tmp_path / "export.csv"
    file.write_text(text)
    arguments = ["reconcile", str(file), "--data-dir", str(data_dir), "--json", *words]
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout, result.stderr


def test_command_compares_a_cost_export(data_dir: Path, tmp_path: Path, intake: Intake) -> None:
    """0.00056 USD in the ledger, a little more at OpenAI, under the name of the snapshot."""
    intake.take(*records.call())
    text = COST + cost("0.00057", "gpt-4.1-mini-2025-04-14, input")

    status, out, _ = command(data_dir, tmp_path, text)

    [row] = json.loads(out)["rows"]
    assert status == 0
    assert (row["day"], row["model"], row["verdict"]) == (
        DAY.isoformat(), "gpt-4.1-mini", "tolerated"
    )  # fmt: skip
    assert row["ratio"] == pytest.approx(0.00056 / 0.00057)


def test_command_compares_usage_of_any_provider(
    data_dir: Path, tmp_path: Path, intake: Intake
) -> None:
    """Five seconds of audio are 1/720 of an hour."""
    intake.take(*records.call())
    text = f"Day;Model;Hours\n{DAY};nova-3;0.01\n"
    words = ["--provider", "deepgram", "--date-column", "Day", "--model-column", "Model"]

    status, out, _ = command(
        data_dir, tmp_path, text, *words, "--usage-column", "Hours", "--unit", "audio_hours"
    )

    [row] = json.loads(out)["rows"]
    assert status == 1
    assert row["ledger"] == pytest.approx(5 / 3600)
    assert row["verdict"] == "smaller"


def test_command_fails_on_a_line_that_cannot_be_read(
    data_dir: Path, tmp_path: Path, intake: Intake
) -> None:
    """A script must not take the comparison for whole."""
    intake.take(*records.call())
    text = COST + cost("0.00056", "gpt-4.1-mini, input") + cost("x", "gpt-4.1-mini, output")

    status, out, _ = command(data_dir, tmp_path, text)

    assert status == 1
    assert "export.csv:3: 'amount_value' is 'x'" in json.loads(out)["notes"][0]


def test_command_takes_a_wider_tolerance(data_dir: Path, tmp_path: Path, intake: Intake) -> None:
    """Half as much again is tolerated where a person says so."""
    intake.take(*records.call())
    text = COST + cost("0.00084", "gpt-4.1-mini, input")

    assert command(data_dir, tmp_path, text)[0] == 1
    assert command(data_dir, tmp_path, text, "--tolerance", "0.5")[0] == 0


@pytest.mark.parametrize(
    ("text", "words", "says"),
    [
        ("a,b\n1,2\n", [], "not recognised by its columns"),
        (
            f"Day,USD\n{DAY},1\n",
            ["--date-column", "Day", "--cost-column", "USD"],
            "say whose export",
        ),
        (COST + cost("1", "x"), ["--by", "user"], "compared by day, provider, model"),
        (COST + cost("1", "x"), ["--provider", "a", "--provider", "b"], "give --provider once"),
        (COST + cost("1", "x"), ["--model-name", "x"], "is not of the form"),
        ("", [], "the first line must name the columns"),
    ],
)
def test_command_says_no_in_one_line(
    text: str, words: list[str], says: str, data_dir: Path, tmp_path: Path
) -> None:
    """A mistake is no traceback."""
    status, _, error = command(data_dir, tmp_path, text, *words)

    assert status == 1
    assert says in error
    assert error.count("\n") == 1


def test_every_unit_is_a_sum_of_the_ledger() -> None:
    """A unit that the ledger does not keep could not be compared."""
    known = {"cost_usd", "requests", "input_tokens", "cached_input_tokens", "output_tokens",
             "characters", "audio_seconds", "connection_seconds"}  # fmt: skip

    assert {name for unit in UNITS.values() for name in unit.sums} <= known
    assert timedelta(hours=1).seconds == UNITS["audio_hours"].per
