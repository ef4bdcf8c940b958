"""Write what is generated: the tables in the documents, the schema, the compiled prices.

python docs/generate.py           write
python docs/generate.py --check   write nothing, fail when something is stale
"""

import json
import logging
import os
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import chdir
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final

import yaml
from pydantic import Field, TypeAdapter
from typer.testing import CliRunner

from livekit_exporter import contract, files
from livekit_exporter.agent.account import LiveAccount
from livekit_exporter.agent.prices import Prices
from livekit_exporter.agent.summary import SLOW_TURN_SECONDS, Summary
from livekit_exporter.cli import app as cli
from livekit_exporter.export import document as call_export
from livekit_exporter.prices.catalogue import Catalogue, from_compiled
from livekit_exporter.prices.explain import langfuse
from livekit_exporter.prices.files import compile as prices
from livekit_exporter.prices.files import json_schema
from livekit_exporter.prices.files.located import PriceFileError
from livekit_exporter.prices.units import CONFIDENCES
from livekit_exporter.record import SCHEMA_VERSION, Record
from livekit_exporter.sidecar.config import settings as config
from livekit_exporter.sidecar.decode import decode

ROOT = Path(__file__).resolve().parent.parent
MADE_UP_ROWS: Final = 6000
EXAMPLE = ROOT / "docs" / "journal.example.jsonl"


def table_of_metrics() -> str:
    """Render the metric table that the README carries."""
    rows = ["| Metric | Type | Labels | Meaning |", "| --- | --- | --- | --- |"]
    for family in contract.FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels) or "none"
        rows.append(f"| `{family.full_name}` | {family.kind} | {labels} | {family.help} |")
    return "\n".join(rows) + "\n"


def between_markers(text: str, name: str, body: str) -> str:
    """Replace what stands between `<!-- name:begin … -->` and `<!-- name:end -->`.

    Raises:
        ValueError: The markers are missing.
    """
    begin, end = f"<!-- {name}:begin", f"<!-- {name}:end -->"
    before, first, rest = text.partition(begin)
    comment, closed, inside = rest.partition("-->\n")
    _, last, after = inside.partition(end)
    if not (first and closed and last):
        raise ValueError(f"marker '{begin} -->' or '{end}' is missing")
    return f"{before}{begin}{comment}-->\n{body}{end}{after}"


def _drop_titles(schema: object) -> None:
    """Remove the titles that pydantic derives from names: they say nothing new."""
    if isinstance(schema, dict):
        schema.pop("title", None)
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            _drop_titles(part)


def journal_schema() -> dict[str, Any]:
    """JSON Schema of one journal line.

    A line carries two fields that the dataclasses do not show: `v`, the version
    of the format, and `kind`, which has a default there and none in the line.
    """
    line: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])
    schema = line.json_schema()
    _drop_titles(schema)
    del schema["discriminator"]  # a word of OpenAPI; `kind` is a constant in each part
    for definition in schema["$defs"].values():
        properties = definition["properties"]
        if "kind" in properties:
            version = {"const": SCHEMA_VERSION, "description": "Version of the format."}
            del properties["kind"]["default"]
            definition["properties"] = {"v": {**version, "type": "integer"}, **properties}
            definition["required"] = ["v", "kind", *definition.get("required", [])]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "One line of a livekit-exporter journal",
        **schema,
    }


def call_schema() -> dict[str, object]:
    """JSON Schema of the export of a call."""
    schema = call_export.json_schema()
    title = schema.pop("title")
    _drop_titles(schema)
    return {"$schema": schema.pop("$schema"), "title": title, **schema}


def log_sample() -> str:
    """What the call of the example journal logs."""
    printed, log = StringIO(), logging.getLogger("livekit_exporter")
    handler = logging.StreamHandler(printed)
    handler.setFormatter(logging.Formatter("%(levelname)-7s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    records = [decode(line) for line in EXAMPLE.read_bytes().splitlines()]
    account = LiveAccount(Prices())
    summary = Summary(records[0].session, account, SLOW_TURN_SECONDS)
    for record in records:
        account.take(record)
        summary.take(record)
    account.end()
    summary.end()
    log.removeHandler(handler)
    return f"```\n{printed.getvalue()}```\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def price_tables(text: str, catalogue: Catalogue) -> str:
    """The page about prices with the tables of what it covers, doubts and lacks."""
    text = between_markers(text, "covered", table(("provider", "entries"), covered(catalogue)))
    doubtful = table(("confidence", "entries", "source", "checked"), in_doubt(catalogue))
    text = between_markers(text, "doubtful", doubtful)
    rows = yaml.safe_load((ROOT / "docs" / "unpriced.yaml").read_text("utf-8"))
    unpriced = (
        (row["stage"], f"`{row['provider']}`", f"`{row['model']}`", row["why"]) for row in rows
    )
    heads = ("stage", "provider", "model", "why")
    return between_markers(text, "unpriced", table(heads, unpriced))


def covered(catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    """Entries of every provider that has any, counted by stage."""
    counts: dict[str, Counter[str]] = {}
    for entry in catalogue.entries.values():
        counts.setdefault(entry.provider, Counter())[entry.stage] += 1
    for provider, stages in sorted(counts.items()):
        yield provider, ", ".join(f"{stage} {number}" for stage, number in sorted(stages.items()))


def in_doubt(catalogue: Catalogue) -> Iterator[tuple[str, str, str, str]]:
    """Entries by confidence, source and day of the check, the least certain first."""
    found: dict[tuple[int, str, str], set[str]] = {}
    for entry in catalogue.entries.values():
        for tariff in entry.tariffs:
            for block in tariff.blocks:
                doubt = CONFIDENCES.index(block.confidence)
                key = (-doubt, block.source, str(block.checked))
                found.setdefault(key, set()).add(f"`{entry.id}`")
    for (doubt, source, checked), ids in sorted(found.items()):
        if doubt:
            yield CONFIDENCES[-doubt], ", ".join(sorted(ids)), source, checked


def left_out(catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    """Entries that Langfuse has no definition for, by reason."""
    reasons: dict[str, list[str]] = {}
    for entry, why in langfuse.definitions(catalogue)[1]:
        reasons.setdefault(why, []).append(f"`{entry}`")
    for why, entries in sorted(reasons.items()):
        yield why, ", ".join(entries)


def langfuse_models(catalogue: Catalogue) -> str:
    """Langfuse's model definitions, one body to post for each."""
    return json.dumps(langfuse.definitions(catalogue)[0], indent=2) + "\n"


def sessions(text: str) -> str:
    """A page with what its commands print about a month that was made up.

    A block of the language `console` is a command and its output.
    """
    sys.path.append(str(ROOT))
    from bench import ledgers

    def session(block: re.Match[str]) -> str:
        command = block["command"]
        asked = shlex.split(command)[1:]
        result = CliRunner().invoke(cli.app, asked, env={"COLUMNS": "80", "NO_COLOR": "1"})
        if result.exit_code:
            raise ValueError(f"'{command}' failed: {result.output}")
        printed = "\n".join(line.rstrip() for line in result.stdout.rstrip().splitlines())
        return f"```console\n$ {command}\n{printed}\n```\n"

    # Commands name files as from the root of the repository.
    with TemporaryDirectory() as folder, chdir(ROOT):
        ledgers.write(files.ledger(Path(folder)), MADE_UP_ROWS)
        os.environ[files.ENVIRONMENT] = folder
        return re.sub(r"```console\n\$ (?P<command>.*)\n(?:.*\n)*?```\n", session, text)


def generated() -> Mapping[Path, str]:
    """Every generated file with the text that it should have."""
    readme, settings = ROOT / "README.md", ROOT / "docs" / "configuration.md"
    front = between_markers(readme.read_text("utf-8"), "metrics", table_of_metrics())
    reports = ROOT / "docs" / "reports.md"
    page, catalogue = ROOT / "docs" / "prices.md", prices.compiled(prices.shipped())
    tracing = ROOT / "docs" / "tracing.md"
    without = table(("why", "entries"), left_out(from_compiled(catalogue)))
    return {
        readme: between_markers(front, "log", log_sample()),
        settings: between_markers(settings.read_text("utf-8"), "settings", config.markdown_table()),
        ROOT / "docs" / "journal.schema.json": json.dumps(journal_schema(), indent=2) + "\n",
        ROOT / "docs" / "call.schema.json": json.dumps(call_schema(), indent=2) + "\n",
        json_schema.FILE: json_schema.rendered(),
        page: price_tables(page.read_text("utf-8"), from_compiled(catalogue)),
        tracing: between_markers(tracing.read_text("utf-8"), "left-out", without),
        ROOT / "docs" / "langfuse_models.json": langfuse_models(from_compiled(catalogue)),
        reports: sessions(reports.read_text("utf-8")),
        prices.COMPILED: prices.rendered(catalogue),
    }


def main(arguments: Sequence[str]) -> int:
    """Write the generated files, or with `--check` name the stale ones."""
    try:
        texts = generated()
    except PriceFileError as error:
        print(error, file=sys.stderr)
        return 1
    stale = [
        (path, text)
        for path, text in texts.items()
        if not path.exists() or path.read_text("utf-8") != text
    ]
    for path, text in stale:
        name = path.relative_to(ROOT)
        if "--check" in arguments:
            print(f"{name}: stale, run make generate", file=sys.stderr)
        else:
            path.write_text(text, "utf-8")
            print(f"{name}: written")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
