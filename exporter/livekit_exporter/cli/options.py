"""Options that questions to the ledger share, and the question and output they describe."""

import inspect
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Concatenate,
    Final,
    Literal,
    ParamSpec,
    TextIO,
    TypeAlias,
    get_type_hints,
)

import typer

from livekit_exporter.cli import settings
from livekit_exporter.cli.errors import fail, one_line_for
from livekit_exporter.cli.parameters import Config, LedgerDir

if TYPE_CHECKING:
    from datetime import tzinfo
    from decimal import Decimal

    from livekit_exporter.ledger.queries import Snapshot
    from livekit_exporter.prices.catalogue import Catalogue
    from livekit_exporter.reports.question import Question
    from livekit_exporter.reports.report import Report
    from livekit_exporter.sidecar.config.settings import Config as Settings

_P = ParamSpec("_P")

Format: TypeAlias = Literal["table", "csv", "json", "parquet"]
_Filter: TypeAlias = list[str] | None


def _filter(what: str) -> object:
    return typer.Option(help=f"Only this {what}; repeat for more.", metavar="NAME")


@dataclass(frozen=True, kw_only=True)
class LedgerOptions:
    """Options of a question to the ledger; the help text of each says what it does."""

    by: Annotated[
        str | None,
        typer.Option(
            help="Group by day, hour, agent, stage, provider, model, user, persona, phase,"
            " session or a label; separate several with commas.",
            metavar="NAMES",
        ),
    ] = None
    since: Annotated[
        str | None,
        typer.Option(
            help="Begin of the period: a date or time in ISO 8601, 24h, 7d (midnight seven days"
            " ago), today, yesterday, this-week, this-month, last-month and the like.",
            show_default="7d",
            metavar="TIME",
        ),
    ] = None
    until: Annotated[
        str | None,
        typer.Option(
            help="End of the period (exclusive), in the same formats.",
            show_default="the end of today",
            metavar="TIME",
        ),
    ] = None
    timezone: Annotated[
        str | None,
        typer.Option(
            help="Time zone of days and hours, such as Europe/Berlin.",
            show_default="as configured, else UTC",
            metavar="ZONE",
        ),
    ] = None
    agent: Annotated[_Filter, _filter("agent")] = None
    user: Annotated[_Filter, _filter("user")] = None
    stage: Annotated[_Filter, _filter("stage")] = None
    provider: Annotated[_Filter, _filter("provider")] = None
    model: Annotated[_Filter, _filter("model")] = None
    label: Annotated[
        _Filter,
        typer.Option(help="Only calls with this label; repeat for more.", metavar="KEY=VALUE"),
    ] = None
    limit: Annotated[
        int | None, typer.Option(min=1, help="Show at most this many lines; totals count all.")
    ] = None
    data_dir: LedgerDir = None
    ledger: Annotated[
        str | None,
        typer.Option(
            help="URL of the ledger; else the ledger of the sidecar's settings.", metavar="URL"
        ),
    ] = None
    config: Config = None
    output_format: Annotated[
        Format | None, typer.Option("--format", help="Output format.", show_default="table")
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False
    output: Annotated[
        Path | None, typer.Option(help="Write to this file.", show_default="standard output")
    ] = None
    chart: Annotated[bool, typer.Option("--chart", help="Draw charts below the table.")] = False
    html: Annotated[
        Path | None, typer.Option(help="Also write the report to this file as a page with charts.")
    ] = None

    def question(self, *by: str) -> "Question":
        """Read the question, grouped by these where `--by` is not given; exit on a mistake."""
        from livekit_exporter.reports import period, question

        filters = {name: tuple(getattr(self, name) or ()) for name in question.FILTERS}
        with one_line_for(period.PeriodError, question.QuestionError):
            return question.Question(
                period=period.read(self.since, self.until, time.time(), self.zone),
                by=question.dimensions(self.by) if self.by is not None else by,
                only={name: values for name, values in filters.items() if values},
                labels=question.pairs(self.label or ()),
                limit=self.limit,
            )

    def month_budget(self) -> "Decimal | None":
        """US dollars that the configuration allows for a month; `None` where it has no limit."""
        return self._settings().budget.month_usd

    def catalogue(self, prices: Path | None = None) -> "Catalogue":
        """Load the prices in force, or those with this file in place of the configured one."""
        from livekit_exporter.sidecar import prices_in_force
        from livekit_exporter.sidecar.config.settings import ConfigError, PricesSettings

        config = self._settings()
        if prices is not None:
            config = config.model_copy(update={"prices": PricesSettings(file=prices)})
        try:
            return prices_in_force.load(config)[0]
        except ConfigError as error:
            fail(str(error).replace("prices.file", "--prices") if prices else error)

    @contextmanager
    def snapshot(self) -> Iterator["Snapshot"]:
        """Open the ledger as it is now; exit with one line when it cannot be read."""
        from livekit_exporter.cli import _progress
        from livekit_exporter.ledger.backends.database import LedgerError
        from livekit_exporter.ledger.queries import snapshot
        from livekit_exporter.reports.question import QuestionError

        with (
            one_line_for(LedgerError, QuestionError),
            snapshot(self.where) as opened,
            _progress.reading(opened),
        ):
            yield opened

    def answer(
        self,
        report: "Callable[Concatenate[Snapshot, _P], Report]",
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> None:
        """Make a report from the ledger and write it."""
        with self.snapshot() as ledger:
            made = report(ledger, *args, **kwargs)
        self.show(made)

    @property
    def where(self) -> Path | str:
        """The ledger's file, or its URL; exits with one line when the settings lack it."""
        return self.ledger if self.ledger is not None else settings.ledger(self._settings())

    @property
    def zone(self) -> "tzinfo":
        """Time zone of days and hours; exits with one line when there is no such zone."""
        return self._settings().zone

    def show(self, report: "Report") -> None:
        """Write a report as the options say; exit with one line when that fails."""
        from livekit_exporter.reports.report import ExtraError

        if self.as_json and self.output_format not in {None, "json"}:
            fail(f"--json and --format {self.output_format} exclude one another")
        form: Format = "json" if self.as_json else self.output_format or "table"
        with one_line_for(ExtraError, OSError):
            if self.html is not None:
                from livekit_exporter.reports import page

                self.html.write_text(page.page(report), "utf-8")
            if form != "table":
                self._write_data(report, form)
            elif self.output is None:
                self._write_table(report, sys.stdout)
            else:
                with self.output.open("w", encoding="utf-8") as stream:
                    self._write_table(report, stream)

    def _write_table(self, report: "Report", stream: TextIO) -> None:
        from livekit_exporter.reports import charts, tables

        tables.write(report, stream)
        if self.chart:
            charts.write(report.charts, tables.terminal(stream))

    def _write_data(self, report: "Report", form: Format) -> None:
        from livekit_exporter.reports import files

        if self.chart:
            fail(f"--chart draws below a table; leave it or --format {form} out")
        match form:
            case "csv":
                data = files.as_csv(report).encode()
            case "json":
                data = files.as_json(report).encode()
            case _:
                data = files.as_parquet(report)
        if form != "json":
            for note in report.notes if report.rows else (report.empty, *report.notes):
                typer.echo(f"note: {note}", err=True)
        if self.output is not None:
            self.output.write_bytes(data)
        elif form == "parquet" and sys.stdout.isatty():
            fail("--format parquet writes bytes; name a file with --output")
        else:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    def _settings(self) -> "Settings":
        return settings.load(self.config, data_dir=self.data_dir, timezone=self.timezone)


ALL: Final = tuple(field.name for field in fields(LedgerOptions))
UNGROUPED: Final = tuple(name for name in ALL if name != "by")
"""For an answer that has groups of its own."""
USAGE: Final = tuple(
    name for name in ALL if name not in {"by", "agent", "user", "label", "limit", "chart", "html"}
)
"""For usage of models, whoever used it."""
PLACE: Final = ("timezone", "data_dir", "ledger", "config")
"""For one call: the place of the ledger, and the time zone of times."""
ANSWER: Final = ("data_dir", "ledger", "config", "output_format", "as_json", "output")
"""For a history: the place of the ledger, and the output."""


def takes(
    names: tuple[str, ...],
) -> Callable[[Callable[Concatenate[LedgerOptions, _P], None]], Callable[..., None]]:
    """Give a command these options after its own parameters, in one first argument."""
    hints = get_type_hints(LedgerOptions, include_extras=True)
    shared = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(LedgerOptions)
        if field.name in names
    ]

    def decorated(command: Callable[Concatenate[LedgerOptions, _P], None]) -> Callable[..., None]:
        @wraps(command)
        def run(**given: object) -> None:
            options = {name: given.pop(name) for name in names}
            command(LedgerOptions(**options), **given)  # type: ignore[arg-type, call-arg]

        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        parameters = [
            *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own),
            *shared,
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorated
