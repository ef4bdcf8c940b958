"""The command line.

Commands import what they run when they run it, so that `--help` and shell
completion are quick and `replay` does not need what `serve` needs.  A mistake of
the user is one line on standard error and exit code 1.
"""

import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from livekit_exporter import __version__, files
from livekit_exporter.cli.errors import fail as _fail
from livekit_exporter.cli.errors import one_line_for as _one_line_for
from livekit_exporter.cli.money import reconcile, reprice, repricings
from livekit_exporter.cli.reports import calls_app, report_app
from livekit_exporter.cli.webhook import webhook_app

if TYPE_CHECKING:
    from livekit_exporter.prices.catalogue import Catalogue
    from livekit_exporter.prices.explain.listing import Wanted

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="What a LiveKit voice agent costs and how fast it answers, in Prometheus.",
    epilog="Start with: livekit-exporter demo",
)
config_app = typer.Typer(no_args_is_help=True, help="Look after the configuration file.")
app.add_typer(config_app, name="config")
prices_app = typer.Typer(no_args_is_help=True, help="Look after prices.")
app.add_typer(prices_app, name="prices")
app.add_typer(report_app, name="report")
app.add_typer(calls_app, name="calls")
app.add_typer(webhook_app, name="webhook")
app.command("reconcile")(reconcile)
prices_app.command("reprice")(reprice)
prices_app.command("repricings")(repricings)
ledger_app = typer.Typer(no_args_is_help=True, help="Look after the ledger.")
app.add_typer(ledger_app, name="ledger")

_DEMO_CALLS: Final = 20

_DataDir = Annotated[
    str | None,
    typer.Option(
        help=f"Directory that agents and the sidecar share, else {files.ENVIRONMENT}.",
        show_default=False,
    ),
]
_Prices = Annotated[
    Path | None, typer.Option(help="Your own prices, over the shipped ones.", show_default=False)
]
_At = Annotated[
    str | None,
    typer.Option(help="Day or time at which, in ISO 8601 and UTC; else now.", show_default=False),
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with everything.")]
_CONFIG_VARIABLE: Final = "LIVEKIT_EXPORTER_CONFIG"
_Config = Annotated[
    Path | None, typer.Option(help="Configuration file, YAML.", envvar=_CONFIG_VARIABLE)
]
_ListenAddress = Annotated[
    str | None,
    typer.Option(help="host:port of the HTTP server, port 0 for any free one.", show_default=False),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"livekit-exporter {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Options before the command."""


@app.command()
def serve(
    data_dir: _DataDir = None,
    listen_address: _ListenAddress = None,
    config: _Config = None,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error.", show_default=False)
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(help="text or json.", show_default=False)
    ] = None,
    parent_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the sidecar: read journals, price them, keep the ledger, serve /metrics."""
    from livekit_exporter.sidecar.config.settings import ConfigError, load

    flags = {
        "data_dir": data_dir,
        "listen_address": listen_address,
        "log.level": log_level,
        "log.format": log_format,
    }
    reload = partial(load, config, os.environ, flags)
    with _one_line_for(ConfigError):
        settings = reload()

    from livekit_exporter.sidecar.serve import run

    raise typer.Exit(run(settings, parent_fd=parent_fd, reload=reload))


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="Recorded session events, JSON lines.")],
    data_dir: _DataDir = None,
    agent: Annotated[str, typer.Option(help="Name of the agent in the metrics.")] = "replay",
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Feed a recorded stream of session events through the collector."""
    from livekit_exporter.agent import replay as recorded

    root = files.resolve(data_dir)
    with _one_line_for(OSError, UnicodeDecodeError):
        result = recorded.replay(file, root, agent=agent)
    if as_json:
        counts = {
            name: getattr(result, name) for name in ("lines", "records", "sessions", "unread")
        }
        typer.echo(json.dumps(counts))
        return
    typer.echo(
        f"{result.lines} lines: {result.records} records of {result.sessions} sessions"
        f" written to {files.journals(root)}"
    )
    for reason, count in sorted(result.unread.items()):
        typer.echo(f"not understood: {count} ({reason})")


@app.command()
def demo(  # noqa: PLR0913, PLR0917 - options, given by name
    calls: Annotated[
        int | None,
        typer.Option(
            min=1, help="Calls to hold, then exit; 20, or with --duration any.", show_default=False
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Calls at a time.")] = 4,
    duration: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds after which no call begins.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed holds the same calls again.")] = 1,
    speed: Annotated[float, typer.Option(min=0.1, help="How much faster than real time.")] = 1.0,
    llm_delay: Annotated[
        float,
        typer.Option(min=0, help="Simulated seconds that language models answer later."),
    ] = 0.0,
    sidecar: Annotated[
        bool,
        typer.Option(help="Serve the metrics too; without, hold calls for another's sidecar."),
    ] = True,
    listen_address: _ListenAddress = None,
    worker_metrics_address: Annotated[
        str | None,
        typer.Option(
            help="host:port for LiveKit's own worker metrics, else not served.",
            show_default=False,
        ),
    ] = None,
    log: Annotated[bool, typer.Option("--log", help="Show what calls log of their turns.")] = False,
    data_dir: Annotated[
        str | None,
        typer.Option(
            help="Data directory, else a temporary one that is removed; without a sidecar the"
            " one that agents use.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Hold simulated calls with real AgentSessions and serve their metrics."""
    if not sidecar and listen_address is not None:
        _fail("--listen-address is the sidecar's; leave it out with --no-sidecar")
    worker_metrics = (
        _host_and_port("--worker-metrics-address", worker_metrics_address)
        if worker_metrics_address
        else None
    )
    if not _has_livekit():
        _fail(
            "the demo needs LiveKit's agents; install them with:"
            " pip install 'livekit-exporter[agent]'"
        )

    try:
        from livekit_exporter.demo.run import Options, run
    except ImportError as error:
        _fail(f"the demo needs a newer livekit-agents than the one installed: {error}")

    options = Options(
        calls=_DEMO_CALLS if calls is None and duration is None else calls,
        concurrency=concurrency,
        duration=duration,
        seed=seed,
        speed=speed,
        listen_address=listen_address,
        data_dir=data_dir,
        llm_delay=llm_delay,
        sidecar=sidecar,
        worker_metrics=worker_metrics,
        log=log,
    )
    raise typer.Exit(run(options))


def _host_and_port(option: str, text: str) -> tuple[str, int]:
    """Read an address that somebody scrapes, so it needs a port that is known."""
    from livekit_exporter.sidecar.config.settings import ListenAddress

    try:
        address = ListenAddress.parse(text)
    except ValueError as error:
        _fail(f"{option}: '{text}': {error}")
    if not address.port:
        _fail(f"{option}: '{text}': port 0 is any port, state one")
    return address.host, address.port


def _has_livekit() -> bool:
    try:
        return find_spec("livekit.agents") is not None
    except (ModuleNotFoundError, ValueError):
        return False


@config_app.command("check")
def check(file: Annotated[Path, typer.Argument(help="Configuration file, YAML.")]) -> None:
    """Exit with 1 and the place of the first mistake, if there is one."""
    from livekit_exporter.sidecar.config.settings import ConfigError, load

    with _one_line_for(ConfigError):
        config = load(file, {}, {})
        from livekit_exporter.sidecar import prices_in_force

        prices_in_force.load(config)
        config.webhook.keys()
    typer.echo(f"{file}: ok")


def _prices_in_force(own: Path | None, root: Path | None = None) -> "Catalogue":
    """The shipped prices, with a file over them, or as a sidecar has left them."""
    from livekit_exporter.prices import catalogue

    if own is not None:
        from livekit_exporter.prices.files import overlay
        from livekit_exporter.prices.files.located import PriceFileError

        with _one_line_for(OSError, PriceFileError):
            return catalogue.from_compiled(overlay.load(own))
    if root is not None and files.prices(root).exists():
        path = files.prices(root)
        try:
            return catalogue.read(path)
        except (OSError, ValueError, LookupError, TypeError) as error:
            _fail(f"cannot read the sidecar's prices '{path}': {error}; name a file with --prices")
    return catalogue.load()


def _moment(at: str | None) -> float:
    """Unix time that an option names, now without it."""
    try:
        moment = datetime.fromisoformat(at) if at else datetime.now(UTC)
    except ValueError:
        _fail(f"--at: '{at}' is no time; write it as 2026-10-21 or 2026-10-21T12:00Z")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@prices_app.command("list")
def list_prices(
    provider: Annotated[
        str | None,
        typer.Option(help="Only of this provider, by id, name or host.", show_default=False),
    ] = None,
    stage: Annotated[
        str | None, typer.Option(help="Only of this stage: stt, llm, tts, ...", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Only with this in the id or in a model's name.", show_default=False),
    ] = None,
    unpriced: Annotated[
        bool,
        typer.Option(
            "--unpriced", help="What the ledger has seen without a price, and a file to fill in."
        ),
    ] = False,
    data_dir: _DataDir = None,
    prices: _Prices = None,
    at: _At = None,
    as_json: _AsJson = False,
) -> None:
    """List prices, or with --unpriced the usage that has none."""
    from livekit_exporter.prices.explain import listing
    from livekit_exporter.prices.files.page import STAGES, remedy

    if stage is not None and stage not in STAGES:
        _fail(f"--stage: '{stage}' is not known; {remedy(stage, STAGES)}")
    root = files.resolve(data_dir) if unpriced or data_dir else None
    in_force = _prices_in_force(prices, root)
    owner = None if provider is None else in_force.provider(provider)
    wanted = listing.Wanted(owner, stage, model)
    if root is not None and unpriced:
        if at is not None:
            _fail("--at: usage is priced by its own time; leave it out with --unpriced")
        _list_unpriced(_ledger_in_use(data_dir), in_force, wanted, as_json=as_json)
        return
    if owner is not None and owner not in in_force.providers:
        _fail(f"--provider: '{provider}' is not known; {remedy(owner, in_force.providers)}")
    moment = _moment(at)
    entries = listing.chosen(in_force, wanted)
    if as_json:
        typer.echo(json.dumps([listing.described(entry, moment) for entry in entries]))
        return

    from rich.console import Console

    from livekit_exporter.cli.prices import print_entries

    print_entries(entries, moment, Console(highlight=False))


def _list_unpriced(
    ledger: Path | str, in_force: "Catalogue", wanted: "Wanted", *, as_json: bool
) -> None:
    from livekit_exporter.ledger.backends.database import LedgerError
    from livekit_exporter.ledger.survey import survey
    from livekit_exporter.prices.explain.stub import overlay
    from livekit_exporter.prices.files.json_schema import FILE

    with _one_line_for(LedgerError):
        found = survey(ledger, in_force, wanted)
    stub = overlay(found.unpriced, in_force, today=datetime.now(UTC).date(), schema=str(FILE))
    if as_json:
        answer = {
            "unpriced": [group.as_json() for group in found.unpriced],
            "priced_by_now": found.settled,
            "overlay": stub,
        }
        typer.echo(json.dumps(answer))
        return

    from rich.console import Console

    from livekit_exporter.cli.prices import print_unpriced

    print_unpriced(found, stub, Console(highlight=False))


@prices_app.command("show")
def show_price(
    name: Annotated[
        str, typer.Argument(metavar="ID_OR_MODEL", help="Id of an entry, or a model it prices.")
    ],
    prices: _Prices = None,
    at: _At = None,
    as_json: _AsJson = False,
) -> None:
    """Explain a price: what it is for, its dates, its rule in words, and an example."""
    from livekit_exporter.prices.explain import listing
    from livekit_exporter.prices.explain.words import printable

    in_force, moment = _prices_in_force(prices), _moment(at)
    entries = listing.named(in_force, name)
    if not entries:
        meant = listing.meant(name, in_force)
        known = f"did you mean {meant}?" if meant else "'livekit-exporter prices list' shows all"
        _fail(f"no entry and no model is called '{printable(name[:200])}'; {known}")
    if as_json:
        explained = [listing.explained(entry, in_force, moment) for entry in entries]
        typer.echo(json.dumps(explained))
        return

    from rich.console import Console

    from livekit_exporter.cli.prices import print_entries, print_explained

    console = Console(highlight=False)
    if len(entries) == 1:
        print_explained(entries[0], in_force, moment, console)
        return
    print_entries(entries, moment, console)
    typer.echo(f"{len(entries)} entries price '{name}'; show one by its id", err=True)


@prices_app.command("schema")
def print_schema(
    path: Annotated[bool, typer.Option("--path", help="Where its file is, instead.")] = False,
) -> None:
    """Print the JSON Schema of price files, for an editor."""
    from livekit_exporter.prices.files.json_schema import FILE

    typer.echo(FILE if path else FILE.read_text("utf-8"), nl=path)


@prices_app.command("quote")
def quote(prices: _Prices = None) -> None:
    """Price metrics from standard input: one object a line in, one JSON line out."""
    from livekit_exporter.cli.quote import QuoteError
    from livekit_exporter.cli.quote import quote as priced

    in_force = _prices_in_force(prices)
    failed = False
    for number, line in enumerate(sys.stdin.buffer, start=1):
        if not line.strip():
            continue
        try:
            answer = priced(line.decode(errors="replace"), in_force)
        except QuoteError as error:
            answer, failed = {"error": str(error), "line": number}, True
        typer.echo(json.dumps(answer))
    if failed:
        raise typer.Exit(1)


@prices_app.command("check")
def check_prices(
    files: Annotated[
        list[Path], typer.Argument(help="Price files of your own, YAML, or directories of them.")
    ],
) -> None:
    """Name every mistake in price files with file, line and remedy; exit with 1 if any."""
    from livekit_exporter.prices.files import compile as price_files
    from livekit_exporter.prices.files import overlay
    from livekit_exporter.prices.files.located import PriceFileError

    failed = False
    # Reading the shipped files takes longer than checking many of one's own.
    shipped = price_files.shipped()
    for file in _price_files(files):
        try:
            price_files.compiled(overlay.merged(shipped, price_files.read(file)))
        except PriceFileError as error:
            typer.echo(error, err=True)
            failed = True
        except OSError as error:
            typer.echo(f"{file}: cannot read the prices: {error.strerror or error}", err=True)
            failed = True
        else:
            typer.echo(f"{file}: ok")
    if failed:
        raise typer.Exit(1)


def _price_files(paths: list[Path]) -> Iterator[Path]:
    """Files as they are named, of directories the YAML files in them."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(file for file in path.iterdir() if file.suffix in {".yaml", ".yml"})
        if not inside:
            _fail(f"{path}: no price files in it; they end in .yaml")
        yield from inside


@prices_app.command("diff")
def diff_prices(
    source: Annotated[
        str,
        typer.Argument(help="'genai-prices', or a copy of LiteLLM's price map, JSON."),
    ],
    prices: _Prices = None,
    day: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="Compare prices of this day, else today.", show_default=False
        ),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(
            help="New price file for what the source says instead, to review.", show_default=False
        ),
    ] = None,
    as_json: _AsJson = False,
) -> None:
    """Hold prices against a public price list and print where they differ."""
    from livekit_exporter.prices.catalogue import from_compiled
    from livekit_exporter.prices.compare import genai, litellm, output
    from livekit_exporter.prices.compare.differences import compare
    from livekit_exporter.prices.compare.price_list import PriceListError
    from livekit_exporter.prices.compare.proposal import proposal
    from livekit_exporter.prices.files import compile as price_files
    from livekit_exporter.prices.files import overlay
    from livekit_exporter.prices.files.located import PriceFileError

    noon = (day or datetime.now(UTC)).replace(
        hour=12, minute=0, second=0, microsecond=0, tzinfo=UTC
    )
    with _one_line_for(OSError, PriceFileError, PriceListError):
        files = price_files.shipped()
        if prices is not None:
            files = overlay.merged(files, price_files.read(prices))
        in_force = from_compiled(price_files.compiled(files))
        theirs = genai.read(noon) if source == genai.KIND else litellm.read(Path(source))
        comparison = compare(in_force, theirs, noon.timestamp())
        proposed = proposal(files, comparison, theirs, noon) if write is not None else ""
    if as_json:
        typer.echo(json.dumps(output.as_json(comparison, theirs, noon.date())))
    else:
        output.show(comparison.differ)
        typer.echo(output.counts(comparison, theirs, noon.date()))
    if write is not None:
        _write_new(write, proposed)


def _write_new(file: Path, text: str) -> None:
    if not text:
        typer.echo(f"{file}: not written, there is nothing to propose", err=True)
        return
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        _fail(f"{file}: exists already; name another file")
    except OSError as error:
        _fail(f"{file}: cannot write the prices: {error.strerror or error}")
    typer.echo(f"{file}: written, for review", err=True)


@ledger_app.command("check")
def check_ledger(
    ledger: Annotated[
        str | None,
        typer.Argument(
            help="Data directory or PostgreSQL URL, else those of the sidecar's settings.",
            show_default=False,
        ),
    ] = None,
    config: _Config = None,
) -> None:
    """Name everything that is wrong with the ledger, a line each; exit with 1 if anything is."""
    from livekit_exporter.ledger.backends.database import LedgerError
    from livekit_exporter.ledger.checking import findings

    failed = False
    where = _ledger_in_use(config=config) if ledger is None else _ledger(ledger)
    with _one_line_for(LedgerError):
        for finding in findings(where):
            typer.echo(finding)
            failed = True
    if failed:
        raise typer.Exit(1)
    typer.echo("ok")


@ledger_app.command("copy")
def copy_ledger(
    source: Annotated[str, typer.Option("--from", help="Data directory or PostgreSQL URL.")],
    target: Annotated[
        str, typer.Option("--to", help="Data directory without a ledger, or URL of an empty one.")
    ],
) -> None:
    """Copy every row of a ledger that nobody writes into another database, and compare."""
    from livekit_exporter.cli.ledger import copy
    from livekit_exporter.ledger.backends.database import LedgerError
    from livekit_exporter.sidecar.lock import HeldError

    with _one_line_for(LedgerError, HeldError, OSError):
        rows = copy(_ledger(source), _ledger(target))
    typer.echo(f"{rows:,} rows copied, counts and sums are the same")


def _ledger(place: str) -> Path | str:
    """A ledger's file, from its data directory, or its URL."""
    return place if "://" in place else files.ledger(Path(place).expanduser().absolute())


def _ledger_in_use(data_dir: str | None = None, config: Path | None = None) -> Path | str:
    """The ledger that a sidecar with these settings keeps."""
    from livekit_exporter.sidecar.config.settings import ConfigError, load

    named = config or os.environ.get(_CONFIG_VARIABLE)
    with _one_line_for(ConfigError):
        settings = load(Path(named) if named else None, os.environ, {"data_dir": data_dir})
        return settings.ledger.where(settings.data_dir)


def main() -> None:
    """Entry point of the `livekit-exporter` program."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
