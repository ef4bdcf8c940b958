"""Revenue against cost, by user or label."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from livekit_exporter.cli.app import app
from livekit_exporter.record import SessionStarted
from livekit_exporter.reports import margin, revenue
from livekit_exporter.reports.csv_table import CsvError, parse
from livekit_exporter.reports.margin import Spent
from livekit_exporter.reports.question import Question, QuestionError
from livekit_exporter.reports.report import Report
from livekit_exporter.reports.revenue import Revenue
from tests import records
from tests.intake import Intake
from tests.reports.spending import lines, question, totals


def read(text: str, key: str = "user") -> Revenue:
    """What a file of this text says."""
    return revenue.read(parse(text, "revenue.csv"), key)


def test_several_lines_of_a_user_add_up() -> None:
    """A customer may have two invoices."""
    found = read("user,revenue_usd\nu-1,1.10\nu-2,5\nu-1,2.20\n")

    assert found.usd == {("", "u-1"): Decimal("3.30"), ("", "u-2"): Decimal(5)}
    assert not found.by_month
    assert found.mistakes == []


@pytest.mark.parametrize(
    "text",
    [
        "\N{ZERO WIDTH NO-BREAK SPACE}user,revenue_usd\r\nu-1,1.10\r\n",
        "user;revenue_usd\nu-1;1.10\n",
        "revenue_usd\tuser\n1.10\tu-1\n",
        'note,user,revenue_usd\n"a, b","u-1"," 1.10 "\n\n',
    ],
)
def test_files_of_spreadsheets_are_read(text: str) -> None:
    """A mark of the encoding, another delimiter, another order, further columns, blank lines."""
    assert read(text).usd == {("", "u-1"): Decimal("1.10")}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("u-1,abc", "'revenue_usd' is 'abc', no amount; write it as 1234.50"),
        ('u-1,"1,50"', "'revenue_usd' is '1,50', no amount"),
        ("u-1,nan", "'revenue_usd' is 'nan', no amount"),
        ("u-1,1e5", "'revenue_usd' is '1e5', no amount"),
        ("u-1,", "'revenue_usd' is '', no amount"),
        (",5", "'user' is empty; say whose revenue it is"),
        ("u-1", "1 cells where the first line names 2"),
        ("u-1,5,6", "3 cells where the first line names 2"),
    ],
)
def test_bad_line_is_named_and_the_others_count(line: str, says: str) -> None:
    """File, line, what is wrong; nothing else is lost."""
    found = read(f"user,revenue_usd\nu-2,1\n{line}\nu-2,2\n")

    [mistake] = found.mistakes
    assert mistake.startswith(f"revenue.csv:3: {says}")
    assert found.usd == {("", "u-2"): Decimal(3)}


def test_line_numbers_count_lines_inside_of_quotes() -> None:
    """A cell may go over several lines of the file."""
    found = read('user,revenue_usd,note\nu-1,1,"two\nlines"\nu-2,x,\n')

    assert found.mistakes[0].startswith("revenue.csv:4: ")


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ("", "revenue.csv:1: the first line must name the columns"),
        ("\n\n", "revenue.csv:1: the first line must name the columns"),
        ("user,revenue", "revenue.csv:1: column 'revenue_usd' is missing"),
        ("user,user,revenue_usd", "revenue.csv:1: column 'user' is there twice"),
    ],
)
def test_file_without_its_columns_is_refused(head: str, says: str) -> None:
    """Nothing of it can be used."""
    with pytest.raises(CsvError) as caught:
        read(head)

    assert str(caught.value).startswith(says)


def test_period_is_a_month() -> None:
    """Anything else is a bad line."""
    found = read("user,revenue_usd,period\nu-1,1,2026-11\nu-1,1,November\n")

    assert found.usd == {("2026-11", "u-1"): Decimal(1)}
    assert found.mistakes == [
        "revenue.csv:3: 'period' is 'November', no month; write it as 2026-11"
    ]


def ask(found: Revenue, spent: dict[margin.Place, Spent]) -> Report:
    """The answer by user."""
    return margin.compared(question("user"), found, spent)


def test_margin_is_revenue_without_cost() -> None:
    """Ten dollars of revenue, four of cost."""
    found = read("user,revenue_usd\nu-1,10\n")

    [line] = lines(ask(found, {("", "u-1"): Spent(3, Decimal(4))}))

    assert line == {
        "user": "u-1",
        "sessions": 3,
        "revenue_usd": Decimal(10),
        "cost_usd": Decimal(4),
        "margin_usd": Decimal(6),
        "margin_share": Decimal("0.6"),
        "unpriced_requests": 0,
    }


def test_user_without_revenue_is_shown_and_in_the_total() -> None:
    """Revenue that nobody stated is not known; what was spent was spent."""
    found = read("user,revenue_usd\nu-1,10\n")
    report = ask(found, {("", "u-1"): Spent(1, Decimal(4)), ("", "u-2"): Spent(1, Decimal(9))})

    unpaid = next(line for line in lines(report) if line["user"] == "u-2")
    assert (unpaid["revenue_usd"], unpaid["margin_usd"]) == (None, None)
    assert totals(report)["margin_usd"] == Decimal(-3)
    assert "1 of them without revenue, $9.00, are in the total's cost and margin" in report.notes


def test_revenue_without_calls_is_shown() -> None:
    """A customer who pays and does not call costs nothing."""
    report = ask(read("user,revenue_usd\nu-1,10\n"), {})

    [line] = lines(report)
    assert (line["sessions"], line["cost_usd"], line["margin_usd"]) == (0, Decimal(0), Decimal(10))
    assert "1 of them with revenue, $10.00, had no calls" in report.notes


def test_calls_of_nobody_are_one_line() -> None:
    """An agent need not say who calls."""
    report = ask(Revenue(by_month=False), {("", None): Spent(1, Decimal(1))})

    assert lines(report)[0]["user"] is None
    assert "calls that name no user are the line '-'" in report.notes


def test_cost_that_nobody_knows_gives_no_margin() -> None:
    """All of it is unpriced."""
    report = ask(read("user,revenue_usd\nu-1,10\n"), {("", "u-1"): Spent(1, Decimal(0), 5)})

    [line] = lines(report)
    assert (line["cost_usd"], line["margin_usd"], line["unpriced_requests"]) == (None, None, 5)


def test_worst_comes_first() -> None:
    """Who loses money is what one looks for, then who cost much and may have paid nothing."""
    found = read("user,revenue_usd\nrich,10\npoor,1\n")
    spent: dict[margin.Place, Spent] = {
        ("", "rich"): Spent(1, Decimal(1)),
        ("", "poor"): Spent(1, Decimal(5)),
        ("", "free"): Spent(1, Decimal(2)),
        ("", "dear"): Spent(1, Decimal(3)),
    }

    assert [line["user"] for line in lines(ask(found, spent))] == ["poor", "rich", "dear", "free"]


def test_bad_lines_are_notes() -> None:
    """Whoever reads the figures reads what is not in them."""
    report = ask(read("user,revenue_usd\nu-1,x\n" * 1 + "u-2,y\n" * 30), {})

    assert report.notes[0].startswith("revenue.csv:2: 'revenue_usd' is 'x'")
    assert report.notes[20] == "11 more lines could not be read"


@given(
    st.dictionaries(st.text(min_size=1), st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)))
)
def test_total_is_the_sum_of_all_lines(users: dict[str, tuple[int, int]]) -> None:
    """Nothing is lost between the file, the ledger and the total."""
    found = Revenue(by_month=False)
    spent: dict[margin.Place, Spent] = {}
    for user, (earned, cost) in users.items():
        if earned % 2:
            found.usd["", user] = Decimal(earned)
        spent["", user] = Spent(1, Decimal(cost))
    report = ask(found, spent)

    if users:
        assert totals(report)["revenue_usd"] == sum(found.usd.values())
        assert totals(report)["cost_usd"] == sum(held.usd for held in spent.values())


@pytest.mark.parametrize("by", [("user", "agent"), ("model",), ()])
def test_revenue_is_of_one_thing_that_calls_have(by: tuple[str, ...]) -> None:
    """A model earns nothing."""
    with pytest.raises(QuestionError, match="revenue is by 'user', 'agent' or one label"):
        margin.key(question(*by))


def test_months_begin_and_end_in_the_time_zone() -> None:
    """November in Berlin begins an hour before it does in UTC."""
    found = read("user,revenue_usd,period\nu-1,1,2026-11\nu-1,1,2026-12\n")

    period = margin.months(found, ZoneInfo("Europe/Berlin"))

    assert str(period) == "2026-11-01 to 2026-12-31 (Europe/Berlin)"


def test_file_without_a_good_line_has_no_months() -> None:
    """Then the first mistake is what to say."""
    with pytest.raises(QuestionError, match=r"revenue\.csv:2: 'period' is 'x'"):
        margin.months(read("user,revenue_usd,period\nu-1,1,x\n"), ZoneInfo("UTC"))


def calls(intake: Intake, *users: str | None) -> None:
    """A call of each of them, in November 2026."""
    for number, user in enumerate(users):
        session = f"s{number}"
        first, *rest = records.call(session)
        assert isinstance(first, SessionStarted)
        intake.take(replace(first, user=user, labels={"tenant": "acme"}), *rest)


def command(data_dir: Path, tmp_path: Path, text: str, *words: str) -> tuple[int, str, str]:
    """Exit status, standard output and error of the command."""
    file = tmp_path / "revenue.csv"
    file.write_text(text)
    arguments = ["report", "margin", str(file), "--data-dir", str(data_dir), "--json", *words]
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout, result.stderr


def test_command_joins_file_and_ledger(data_dir: Path, tmp_path: Path, intake: Intake) -> None:
    """From the words on the command line to a margin."""
    calls(intake, "u-1", "u-1", "u-2")
    text = "user,revenue_usd,period\nu-1,1.00,2026-11\nu-3,2.00,2026-11\n"

    status, out, _ = command(data_dir, tmp_path, text)

    rows = {row["user"]: row for row in json.loads(out)["rows"]}
    cost = intake.figure("SELECT sum(cost_usd) FROM usage WHERE user = 'u-1'")
    assert status == 0
    assert rows["u-1"]["margin_usd"] == pytest.approx(1 - cost)
    assert rows["u-1"]["sessions"] == 2
    assert rows["u-2"]["revenue_usd"] is None
    assert rows["u-3"]["cost_usd"] == 0


def test_command_takes_a_label(data_dir: Path, tmp_path: Path, intake: Intake) -> None:
    """Customers are often a label."""
    calls(intake, "u-1", "u-2")
    text = "tenant,revenue_usd\nacme,1\n"

    status, out, _ = command(data_dir, tmp_path, text, "--by", "tenant", "--since", "2026-11-01")

    [row] = json.loads(out)["rows"]
    assert status == 0
    assert (row["tenant"], row["sessions"]) == ("acme", 2)


def test_command_fails_after_the_answer_when_lines_were_bad(
    data_dir: Path, tmp_path: Path, intake: Intake
) -> None:
    """A script must not take the figures for whole."""
    calls(intake, "u-1")

    status, out, _ = command(data_dir, tmp_path, "user,revenue_usd\nu-1,1\nu-1,x\n")

    assert status == 1
    assert "revenue.csv:3: 'revenue_usd' is 'x'" in json.loads(out)["notes"][0]


@pytest.mark.parametrize(
    ("text", "words", "says"),
    [
        ("user,revenue\n", [], "column 'revenue_usd' is missing"),
        ("user,revenue_usd,period\nu-1,1,2026-11\n", ["--since", "7d"], "leave --since and"),
        ("user,revenue_usd\n", ["--by", "model"], "revenue is by 'user', 'agent' or one label"),
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


def test_command_names_a_file_that_is_no_text(data_dir: Path, tmp_path: Path) -> None:
    """A spreadsheet's own format is no CSV."""
    file = tmp_path / "revenue.xlsx"
    file.write_bytes(b"PK\x03\x04\xff\xfe")

    result = CliRunner().invoke(app, ["report", "margin", str(file), "--data-dir", str(data_dir)])

    assert result.exit_code == 1
    assert "revenue.xlsx: it is no text in UTF-8; save it as CSV" in result.stderr


def test_command_names_a_file_that_is_missing(data_dir: Path) -> None:
    """In one line."""
    words = ["report", "margin", "none.csv", "--data-dir", str(data_dir)]

    assert "cannot read 'none.csv': No such file" in CliRunner().invoke(app, words).stderr


def test_question_is_by_user_when_nothing_is_said() -> None:
    """The key of the file follows from the question."""
    assert margin.key(Question(period=question().period, by=("user",))) == "user"
