"""The schema for editors says of a price file what the check says, as far as a schema can see."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from livekit_exporter.prices.files import check as price_check
from livekit_exporter.prices.files.compile import SOURCES, parse, read
from livekit_exporter.prices.files.json_schema import FILE
from livekit_exporter.prices.files.located import Items, Located, PriceFileError, Table
from tests.prices.test_overlay import OWN
from tests.prices.test_price_files import GOOD, MISTAKES

SCHEMA = json.loads(FILE.read_text("utf-8"))
EDITOR = jsonschema.Draft202012Validator(
    SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
)

# Seen by the check alone: what two places of the files say, numbers beside one another, and
# numbers in another notation, which YAML reads as the same number.
UNSEEN = {
    "exponent",
    "cached dearer than input",
    "tier without a price of its base",
    "blocks out of order",
    "id twice",
    "undeclared provider",
    "model priced twice",
    "nothing to match",
    "default that does not exist",
    "default of another stage",
    "name with two owners",
    "credits without a price",
    "fallback on the same basis",
}
NO_YAML = {"key twice", "broken YAML"}

EVERYTHING = """\
schema: 1
currency: USD
providers: {acme:}
entries:
  - id: acme/night
    stage: llm
    basis: tokens
    prices:
      - per_1m: {input: 1, cached_input: 0.1, output: 2}
        audio_per_1m: {input: 3}
        above_input_tokens:
          - {over: 1000, per_1m: {input: 5, cached_input: 2, output: 20}, audio_per_1m: {input: 6}}
        time_of_day:
          - from: '16:30'
            until: '00:30'
            per_1m: {input: 0.5, cached_input: 0.05, output: 1}
            audio_per_1m: {input: 3}
        confidence: low
        source: acme.test
        checked: 2026-10-21
  - id: acme/gpu
    stage: llm
    basis: request_time
    prices:
      - {per_hour: 3.6, source: our GPU, checked: 2026-10-21, confidence: medium}
  - {id: acme/own, stage: stt, free: self-hosted}
  - {id: acme/own-2, stage: stt, match: [1.5, "own-<date>", "own-*"], free: 2 of our hosts}
"""

PAGE = (Path(__file__).parents[2] / "docs" / "prices.md").read_text("utf-8")
DOCUMENTED = PAGE.partition("```yaml\n")[2].partition("```")[0]


def as_read(node: Located) -> object:
    """What an editor makes of YAML: numbers of the core schema are numbers."""
    if isinstance(node, Table):
        return {key: as_read(value) for key, value in node.values.items()}
    if isinstance(node, Items):
        return [as_read(value) for value in node.values]
    if re.fullmatch(r"[-+]?[0-9]+", node.value):
        return int(node.value)
    if re.fullmatch(r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?", node.value):
        return float(node.value)
    return node.value or None


def faults(text: str) -> list[str]:
    """What an editor underlines."""
    return [error.message for error in EDITOR.iter_errors(as_read(parse(text, "a.yaml").root))]


def test_schema_is_one() -> None:
    """It is a schema itself, and every key that can be written is described."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    tables = [SCHEMA, *SCHEMA["$defs"].values()]
    undescribed = [
        (table["title"], key)
        for table in tables
        for key, value in table["properties"].items()
        if not value.get("description")
    ]
    assert len(tables) > 10
    assert undescribed == []


@pytest.mark.parametrize("path", sorted(SOURCES.glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_file_has_no_fault(path: Path) -> None:
    """An editor that underlines what is right would be switched off."""
    assert faults(path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", sorted(SOURCES.glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_file_names_the_schema(path: Path) -> None:
    """The first line leads an editor to it."""
    first = path.read_text("utf-8").partition("\n")[0]
    named = first.removeprefix("# yaml-language-server: $schema=")

    assert named != first
    assert (path.parent / named).resolve() == FILE


@pytest.mark.parametrize(
    "text",
    [GOOD, OWN, EVERYTHING, DOCUMENTED],
    ids=["new", "over the shipped", "all", "documented"],
)
def test_good_file_has_no_fault(text: str) -> None:
    """New entries, entries over the shipped ones, and every key there is."""
    assert faults(text) == []


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        pytest.param(
            GOOD.replace(str(case.values[0]), str(case.values[1])),
            case.id not in UNSEEN,
            id=str(case.id),
        )
        for case in MISTAKES
        if case.id not in NO_YAML
    ],
)
def test_editor_sees_what_a_schema_can_see(text: str, *, seen: bool) -> None:
    """Every mistake that the check knows is underlined, or is named above as unseen."""
    assert bool(faults(text)) == seen


def test_what_is_said_to_be_unseen_is_a_mistake() -> None:
    """A misspelt exception would hide nothing and stay for ever."""
    assert {str(case.id) for case in MISTAKES} >= UNSEEN | NO_YAML


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("stage: stt, free: self-hosted}", "stage: stt, free: self-hosted, basis: tokens}"),
        ("free: self-hosted", "free: ''"),
        ("until: '00:30'", "until: '24:30'"),
        ("per_1m: {input: 0.5, cached_input: 0.05, output: 1}", "per_hour: 1"),
        ("confidence: low", "confidence: good"),
        ("per_hour: 3.6,", ""),
        ("over: 1000", "over: 0"),
        ("{acme:}", "{Acme:}"),
        ("{acme:}", '{acme: {labels: ["*.tts"]}}'),
        ("{acme:}", "{acme: {usd_per_1m_credits: 5}}"),
    ],
)
def test_both_see_it(right: str, wrong: str) -> None:
    """What is refused in the newer parts of a file is underlined too."""
    assert EVERYTHING.count(right) == 1
    text = EVERYTHING.replace(right, wrong)

    assert faults(text)
    with pytest.raises(PriceFileError):
        price_check.check([parse(text, "a.yaml")])


def test_everything_passes_the_check_too() -> None:
    """The file that the mistakes above are made in is right."""
    assert len(price_check.check([parse(EVERYTHING, "a.yaml")]).entries) == 4


def test_a_file_is_read_as_an_editor_reads_it() -> None:
    """Prices are numbers there, days are text."""
    assert as_read(read(SOURCES / "twilio.yaml").root) != {}
    assert as_read(parse("a: [1, 0.5, 2026-10-21, '']", "a.yaml").root) == {
        "a": [1, 0.5, "2026-10-21", None]
    }
