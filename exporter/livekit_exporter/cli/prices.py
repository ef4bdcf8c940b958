"""Commands about prices: list, explain, quote, check, and compare with public price lists."""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from livekit_exporter import files
from livekit_exporter.cli import settings
from livekit_exporter.cli.errors import fail, one_line_for
from livekit_exporter.cli.parameters import AsJson, At, DataDir, PriceFile

if TYPE_CHECKING:
    from livekit_exporter.prices.catalogue import Catalogue
    from livekit_exporter.prices.explain.listing import Wanted

prices_app = typer.Typer(no_args_is_help=True, help="List, explain, check and compare prices.")


@prices_app.command("list")
def list_prices(
    provider: Annotated[
        str | None, typer.Option(help="Only this provider, by id, name or host.")
    ] = None,
    stage: Annotated[str | None, typer.Option(help="Only this stage: stt, llm, tts, ...")] = None,
    model: Annotated[
        str | None, typer.Option(help="Only entries with this text in the id or in a model name.")
    ] = None,
    unpriced: Annotated[
        bool,
        typer.Option(
            "--unpriced", help="List usage in the ledger without a price, and print a price file."
        ),
    ] = False,
    data_dir: DataDir = None,
    prices: PriceFile = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """List prices, or with --unpriced the usage that has none."""
    from livekit_exporter.prices.explain import listing
    from livekit_exporter.prices.files.words import STAGES, remedy

    if stage is not None and stage not in STAGES:
        fail(f"--stage: '{stage}' is not known; {remedy(stage, STAGES)}")
    root = files.resolve(data_dir) if unpriced or data_dir else None
    in_force = _prices_in_force(prices, root)
    owner = None if provider is None else in_force.provider(provider)
    wanted = listing.Wanted(owner, stage, model)
    if unpriced:
        if at is not None:
            fail("--at: usage is priced by its own time; leave it out with --unpriced")
        _list_unpriced(data_dir, in_force, wanted, as_json=as_json)
        return
    if owner is not None and owner not in in_force.providers:
        fail(f"--provider: '{provider}' is not known; {remedy(owner, in_force.providers)}")
    moment = _moment(at)
    entries = listing.chosen(in_force, wanted)
    if as_json:
        typer.echo(json.dumps([listing.described(entry, moment) for entry in entries]))
        return

    from livekit_exporter.cli._price_tables import print_entries

    print_entries(entries, moment)


def _list_unpriced(
    data_dir: str | None, in_force: "Catalogue", wanted: "Wanted", *, as_json: bool
) -> None:
    from livekit_exporter.ledger.backends.database import LedgerError
    from livekit_exporter.ledger.survey import survey
    from livekit_exporter.prices.explain.stub import overlay
    from livekit_exporter.prices.files.json_schema import FILE

    where = settings.ledger(settings.load(data_dir=data_dir))
    with one_line_for(LedgerError):
        found = survey(where, in_force, wanted)
    stub = overlay(found.unpriced, in_force, today=datetime.now(UTC).date(), schema=str(FILE))
    if as_json:
        answer = {
            "unpriced": [group.as_json() for group in found.unpriced],
            "priced_by_now": found.settled,
            "overlay": stub,
        }
        typer.echo(json.dumps(answer))
        return

    from livekit_exporter.cli._price_tables import print_unpriced

    print_unpriced(found, stub)


@prices_app.command("show")
def show_price(
    name: Annotated[
        str,
        typer.Argument(metavar="ID_OR_MODEL", help="Id of an entry, or a model that it prices."),
    ],
    prices: PriceFile = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Explain a price: the models it covers, its dates, its rule in words, and an example."""
    from livekit_exporter.prices.explain import listing
    from livekit_exporter.prices.explain.words import printable

    in_force, moment = _prices_in_force(prices), _moment(at)
    entries = listing.named(in_force, name)
    if not entries:
        meant = listing.meant(name, in_force)
        known = f"did you mean {meant}?" if meant else "'livekit-exporter prices list' shows all"
        fail(f"no entry and no model is called '{printable(name[:200])}'; {known}")
    if as_json:
        explained = [listing.explained(entry, in_force, moment) for entry in entries]
        typer.echo(json.dumps(explained))
        return

    from livekit_exporter.cli._price_tables import print_entries, print_explained

    if len(entries) == 1:
        print_explained(entries[0], in_force, moment)
        return
    print_entries(entries, moment)
    typer.echo(f"{len(entries)} entries price '{name}'; show one by its id", err=True)


@prices_app.command("schema")
def print_schema(
    path: Annotated[
        bool, typer.Option("--path", help="Print the path of the schema file instead.")
    ] = False,
) -> None:
    """Print the JSON Schema of price files, for an editor."""
    from livekit_exporter.prices.files.json_schema import FILE

    typer.echo(FILE if path else FILE.read_text("utf-8"), nl=path)


@prices_app.command("quote")
def quote(prices: PriceFile = None) -> None:
    """Price metrics from standard input: one JSON object per line in, one JSON line out."""
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
    """Report the mistakes in price files with file, line and remedy; exit with 1 if any."""
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
    """Replace each directory by the YAML files in it."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(file for file in path.iterdir() if file.suffix in {".yaml", ".yml"})
        if not inside:
            fail(f"{path}: no price files in it; they end in .yaml")
        yield from inside


@prices_app.command("diff")
def diff_prices(
    source: Annotated[
        str, typer.Argument(help="'genai-prices', or the path of LiteLLM's price map, JSON.")
    ],
    prices: PriceFile = None,
    day: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="Compare the prices of this day.", show_default="today"
        ),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(
            help="Write the source's different prices to this new price file, for review."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare prices with a public price list and print the differences."""
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
    with one_line_for(OSError, PriceFileError, PriceListError):
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
        fail(f"{file}: exists already; name another file")
    except OSError as error:
        fail(f"{file}: cannot write the prices: {error.strerror or error}")
    typer.echo(f"{file}: written, for review", err=True)


def _prices_in_force(own: Path | None, root: Path | None = None) -> "Catalogue":
    """Load the shipped prices under a file of the user's, or those that a sidecar wrote down.

    Args:
        own: Price file of the user.
        root: Data directory, where a sidecar leaves the prices that it uses.
    """
    from livekit_exporter.prices import catalogue

    if own is not None:
        from livekit_exporter.prices.files import overlay
        from livekit_exporter.prices.files.located import PriceFileError

        with one_line_for(OSError, PriceFileError):
            return catalogue.from_compiled(overlay.load(own))
    if root is not None and files.prices(root).exists():
        path = files.prices(root)
        try:
            return catalogue.read(path)
        except (OSError, ValueError, LookupError, TypeError) as error:
            fail(f"cannot read the sidecar's prices '{path}': {error}; name a file with --prices")
    return catalogue.load()


def _moment(at: str | None) -> float:
    """Read the time of `--at`, Unix seconds; now when it is not given."""
    try:
        moment = datetime.fromisoformat(at) if at else datetime.now(UTC)
    except ValueError:
        fail(f"--at: '{at}' is no time; write it as 2026-10-21 or 2026-10-21T12:00Z")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
