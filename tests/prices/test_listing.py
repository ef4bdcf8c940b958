"""`prices list` and `prices show`: what people and programs get to see."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from livekit_exporter.prices.catalogue import load
from livekit_exporter.prices.files.json_schema import FILE
from tests.prices.test_overlay import OWN, program
from tests.terminal import in_terminal

IDS = set(load().entries)
HOSTILE = """\
schema: 1
currency: USD
providers: {evil: {names: ["[red]Evil[/red]"]}}
entries:
  - {id: evil/free, stage: llm, match: ["[red]m"], free: "[bold]our own\\e[31m"}
  - id: evil/later
    stage: llm
    match: [gpt-4.1, later]
    basis: tokens
    prices:
      - valid_from: 2090-01-01
        per_1m: {input: 1, output: 2}
        confidence: low
        source: "[link]"
        checked: 2026-11-01
  - id: evil/night
    stage: llm
    basis: tokens
    prices:
      - per_1m: {input: 2, output: 4}
        confidence: medium
        time_of_day:
          - {from: '22:00', until: '06:00', per_1m: {input: 1, output: 2}}
        source: a
        checked: 2026-11-01
"""


@pytest.fixture
def hostile(tmp_path: Path) -> str:
    """A price file that would write in colours if it could."""
    file = tmp_path / "hostile.yaml"
    file.write_text(HOSTILE)
    return str(file)


def listed(*arguments: str) -> list[dict[str, object]]:
    """The JSON array of a command."""
    result = program(*arguments, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert isinstance(answer, list)
    return answer


def test_json_has_every_entry_with_everything() -> None:
    """Prices are decimal text, per the unit of a price page."""
    entries = {str(entry["id"]): entry for entry in listed("list", "--at", "2026-11-23")}

    assert set(entries) == IDS
    gpt = entries["openai/gpt-5.4"]
    assert gpt["at"] == "2026-11-23T00:00:00+00:00"
    assert gpt["match"] == ["gpt-5.4", "gpt-5.4-<date>"]
    assert gpt["in_force"] == [
        {
            "basis": "tokens",
            "fallback": False,
            "valid_from": None,
            "time_of_day": None,
            "prices": [
                {
                    "usd": {"input": "2.50", "cached_input": "0.25", "output": "15"},
                    "per": "1M tokens",
                    "modality": None,
                    "above_input_tokens": None,
                },
                {
                    "usd": {"input": "5", "cached_input": "0.50", "output": "22.50"},
                    "per": "1M tokens",
                    "modality": None,
                    "above_input_tokens": 272000,
                },
            ],
            "source": "genai-prices 0.2.3, litellm 1.110.2",
            "checked": "2026-11-05",
            "confidence": "high",
        }
    ]


def test_a_pipe_gets_a_line_per_entry() -> None:
    """Id, stage, prices, confidence and day, apart by tabs, however long."""
    result = program("list", "--at", "2026-11-23T12:00Z")

    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert {line[0] for line in lines} == IDS
    assert {len(line) for line in lines} == {5}
    assert [
        "openai/gpt-5.4",
        "llm",
        (
            "input 2.50, cached 0.25, output 15 per 1M tokens;"
            " above 272,000: input 5, cached 0.50, output 22.50 per 1M tokens"
        ),
        "high",
        "2026-11-05",
    ] in lines


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_gets_a_table_that_fits(columns: int) -> None:
    """No line is longer than the terminal, nothing is cut, not even a long id."""
    lines = in_terminal(columns, "prices", "list")

    assert max(map(len, lines)) <= columns
    assert not any("…" in line for line in lines)
    if columns == 200:
        assert {line.split()[0] for line in lines if "/" in line} == IDS
    if columns == 40:
        assert {line.split()[0] for line in lines if line[:1].isalpha() and "/" in line} >= IDS - {
            entry for entry in IDS if len(entry) > 30
        }


def test_filters_narrow_the_list() -> None:
    """By provider as events call it, by stage, by part of a name, and together."""
    assert {e["provider"] for e in listed("list", "--provider", "api.openai.com")} == {"openai"}
    assert {e["stage"] for e in listed("list", "--stage", "platform")} == {"platform"}
    assert [e["id"] for e in listed("list", "--model", "NOVA-3", "--provider", "Deepgram")] == [
        "deepgram/nova-3",
        "deepgram/nova-3-multilingual",
    ]
    assert listed("list", "--model", "no such model") == []


def test_list_is_of_the_time_that_is_asked_for(hostile: str) -> None:
    """A coming price is not in force, hours of the day are kept to."""

    def lines(at: str) -> list[str]:
        result = program("list", "--prices", hostile, "--provider", "evil", "--at", at)
        return [line.split("\t")[2] for line in result.stdout.splitlines()]

    assert lines("2026-11-23T12:00Z") == [
        "free: [bold]our own\\x1b[31m",
        "no price before 2090-01-01",
        "input 2, output 4 per 1M tokens",
    ]
    assert lines("2090-01-01T23:00+01:00")[1:] == [
        "input 1, output 2 per 1M tokens",
        "input 1, output 2 (22:00-06:00 UTC) per 1M tokens",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "--stage", "ttss"], "--stage: 'ttss' is not known; did you mean 'tts'?"),
        (["list", "--provider", "opnai"], "--provider: 'opnai' is not known; did you mean"),
        (["list", "--at", "soon"], "--at: 'soon' is no time; write it as 2026-10-21 or"),
        (["list", "--unpriced", "--at", "2026-10-21"], "--at: usage is priced by its own time"),
        (["list", "--prices", "missing.yaml"], "missing.yaml"),
        (
            ["show", "openai/gpt-5.4-mnni"],
            (
                "no entry and no model is called 'openai/gpt-5.4-mnni'; did you mean"
                " 'openai/gpt-5.4-mini'"
            ),
        ),
        (["show", "HAIKU"], "did you mean 'claude-haiku-4-5'"),
        (["show", "[red]\x1b[31m"], "'[red]\\x1b[31m'; 'livekit-exporter prices list' shows all"),
        (["show", "x" * 100_000], f"'{'x' * 200}'; 'livekit-exporter prices list' shows all"),
    ],
)
def test_mistake_is_one_line(arguments: list[str], message: str) -> None:
    """With what was meant, where that can be guessed."""
    result = program(*arguments)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("livekit-exporter: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


def test_show_explains_an_entry() -> None:
    """Provider, matches, dated prices, rule and example."""
    text = program("show", "google/gemini-3.8-flash", "--at", "2026-11-23").stdout

    for part in (
        "entry       google/gemini-3.8-flash\n",
        "            names: Gemini, Vertex AI",
        "in force    input 0.75, cached 0.075, output 3.75 per 1M tokens\n",
        "coming      from 2027-01-01\n            input 1.50, cached 0.15, output 7.50 per 1M",
        "rule        Cached tokens are inside of the prompt, not beside it, and cost 0.075 per 1M",
        (
            "example     1,000 prompt tokens (400 cached), and 200 output tokens\n"
            "            600 input tokens x 0.75 per 1M = 0.00045\n"
        ),
        "total       0.00123 USD\n",
    ):
        assert part in text
    assert "past        input 0.75" in program(
        "show", "google/gemini-3.8-flash", "--at", "2027-01-01"
    ).stdout  # fmt: skip


def test_show_takes_a_model_as_plugins_report_it() -> None:
    """A dated snapshot leads to its entry, and JSON has rule and example too."""
    (azure, entry) = listed("show", "gpt-5.4-2026-03-05")

    assert azure["id"] == "azure/gpt-5.4"
    assert entry["id"] == "openai/gpt-5.4"
    assert entry["hosts"] == ["api.openai.com"]
    assert isinstance(entry["example"], dict)
    assert entry["example"]["total"] == "0.0046 USD"


def test_show_lists_all_that_price_a_model() -> None:
    """Two providers sell it, and which one is meant only the reader knows."""
    result = program("show", "gpt-realtime")

    assert result.returncode == 0
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == [
        "azure/gpt-realtime",
        "openai/gpt-realtime",
    ]
    assert result.stderr == "2 entries price 'gpt-realtime'; show one by its id\n"


@pytest.mark.parametrize("columns", [40, 80])
def test_markup_and_escapes_of_a_file_are_text(hostile: str, columns: int) -> None:
    """Names from a file neither colour a terminal nor break its lines."""
    lines = in_terminal(columns, "prices", "show", "evil/free", "--prices", hostile)
    lines += in_terminal(columns, "prices", "list", "--provider", "evil", "--prices", hostile)

    text = "".join("".join(lines).split())
    assert "\x1b" not in text
    assert "[red]Evil[/red]" in text
    assert text.count("[bold]ourown\\x1b[31m") >= 2
    assert "medium" in text
    assert max(map(len, lines)) <= columns


def test_own_price_is_listed(tmp_path: Path) -> None:
    """With a file over the shipped prices, the merged ones are shown."""
    file = tmp_path / "own.yaml"
    file.write_text(OWN)

    (entry,) = listed("show", "ours/llama", "--prices", str(file))
    assert entry["free"] == "self-hosted"
    assert entry["rule"] == [
        "Nobody bills it (self-hosted): its usage costs nothing, and is not unpriced."
    ]
    line = program("list", "--model", "gpt-4.1-mini", "--prices", str(file)).stdout
    assert "openai/gpt-4.1-mini\tllm\tinput 1, output 2 per 1M tokens\thigh\t2026-11-01\n" in line


def test_schema_is_printed() -> None:
    """Its text, or where it is for an editor on this machine."""
    assert program("schema").stdout == FILE.read_text("utf-8")
    assert program("schema", "--path").stdout == f"{FILE}\n"


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    """As `prices list | head` does."""
    result = subprocess.run(
        ["sh", "-c", '"$0" -m livekit_exporter prices list | head -n 1', sys.executable],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.stdout.count("\n") == 1
    assert "Traceback" not in result.stderr
