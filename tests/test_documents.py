"""What the documents show is what the project does."""

import json
import os
import re
import runpy
import subprocess
import sys
import textwrap
from dataclasses import fields
from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest

from livekit_exporter import Budget, BudgetEvent, actions, record
from livekit_exporter.prices.catalogue import from_compiled
from livekit_exporter.prices.files.compile import compiled, parse
from livekit_exporter.sidecar.config import settings as config
from livekit_exporter.sidecar.decode import decode
from tests.agent.accounts import summarise
from tests.agent.logs import EXPORTER, Lines, logged

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = json.loads((ROOT / "docs" / "journal.schema.json").read_text("utf-8"))


def example(document: str, language: str) -> str:
    """The first code block of a document in one language."""
    text = (ROOT / "docs" / document).read_text("utf-8")
    found = re.search(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found.group(1)


def test_generated_files_are_fresh() -> None:
    """Tables, schema and compiled prices are what `make generate` would write."""
    result = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.stderr == ""
    assert result.returncode == 0


def test_configuration_example_is_accepted(tmp_path: Path) -> None:
    """The file that people copy has no mistake in it."""
    file = tmp_path / "exporter.yaml"
    file.write_text(example("configuration.md", "yaml"))

    assert config.load(file, {}, {}).metrics.cap("tenant") == 1000


def test_recipe_corrects_a_price(tmp_path: Path) -> None:
    """Step by step as it stands there: the file is good, and the answer is the documented one."""
    text = (ROOT / "docs" / "prices.md").read_text("utf-8")
    recipe = text.partition("## How to correct a price in a minute\n")[2].partition("\n## ")[0]
    steps: dict[str, list[str]] = {"sh": [], "yaml": [], "json": []}
    for language, body in re.findall(
        r"^ +```(\w+)\n(.*?)^ +```$", recipe, re.MULTILINE | re.DOTALL
    ):
        steps[language].append(textwrap.dedent(body))
    (own,), (answer,), (_, check, quote) = steps["yaml"], steps["json"], steps["sh"]
    (tmp_path / "prices.yaml").write_text(own)

    def said(command: str) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["sh", "-ec", command],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert said(check) == "prices.yaml: ok\n"
    assert json.loads(said(quote)) == json.loads(answer)
    shown = said(f"{steps['sh'][0].strip()} --prices prices.yaml")
    assert "input 0.30, cached 0.075, output 1.20 per 1M tokens" in shown
    assert "our contract, November 2026" in shown
    assert json.loads(said(quote.replace("--prices prices.yaml", "")))["cost_usd"] == "0.00072000"


def test_prices_in_doubt_are_listed_the_least_certain_first() -> None:
    """An entry is named with the confidence, source and day of each block in doubt."""
    head = "schema: 1\ncurrency: USD\nproviders: {acme:}\nentries:\n"
    blocks = [
        f"{{per_1m_chars: 1, source: {source}, checked: 2026-10-2{day}, confidence: {confidence}}}"
        for source, day, confidence in (("a", 1, "high"), ("b", 2, "medium"), ("c", 3, "low"))
    ]
    blocks[1] = blocks[1].replace("{", "{valid_from: 2026-01-01, ")
    text = "".join(
        f"  - {{id: acme/{name}, stage: tts, basis: characters, prices: [{', '.join(said)}]}}\n"
        for name, said in (("one", blocks[:2]), ("two", blocks[2:]), ("three", blocks[2:]))
    )
    catalogue = from_compiled(compiled([parse(head + text, "a.yaml")]))

    listed = runpy.run_path(str(ROOT / "docs" / "generate.py"))["in_doubt"]
    assert list(listed(catalogue)) == [
        ("low", "`acme/three`, `acme/two`", "c", "2026-10-23"),
        ("medium", "`acme/one`", "b", "2026-10-22"),
    ]


def test_journal_example_writes_valid_lines(tmp_path: Path) -> None:
    """The writer that other languages copy keeps to the schema, names and modes."""
    subprocess.run(
        [sys.executable, "-c", example("journal.md", "python")],
        check=True,
        env={**os.environ, "LIVEKIT_EXPORTER_DATA_DIR": str(tmp_path)},
    )

    [journal] = (tmp_path / "journal").iterdir()
    lines = [json.loads(line) for line in journal.read_text("utf-8").splitlines()]
    assert [line["kind"] for line in lines] == ["session_started", "usage", "session_closed"]
    assert re.fullmatch(r"[0-9a-f]+-[0-9a-f]+\.jsonl", journal.name)
    assert journal.stat().st_mode & 0o777 == 0o600
    for line in lines:
        jsonschema.validate(line, SCHEMA)


@pytest.mark.parametrize(
    "line",
    [
        {"kind": "tool_call", "session": "s", "at": 1, "tool": "t"},
        {"v": 2, "kind": "tool_call", "session": "s", "at": 1, "tool": "t"},
        {"v": 1, "kind": "tool_call", "session": "s", "tool": "t"},
        {"v": 1, "kind": "no_such_kind", "session": "s", "at": 1},
        {"v": 1, "kind": "message", "session": "s", "at": 1, "role": "system"},
    ],
)
def test_schema_refuses_what_a_reader_refuses(line: dict[str, object]) -> None:
    """A missing version, another version, a missing field, an unknown kind, a wrong value."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(line, SCHEMA)


def test_every_kind_is_described() -> None:
    """The document names each record, and the schema describes each."""
    text = (ROOT / "docs" / "journal.md").read_text("utf-8")
    kinds = {
        part["properties"]["kind"]["const"]
        for part in SCHEMA["$defs"].values()
        if "kind" in part["properties"]
    }

    assert len(kinds) == len(record.Record.__args__)
    assert {kind for kind in kinds if f"| `{kind}` |" not in text} == set()


def example_call() -> Lines:
    """What the call of the example journal logs."""
    lines = (ROOT / "docs" / "journal.example.jsonl").read_bytes().splitlines()
    for line in lines:
        jsonschema.validate(json.loads(line), SCHEMA)
    with logged() as told:
        summarise("s", map(decode, lines), 3.5)
    return told


def described_fields(kind: str) -> set[str]:
    """Fields that the document says a kind of log record has."""
    text = (ROOT / "docs" / "logs.md").read_text("utf-8")
    rows = re.findall(r"^\| (`.+?`) \| ([\w, ]+) \| .+ \|$", text, re.MULTILINE)
    return {
        field
        for names, kinds in rows
        if {"all", kind} & set(kinds.split(", "))
        for field in re.findall(r"`(\w+)`", names)
    }


@pytest.mark.parametrize("kind", ["turn", "slow_turn", "call"])
def test_every_field_in_the_log_is_described(kind: str) -> None:
    """No field without a word about it, and none that never comes."""
    for said in example_call().fields(kind):
        assert said.keys() == described_fields(kind)


def test_every_field_of_a_budget_in_the_log_is_described() -> None:
    """The same of the line that a budget writes."""
    event = BudgetEvent(
        scope="day",
        threshold="limit",
        limit_usd=Decimal(1),
        spend_usd=Decimal(2),
        stale=True,
        session_id="s",
        session=None,  # type: ignore[arg-type]  # nobody asks for it
    )
    with logged() as told:
        actions.log(event)

    (said,) = told.fields("budget")
    assert said.keys() == described_fields("budget")


@pytest.mark.parametrize("part", [Budget, BudgetEvent])
def test_every_part_of_a_budget_is_described(part: type[Budget | BudgetEvent]) -> None:
    """Each setting, and each field that a callback gets."""
    text = (ROOT / "docs" / "budgets.md").read_text("utf-8")
    named = {
        name
        for row in re.findall(r"^\| (`.+?`) \|", text, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }

    assert {field.name for field in fields(part)} - named == set()


def test_log_filter_example_leaves_the_text() -> None:
    """The filter that people copy takes the attribute away and nothing else."""
    before = list(EXPORTER.filters)
    try:
        exec(compile(example("logs.md", "python"), "logs.md", "exec"), {})  # noqa: S102 - our own
        told = example_call()
    finally:
        EXPORTER.filters[:] = before

    assert len(told.texts()) == 4
    assert not any(hasattr(line, "livekit_exporter") for line in told.records)


@pytest.mark.parametrize(
    "document",
    [
        *("README.md", "docs/budgets.md", "docs/configuration.md", "docs/journal.md"),
        *("docs/logs.md", "docs/prices.md", "docs/tracing.md", "docs/webhooks.md"),
    ],
)
def test_links_lead_somewhere(document: str) -> None:
    """Every relative link is a file of the repository."""
    path = ROOT / document
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text("utf-8"))

    assert [target for target in targets if not (path.parent / target).exists()] == []
