"""`prices list --unpriced`: what the ledger has seen without a price, and a file for it."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from livekit_exporter import files
from livekit_exporter.ledger.queries import Span, snapshot
from livekit_exporter.ledger.survey import survey
from livekit_exporter.prices.catalogue import Catalogue, from_compiled, load
from livekit_exporter.prices.explain.listing import Wanted
from livekit_exporter.prices.explain.stub import BLANK, quoted
from livekit_exporter.prices.explain.stub import overlay as stub
from livekit_exporter.prices.explain.unpriced import Unpriced
from livekit_exporter.prices.files.check import PriceFile
from livekit_exporter.prices.files.compile import compiled, parse, rendered, shipped
from livekit_exporter.prices.files.overlay import merged
from livekit_exporter.record import Stage, Usage, UsageReported
from tests.intake import Intake
from tests.prices.test_json_schema import faults
from tests.prices.test_overlay import program
from tests.records import AT, closed, spoken, started
from tests.terminal import in_terminal

DAY = 86400.0
TODAY = date(2026, 11, 23)

LLAMA = UsageReported(
    session="s1",
    at=AT,
    stage="llm",
    provider="gpu.internal:8000",
    model="llama-4",
    label="livekit.plugins.openai.llm.LLM",
    usage=Usage(input_tokens=1000, cached_input_tokens=400, output_tokens=90, total_tokens=1090),
)
EAR = UsageReported(
    session="s1",
    at=AT,
    stage="stt",
    provider="unknown",
    model="unknown",
    label="livekit.plugins.acme.stt.STT",
    streamed=True,
    usage=Usage(audio_seconds=2.5, output_tokens=7),
)
MOUTH = UsageReported(
    session="s1",
    at=AT,
    stage="tts",
    provider="Acme  [red]Voice\x1b[31m",
    model='yes: "no" #\n- [bold]voice-2',
    usage=Usage(characters=180, audio_seconds=9.5),
)
CUT_OFF = UsageReported(
    session="s1", at=AT, stage="tts", provider="api.openai.com", model="gpt-4o-mini-tts",
    usage=Usage(characters=80),
)  # fmt: skip


@pytest.fixture
def ledger(intake: Intake, data_dir: Path) -> Path:
    """The data directory of a call in which most of the usage has no price."""
    later = replace(LLAMA, at=AT + 2 * DAY)
    intake.take(started(), LLAMA, later, later, EAR, MOUTH, CUT_OFF, spoken(), closed(at=AT + 60))
    return data_dir


def asked(data_dir: Path, *arguments: str) -> dict[str, object]:
    """The JSON answer of the command."""
    result = program("list", "--unpriced", "--data-dir", str(data_dir), "--json", *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert isinstance(answer, dict)
    return answer


def filled(text: str) -> str:
    """A file with a number in place of each blank."""
    return text.replace(BLANK, "1")


@cache
def shipped_files() -> list[PriceFile]:
    """The shipped files, read once."""
    return shipped()


def with_own(text: str) -> Catalogue:
    """The shipped prices with a file over them."""
    return from_compiled(compiled(merged(shipped_files(), parse(text, "own.yaml"))))


def test_what_has_no_price_is_summed_up(ledger: Path) -> None:
    """By stage, provider, model and plugin, with exclusive units and the days."""
    answer = asked(ledger)

    assert isinstance(answer["unpriced"], list)
    assert answer["priced_by_now"] == 0
    assert answer["unpriced"][0] == {
        "stage": "llm",
        "provider": "gpu.internal",
        "model": "llama-4",
        "label": "livekit.plugins.openai.llm.LLM",
        "why": "no entry of the catalogue prices this model",
        "requests": 3,
        "usage": {"input_token": 1800, "cached_input_token": 1200, "output_token": 270},
        "since": "2026-11-18T11:06:40+00:00",
        "last": "2026-11-20T11:06:40+00:00",
    }
    assert {group["model"]: group["why"] for group in answer["unpriced"]} == {
        "llama-4": "no entry of the catalogue prices this model",
        "unknown": "no entry of the catalogue prices this model",
        MOUTH.model: "no entry of the catalogue prices this model",
        "gpt-4o-mini-tts": "the event reports nothing of what the entry bills",
    }


def test_filters_narrow_it(ledger: Path) -> None:
    """As they do for prices; the file is for what is shown."""
    answer = asked(ledger, "--stage", "llm", "--provider", "gpu.internal", "--model", "LLAMA")

    assert isinstance(answer["unpriced"], list)
    assert [group["model"] for group in answer["unpriced"]] == ["llama-4"]
    assert "acme" not in str(answer["overlay"])
    assert asked(ledger, "--stage", "realtime")["unpriced"] == []


def test_file_is_good_once_it_is_filled_in(ledger: Path, tmp_path: Path) -> None:
    """A pipe gets the file alone: with blanks it is refused, with numbers all is priced."""
    own = tmp_path / "own.yaml"
    text = program("list", "--unpriced", "--data-dir", str(ledger)).stdout
    assert text == asked(ledger)["overlay"]
    own.write_text(text)

    result = program("check", str(own))
    assert result.returncode == 1
    assert {result.stderr.count(word) for word in (BLANK, "no number")} == {
        text.count(f": {BLANK}") - text.count(f"source: {BLANK}")
    }
    own.write_text(filled(text))
    assert program("check", str(own)).stdout == f"{own}: ok\n"

    answer = asked(ledger, "--prices", str(own))
    assert isinstance(answer["unpriced"], list)
    assert [group["model"] for group in answer["unpriced"]] == ["gpt-4o-mini-tts"]
    assert answer["priced_by_now"] == 5
    assert answer["overlay"] == ""


def test_prices_that_the_sidecar_has_merged_are_in_force(ledger: Path) -> None:
    """What is in the data directory counts, unless a file is named."""
    own = "schema: 1\ncurrency: USD\nproviders: {gpu.internal:}\nentries:\n"
    own += "  - {id: gpu.internal/llama-4, stage: llm, free: self-hosted}\n"
    prices = compiled(merged(shipped(), parse(own, "own.yaml")))
    files.prices(ledger).write_text(rendered(prices))

    assert asked(ledger)["priced_by_now"] == 3

    other = ledger / "other.yaml"
    other.write_text("schema: 1\ncurrency: USD\n")
    assert asked(ledger, "--prices", str(other))["priced_by_now"] == 0


@pytest.mark.parametrize("content", ["", "[]", '{"version": "x"}', '{"providers": 1}'])
def test_prices_that_cannot_be_read_are_one_line(ledger: Path, content: str) -> None:
    """What a sidecar of another version may have left is named, with the way out."""
    files.prices(ledger).write_text(content)

    result = program("list", "--unpriced", "--data-dir", str(ledger))

    assert (result.returncode, result.stdout) == (1, "")
    assert f"cannot read the sidecar's prices '{files.prices(ledger)}'" in result.stderr
    assert result.stderr.count("\n") == 1


def test_file_says_what_it_is_for(ledger: Path) -> None:
    """Provider by host, name or label; basis by what was seen; comments for the reader."""
    text = str(asked(ledger)["overlay"])
    read = yaml.safe_load(text)

    assert text.startswith("# yaml-language-server: $schema=/")
    assert "# livekit-exporter prices check FILE\n" in text
    assert "'free: self-hosted' in place of all that follows" in text
    assert (
        "  # llm, gpu.internal, llama-4 (livekit.plugins.openai.llm.LLM)\n"
        "  # 3 requests, 1,800 input tokens, 1,200 cached input tokens, 270 output tokens;"
        " 2026-11-18 to 2026-11-20\n"
    ) in text
    assert read["providers"] == {
        "gpu.internal": {"hosts": ["gpu.internal"]},
        "acme": {
            "labels": ["livekit.plugins.acme.stt.STT"],
            "defaults": {"stt": "acme/stt"},
        },
        "acme-red-voice-31m": {"names": ["Acme [red]Voice [31m"]},
    }
    by_id = {entry["id"]: entry for entry in read["entries"]}
    assert by_id["gpu.internal/llama-4"] == {
        "id": "gpu.internal/llama-4",
        "stage": "llm",
        "match": ["llama-4"],
        "basis": "tokens",
        "prices": [
            {
                "per_1m": {"input": BLANK, "cached_input": BLANK, "output": BLANK},
                "source": BLANK,
                "checked": datetime.now(UTC).date(),
            }
        ],
    }
    assert by_id["acme/stt"]["match"] == []
    assert by_id["acme/stt"]["basis"] == "audio_time"
    (mouth,) = (entry for entry in read["entries"] if entry["stage"] == "tts")
    assert mouth["match"] == [MOUTH.model]
    assert mouth["basis"] == "characters"
    assert faults(filled(text)) == []


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_gets_a_table_and_the_file(ledger: Path, columns: int) -> None:
    """Hostile names stay text, and no line of the table is longer than the terminal."""
    lines = in_terminal(columns, "prices", "list", "--unpriced", "--data-dir", str(ledger))
    begin = next(n for n, line in enumerate(lines) if line.startswith("# yaml-language-server"))

    assert max(map(len, lines[:begin])) <= columns
    text = "".join("".join(lines[:begin]).split())
    assert "\x1b" not in "".join(lines)
    assert "…" not in text
    if columns >= 80:
        assert "acme[red]voice[31m" in text
        assert 'yes:"no"#\\n-[bold]voice-2' in text
    assert "    basis: tokens" in lines


def test_nothing_without_a_price_is_said(intake: Intake, data_dir: Path) -> None:
    """An empty answer in a pipe, a line for the person, both with exit code 0."""
    intake.take(started(), spoken(), closed())

    result = program("list", "--unpriced", "--data-dir", str(data_dir))
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "no usage without a price\n"
    assert asked(data_dir) == {"unpriced": [], "priced_by_now": 0, "overlay": ""}


@pytest.mark.parametrize("content", [None, b"", b"no database, but long enough to look like one"])
def test_ledger_that_is_none_is_one_line(data_dir: Path, content: bytes | None) -> None:
    """Missing, empty or something else: which file, and no traceback."""
    data_dir.mkdir()
    path = files.ledger(data_dir)
    if content is not None:
        path.write_bytes(content)

    result = program("list", "--unpriced", "--data-dir", str(data_dir))

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"livekit-exporter: cannot read ledger '{path}': ")
    assert result.stderr.count("\n") == 1
    assert path.exists() == (content is not None)


def test_a_running_sidecar_is_not_disturbed(intake: Intake, data_dir: Path) -> None:
    """It is read while it is open and in the middle of a transaction, and keeps writing."""
    intake.take(started(), LLAMA)
    path = files.ledger(data_dir)
    before = path.read_bytes()

    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM usage")
        (seen,) = survey(path, load(), Wanted()).unpriced
        assert (seen.model, seen.usage["output_token"]) == ("llama-4", 90)
        writer.execute("COMMIT")
    assert survey(path, load(), Wanted()).unpriced == []
    assert path.read_bytes()[:16] == before[:16]


def test_reports_come_back_as_the_agent_wrote_them(ledger: Path) -> None:
    """All that the pricing asks for is in the ledger."""
    with snapshot(files.ledger(ledger)) as found:
        (row,) = found.used(Span(AT, AT + DAY, {"label": (EAR.label,)}))

    assert row.reported_provider == EAR.provider
    for name in ("stage", "model", "at", "usage", "streamed", "connection", "request_seconds"):
        assert getattr(row, name) == getattr(EAR, name), name


def test_paths_with_odd_names_can_be_read(tmp_path: Path) -> None:
    """A question mark is no query, a percent sign no code."""
    odd = tmp_path / "a?mode=rw#b %41 ü"
    made = Intake(odd)
    made.take(started(), LLAMA)
    made.ingest.close()

    assert len(survey(files.ledger(odd), load(), Wanted()).unpriced) == 1


Report: TypeAlias = tuple[Stage, str, str, str, Usage]


def group(stage: Stage, provider: str, model: str, label: str, usage: Usage) -> Iterator[Unpriced]:
    """What a survey makes of one report, as far as it has no price."""
    if load().find(stage, provider, model, label) is None:
        owner = load().provider(provider, label)
        found = Unpriced(stage, owner, provider, model, label, "no_entry", AT, AT)
        found.add(usage, 1, AT, AT)
        yield found


NAMES = st.one_of(
    st.sampled_from(
        ["", "unknown", "Unknown", "api.acme.test:443", "localhost:11434", "[::1]:8000", "OpenAI!",
         "api.openai.com", "a*b", "<date>", "yes", "日本語", " x ",
         "-", "openai", "Acme", "acme", "own", "r.openai.azure.com", "1.5", "a/b//c"]
    ),
    st.text(max_size=20).map(lambda text: text.encode(errors="replace").decode()),
)  # fmt: skip
PROVIDERS = st.one_of(NAMES, st.just("user:secret@gpu.internal"))
LABELS = st.sampled_from(["", "livekit.plugins.acme.tts.TTS", "__main__.Mine", "openai.x", "a*.b"])
USAGES = st.sampled_from(
    [
        Usage(input_tokens=10, output_tokens=2),
        Usage(input_tokens=10, input_audio_tokens=5, cached_input_tokens=3, cache_write_tokens=1,
              output_tokens=9, output_audio_tokens=9),
        Usage(characters=5, audio_seconds=1.0),
        Usage(connection_seconds=3.0),
        Usage(audio_seconds=3.0, output_tokens=2),
    ]
)  # fmt: skip
STAGES: st.SearchStrategy[Stage] = st.sampled_from(
    ["stt", "llm", "tts", "realtime", "platform", "custom"]
)


@settings(max_examples=50)  # each checks the whole catalogue
@given(st.lists(st.tuples(STAGES, PROVIDERS, NAMES, LABELS, USAGES), max_size=6))
def test_any_filled_file_is_good_and_prices_what_it_was_made_for(
    reports: list[Report],
) -> None:
    """Whatever names come from outside: it passes the check, and the usage has a price."""
    groups = [found for report in reports for found in group(*report)]
    text = stub(groups, load(), today=TODAY, schema="prices.schema.json")
    assert "secret" not in text
    if "entries:" not in text:
        assert all(line.startswith("#") for line in text.splitlines())
        return

    prices = with_own(filled(text))
    hopeless = text.count("# no name to find a price by")
    found = [
        prices.find(each.stage, each.reported, each.model, each.label) is not None
        for each in groups
    ]
    assert found.count(False) == hopeless


def test_what_an_entry_prices_gets_no_second_one() -> None:
    """A reply that was cut off reports characters where tokens are billed: no file helps."""
    cut_off = Unpriced("tts", "openai", "OpenAI", "gpt-4o-mini-tts", "", "other_usage", AT, AT, 1)

    assert stub([cut_off], load(), today=TODAY, schema="") == ""


@given(st.text(max_size=30).map(lambda text: text.encode(errors="replace").decode()))
def test_any_text_is_read_back_as_it_was(text: str) -> None:
    """Quotes, escapes, line ends and words that YAML has a meaning for."""
    assert yaml.safe_load(f"{{a: [{quoted(text)}]}}") == {"a": [text]}
    assert yaml.safe_load(f"- {quoted(text)}") == [text]
