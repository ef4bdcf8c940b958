"""The output of a report in the format that the command line asks for."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO, TypeAlias

import typer

from livekit_exporter.cli.errors import fail, one_line_for

if TYPE_CHECKING:
    from livekit_exporter.reports.report import Report

Format: TypeAlias = Literal["table", "csv", "json", "parquet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where and how to write a report.

    Args:
        form: Format.
        file: File to write; standard output without it.
        chart: Draw the charts below the table.
        html: File for a page with charts, in addition.
    """

    form: Format
    file: Path | None
    chart: bool
    html: Path | None

    def write(self, report: "Report") -> None:
        """Write a report; exit with one line when that fails."""
        from livekit_exporter.reports.extra import ExtraError

        with one_line_for(ExtraError, OSError):
            if self.html is not None:
                from livekit_exporter.reports import page

                self.html.write_text(page.page(report), "utf-8")
            if self.form != "table":
                self._write_data(report)
            elif self.file is None:
                self._write_table(report)
            else:
                with self.file.open("w", encoding="utf-8") as stream:
                    self._write_table(report, stream)

    def _write_table(self, report: "Report", stream: TextIO | None = None) -> None:
        from livekit_exporter.reports import charts, tables

        tables.write(report, stream)
        if self.chart:
            charts.write(report.charts, tables.terminal(stream or sys.stdout))

    def _write_data(self, report: "Report") -> None:
        from livekit_exporter.reports import files

        if self.chart:
            fail(f"--chart draws below a table; leave it or --format {self.form} out")
        match self.form:
            case "csv":
                data = files.as_csv(report).encode()
            case "json":
                data = files.as_json(report).encode()
            case _:
                data = files.as_parquet(report)
        if self.form != "json":
            for note in report.notes if report.rows else (report.empty, *report.notes):
                typer.echo(f"note: {note}", err=True)
        if self.file is not None:
            self.file.write_bytes(data)
        elif self.form == "parquet" and sys.stdout.isatty():
            fail("--format parquet writes bytes; name a file with --output")
        else:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
