"""What the documents show is what the project does."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from livekit_exporter import record
from livekit_exporter.sidecar import config

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


@pytest.mark.parametrize("document", ["README.md", "docs/configuration.md", "docs/journal.md"])
def test_links_lead_somewhere(document: str) -> None:
    """Every relative link is a file of the repository."""
    path = ROOT / document
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text("utf-8"))

    assert [target for target in targets if not (path.parent / target).exists()] == []
