"""Options that all questions to the ledger share, and what follows from them."""

import inspect
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Annotated, Concatenate, Literal, ParamSpec, get_type_hints

import typer

from livekit_exporter import files
from livekit_exporter.cli.errors import fail, one_line_for

if TYPE_CHECKING:
    from datetime import tzinfo
    from decimal import Decimal

    from livekit_exporter.ledger.queries import Snapshot
    from livekit_exporter.prices.catalogue import Catalogue
    from livekit_exporter.reports.question import Question
    from livekit_exporter.reports.report import Report
    from livekit_exporter.sidecar.config.settings import Config

_P = ParamSpec("_P")
_PATIENCE_SECONDS = 1.0

Format = Literal["table", "csv", "json", "parquet"]

_Filter = list[str] | None


def _filter(what: str) -> object:
    return typer.Option(
        help=f"Only this {what}; may be given again.", show_default=False, metavar="NAME"
    )


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a person gave on the command line; see the help of each."""

    by: Annotated[
        str | None,
        typer.Option(
            help="What to divide by: day, hour, agent, stage, provider, model, user, persona,"
            " session, or a label; several with commas.",
            show_default=False,
            metavar="NAMES",
        ),
    ] = None
    since: Annotated[
        str | None,
        typer.Option(
            help="Begin: a date or time in ISO 8601, 24h, 7d (midnight seven days ago), today,"
            " yesterday, this-week, this-month, last-month and the like.  [default: 7d]",
            show_default=False,
            metavar="TIME",
        ),
    ] = None
    until: Annotated[
        str | None,
        typer.Option(
            help="End, not in it; written in the same ways.  [default: the end of today]",
            show_default=False,
            metavar="TIME",
        ),
    ] = None
    timezone: Annotated[
        str | None,
        typer.Option(
            help="Whose days, such as Europe/Berlin.  [default: as configured, else UTC]",
            show_default=False,
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
        typer.Option(
            help="Only calls with this label; may be given again.",
            show_default=False,
            metavar="KEY=VALUE",
        ),
    ] = None
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Lines to show; the total is over all.", show_default=False),
    ] = None
    data_dir: Annotated[
        str | None,
        typer.Option(
            help=f"Directory of the ledger, else {files.ENVIRONMENT}.", show_default=False
        ),
    ] = None
    ledger: Annotated[
        str | None,
        typer.Option(
            help="URL of the ledger, where it is not the one of the sidecar's settings.",
            show_default=False,
            metavar="URL",
        ),
    ] = None
    config: Annotated[
        Path | None,
        typer.Option(
            help="The sidecar's configuration file.",
            envvar="LIVEKIT_EXPORTER_CONFIG",
            show_default=False,
        ),
    ] = None
    output_format: Annotated[
        Format | None,
        typer.Option("--format", help="How to write it.  [default: table]", show_default=False),
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False
    output: Annotated[Path | None, typer.Option(help="File to write to.", show_default=False)] = (
        None
    )
    chart: Annotated[bool, typer.Option("--chart", help="Draw charts below the table.")] = False
    html: Annotated[
        Path | None,
        typer.Option(help="Write it as one page with charts, too.", show_default=False),
    ] = None

    def question(self, *by: str) -> "Question":
        """What is asked, divided by these if nothing else is said; exits on a mistake."""
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
        """US dollars that the configuration allows for a month, if it says."""
        return self._config().budget.month_usd

    def catalogue(self, prices: Path | None = None) -> "Catalogue":
        """The prices in force, or those with this file in place of the configured one."""
        from livekit_exporter.sidecar import prices_in_force
        from livekit_exporter.sidecar.config.settings import ConfigError, Prices

        config = self._config()
        if prices is not None:
            config = config.model_copy(update={"prices": Prices(file=prices)})
        try:
            return prices_in_force.load(config)[0]
        except ConfigError as error:
            fail(str(error).replace("prices.file", "--prices") if prices else error)

    @contextmanager
    def snapshot(self) -> Iterator["Snapshot"]:
        """The ledger as it is now; exits with one line when it cannot be read."""
        from livekit_exporter.ledger.backends.database import LedgerError
        from livekit_exporter.ledger.queries import snapshot
        from livekit_exporter.reports.question import QuestionError

        with (
            one_line_for(LedgerError, QuestionError),
            snapshot(self.where) as opened,
            _patience(opened),
        ):
            yield opened

    @property
    def where(self) -> Path | str:
        """The ledger's file, or its URL; exits with one line when the settings do not say."""
        from livekit_exporter.sidecar.config.settings import ConfigError

        if self.ledger is not None:
            return self.ledger
        config = self._config()
        with one_line_for(ConfigError):
            return config.ledger.where(config.data_dir)

    @property
    def zone(self) -> "tzinfo":
        """Whose days and hours are meant; exits with one line when there is no such zone."""
        return self._config().zone

    def show(self, report: "Report") -> None:
        """Write an answer the way it is wanted; exits with one line when that fails."""
        from livekit_exporter.reports.extra import ExtraError

        form = self._form()
        with one_line_for(ExtraError, OSError):
            if self.html is not None:
                from livekit_exporter.reports import page

                self.html.write_text(page.page(report), "utf-8")
            if form == "table":
                self._show_table(report)
            else:
                self._show_file(report, form)

    def _show_table(self, report: "Report") -> None:
        from livekit_exporter.reports import charts, tables

        if self.output is None:
            tables.write(report)
            if self.chart:
                charts.write(report.charts, tables.terminal(sys.stdout))
            return
        with self.output.open("w", encoding="utf-8") as stream:
            tables.write(report, stream)
            if self.chart:
                charts.write(report.charts, tables.terminal(stream))

    def _show_file(self, report: "Report", form: Format) -> None:
        from livekit_exporter.reports import files

        if self.chart:
            fail(f"--chart draws below a table; leave it or --format {form} out")
        written = {
            "csv": lambda: files.as_csv(report).encode(),
            "json": lambda: files.as_json(report).encode(),
            "parquet": lambda: files.as_parquet(report),
        }[form]()
        if form != "json":
            for note in report.notes if report.rows else (report.empty, *report.notes):
                typer.echo(f"note: {note}", err=True)
        if self.output is not None:
            self.output.write_bytes(written)
        elif form == "parquet" and sys.stdout.isatty():
            fail("--format parquet writes bytes; name a file with --output")
        else:
            sys.stdout.buffer.write(written)
            sys.stdout.buffer.flush()

    def _form(self) -> Format:
        if self.as_json and self.output_format not in {None, "json"}:
            fail(f"--json and --format {self.output_format} exclude one another")
        return "json" if self.as_json else self.output_format or "table"

    def _config(self) -> "Config":
        """Settings of the sidecar: where the ledger is, and whose days are meant."""
        from livekit_exporter.sidecar.config.settings import ConfigError, load

        flags = {"data_dir": self.data_dir, "timezone": self.timezone}
        with one_line_for(ConfigError):
            return load(self.config, os.environ, flags)


def with_options(
    command: Callable[Concatenate[Options, _P], None],
) -> Callable[..., None]:
    """Give a command all of these options beside its own, in one first argument."""
    return _given(command, tuple(field.name for field in fields(Options)))


def with_filters(
    command: Callable[Concatenate[Options, _P], None],
) -> Callable[..., None]:
    """The same for a command whose answer is not divided by anything."""
    return _given(command, tuple(field.name for field in fields(Options) if field.name != "by"))


def with_place(
    command: Callable[Concatenate[Options, _P], None],
) -> Callable[..., None]:
    """Give a command the options that say where the ledger is, and whose time is shown."""
    return _given(command, ("timezone", "data_dir", "ledger", "config"))


def with_usage(
    command: Callable[Concatenate[Options, _P], None],
) -> Callable[..., None]:
    """Give a command the options that choose usage of models, whoever used it."""
    left_out = ("by", "agent", "user", "label", "limit", "chart", "html")
    return _given(
        command, tuple(each.name for each in fields(Options) if each.name not in left_out)
    )


def with_answer(
    command: Callable[Concatenate[Options, _P], None],
) -> Callable[..., None]:
    """Give a command the options that say where the ledger is, and how to write an answer."""
    names = ("data_dir", "ledger", "config", "output_format", "as_json", "output")
    return _given(command, names)


def _given(
    command: Callable[Concatenate[Options, _P], None], names: tuple[str, ...]
) -> Callable[..., None]:
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    hints = get_type_hints(Options, include_extras=True)
    shared = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(Options)
        if field.name in names
    ]

    @wraps(command)
    def run(**given: object) -> None:
        options = {name: given.pop(name) for name in names}
        command(Options(**options), **given)  # type: ignore[arg-type, call-arg]

    parameters = [
        *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own),
        *shared,
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


@contextmanager
def _patience(ledger: "Snapshot") -> Iterator[None]:
    """Show on a terminal how far reading is, once it takes a while."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, Task, TextColumn, TimeElapsedColumn
    from rich.progress_bar import ProgressBar

    class Rows(BarColumn):
        """The share of rows that has been read, where it is known."""

        def render(self, task: Task) -> ProgressBar:
            task.total, task.completed = ledger.expected, ledger.read
            return super().render(task)

    progress = Progress(
        TextColumn("reading the ledger"),
        Rows(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    progress.add_task("", total=None)
    timer = Timer(_PATIENCE_SECONDS, progress.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        progress.stop()
