"""The commands: one line for a mistake, and files as they were asked for."""

import csv
import io
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import jsonschema
import pytest
from pyarrow import parquet
from typer.testing import CliRunner, Result

from livekit_exporter.cli.app import app
from tests.intake import Intake
from tests.questions import DAY, MIDNIGHT
from tests.records import AT, call
from tests.reports.test_cost import CALL_USD, moved

ROOT = Path(__file__).resolve().parent.parent.parent
PERIOD = ("--since", "2026-11-18", "--until", "2026-11-19")
REPORTS = ("cost", "latency", "usage", "waste")


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests, and no width of a terminal."""
    for name in [*os.environ]:
        if name.startswith("LIVEKIT_EXPORTER_") or name == "COLUMNS":
            monkeypatch.delenv(name)


@pytest.fixture
def ledger(intake: Intake, data_dir: Path) -> Path:
    """A data directory with two calls."""
    intake.take(*call())
    intake.take(*moved(call(agent="sales"), "s2", 600))
    return data_dir


def program(*arguments: str, data_dir: Path | None = None) -> Result:
    """Run a command."""
    place = ("--data-dir", str(data_dir)) if data_dir is not None else ()
    return CliRunner().invoke(app, [*arguments, *place])


@pytest.mark.parametrize("report", REPORTS)
def test_report_prints_a_table(ledger: Path, report: str) -> None:
    """With its period."""
    result = program("report", report, *PERIOD, data_dir=ledger)

    assert result.exit_code == 0, result.output
    assert "2026-11-18 (UTC)" in result.stdout


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("form", ["table", "csv", "json", "parquet"])
def test_every_report_has_every_form(ledger: Path, tmp_path: Path, report: str, form: str) -> None:
    """Also where there is nothing to say."""
    for days in (PERIOD, ("--since", "2020-01-01", "--until", "2020-01-02")):
        file = tmp_path / "answer"
        result = program(
            "report", report, *days, "--format", form, "--output", str(file), data_dir=ledger
        )

        assert result.exit_code == 0, result.output
        assert result.stdout == ""
        assert file.stat().st_size > 0


def test_json_is_the_same_as_the_format(ledger: Path) -> None:
    """And standard output holds nothing else."""
    short = program("report", "cost", *PERIOD, "--json", data_dir=ledger)
    long = program("report", "cost", *PERIOD, "--format", "json", data_dir=ledger)

    assert short.stdout == long.stdout
    assert json.loads(short.stdout)["rows"][0]["cost_usd"] == pytest.approx(2 * CALL_USD)


def test_csv_says_its_notes_beside_the_file(ledger: Path) -> None:
    """A program reads one, a person the other."""
    result = program("report", "cost", "--by", "stage", *PERIOD, "--format", "csv", data_dir=ledger)

    assert len(list(csv.DictReader(io.StringIO(result.stdout)))) == 3
    assert result.stderr.startswith("note: per minute and per turn")


def test_parquet_goes_into_a_pipe(ledger: Path) -> None:
    """Bytes, and nothing else."""
    result = program("report", "cost", *PERIOD, "--format", "parquet", data_dir=ledger)

    assert parquet.read_table(io.BytesIO(result.stdout_bytes)).num_rows == 1


def test_page_is_written_beside_the_table(ledger: Path, tmp_path: Path) -> None:
    """One file."""
    file = tmp_path / "cost.html"
    result = program(
        "report", "cost", "--by", "model", *PERIOD, "--html", str(file), data_dir=ledger
    )

    assert "sonic-3" in result.stdout
    assert "<svg" in file.read_text("utf-8")


def test_charts_are_drawn_below_the_table(ledger: Path) -> None:
    """Bars by name, a line over time, a histogram of waits."""
    for arguments in (("cost", "--by", "model"), ("cost", "--by", "day"), ("latency",)):
        result = program("report", *arguments, *PERIOD, "--chart", data_dir=ledger)

        assert result.exit_code == 0, result.output
        assert any(each in result.stdout for each in "█▄▀▖"), arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("report", "cost", "--by", "modle"), "'modle' is no dimension"),
        (("report", "cost", "--since", "soon"), "'soon' is no time"),
        (("report", "cost", "--since", "today", "--until", "yesterday"), "ends before it begins"),
        (("report", "cost", "--label", "tenant"), "'tenant' is not of the form 'label=value'"),
        (("report", "cost", "--timezone", "Europe/Berln"), "did you mean 'Europe/Berlin'?"),
        (("report", "cost", "--json", "--format", "csv"), "--json and --format csv exclude"),
        (("report", "cost", "--json", "--chart"), "--chart draws below a table"),
        (("report", "cost", "--output", "/no/such/file"), "No such file"),
        (("report", "compare", "agent=support", "x"), "'x' is not of the form 'label=value'"),
        (("calls", "show", "zz"), "no call's id begins with 'zz'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistake_is_one_line(ledger: Path, arguments: tuple[str, ...], message: str) -> None:
    """On standard error, with exit code 1 and nothing on standard output."""
    result = program(
        *arguments,
        *([] if "--since" in arguments or "show" in arguments else PERIOD),
        data_dir=ledger,
    )

    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_no_ledger_is_one_line_and_makes_none(tmp_path: Path) -> None:
    """A misspelt directory stays as it is."""
    result = program("report", "cost", data_dir=tmp_path / "nowhere")

    assert result.exit_code == 1
    assert "there is none; choose the data directory" in result.stderr
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no database at all", "file is not a database"), (b"", "it is empty")],
)
def test_file_that_is_no_ledger_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    """Said in the words of the database."""
    (tmp_path / "ledger.db").write_bytes(content)

    result = program("report", "cost", data_dir=tmp_path)

    assert (result.exit_code, message in result.stderr) == (1, True), result.stderr


def test_ledger_of_another_version_says_what_to_do(tmp_path: Path) -> None:
    """Reports change nothing and do not guess."""
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database:
        database.execute("CREATE TABLE ledger_version (version_num TEXT)")
        database.execute("INSERT INTO ledger_version VALUES ('99')")
        database.commit()

    result = program("report", "cost", data_dir=tmp_path)

    assert "it has version 99, this program knows version 3" in result.stderr


def test_zone_and_place_come_from_the_sidecars_configuration(ledger: Path, tmp_path: Path) -> None:
    """So that a report and the spend gauges mean the same day."""
    file = tmp_path / "exporter.yml"
    file.write_text(f"data_dir: {ledger}\ntimezone: Asia/Tokyo\n")

    configured = program("report", "cost", *PERIOD, "--config", str(file))
    other = program("report", "cost", *PERIOD, "--config", str(file), "--timezone", "UTC")

    assert "(Asia/Tokyo)" in configured.stdout
    assert "(UTC)" in other.stdout


def test_calls_are_listed_and_shown(ledger: Path) -> None:
    """An id from the list leads to the call."""
    listed = program("calls", "list", *PERIOD, "--sort", "cost", "--json", data_dir=ledger)
    [first, _] = json.loads(listed.stdout)["rows"]

    shown = program("calls", "show", first["session"], data_dir=ledger)

    assert shown.exit_code == 0, shown.output
    for text in (f"Call {first['session']}", "speech-1", "gpt-4.1-mini", "user_initiated"):
        assert text in shown.stdout


def test_call_is_exported(ledger: Path) -> None:
    """As the sidecar writes it when the call ends."""
    result = program("calls", "show", "s1", "--json", data_dir=ledger)

    exported = json.loads(result.stdout)
    schema = json.loads((ROOT / "docs" / "call.schema.json").read_text("utf-8"))
    jsonschema.validate(exported, schema)
    assert (exported["session"], exported["cost_usd"]) == ("s1", pytest.approx(CALL_USD))
    assert exported["turns"][0]["speech"] == "speech-1"


def test_comparison_is_printed(ledger: Path) -> None:
    """With what it is worth."""
    result = program("report", "compare", "agent=support", "agent=sales", *PERIOD, data_dir=ledger)

    assert result.exit_code == 0, result.output
    assert "too little data" in result.stdout


def test_comparison_without_scipy_says_what_to_install(
    ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line instead of a traceback."""
    monkeypatch.setitem(sys.modules, "scipy", None)
    for name in [name for name in sys.modules if name.startswith("livekit_exporter.reports.")]:
        if name.endswith((".compare", ".significance")):
            monkeypatch.delitem(sys.modules, name)
    import livekit_exporter.reports

    for name in ("compare", "significance"):
        monkeypatch.delattr(livekit_exporter.reports, name, raising=False)

    result = program("report", "compare", "agent=a", "agent=b", *PERIOD, data_dir=ledger)

    assert result.stderr == (
        "livekit-exporter: a comparison needs scipy; install it with:"
        " pip install 'livekit-exporter[reports]'\n"
    )


def test_report_works_while_the_sidecar_writes(ledger: Path, intake: Intake) -> None:
    """A reader sees one state, and holds nobody up."""
    before = program("report", "cost", *PERIOD, "--json", data_dir=ledger)

    intake.take(*moved(call(), "s3", 1200))
    after = program("report", "cost", *PERIOD, "--json", data_dir=ledger)

    spent = [json.loads(each.stdout)["rows"][0]["cost_usd"] for each in (before, after)]
    assert spent == pytest.approx([2 * CALL_USD, 3 * CALL_USD])


def test_pipe_of_the_real_program_is_not_broken_into_lines(ledger: Path) -> None:
    """Whatever the width of the terminal that the pipe was started in."""
    environ = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    result = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "livekit_exporter",
                "report",
                "cost",
                "--by",
                "day,session,user",
            ),
            *PERIOD,
            *("--data-dir", str(ledger)),
        ],
        capture_output=True,
        text=True,
        check=True,
        env=environ,
    )

    assert result.stderr == ""
    assert "\x1b" not in result.stdout
    [line] = [each for each in result.stdout.splitlines() if each.startswith("2026-11-18  s1")]
    assert line.split()[:3] == ["2026-11-18", "s1", "-"]
    assert len(line.split()) == 9


def test_day_is_the_default_period_of_a_running_sidecar(intake: Intake, data_dir: Path) -> None:
    """Seven days and today: what happened just now is in it."""
    import time

    intake.take(*moved(call(), "now", time.time() - AT))
    intake.take(*moved(call(), "old", time.time() - AT - 9 * DAY))

    result = program("report", "cost", "--by", "session", "--json", data_dir=data_dir)

    assert [row["session"] for row in json.loads(result.stdout)["rows"]] == ["now"]
    assert time.time() > MIDNIGHT
