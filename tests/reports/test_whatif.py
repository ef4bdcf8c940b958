"""The same usage with other models or other prices."""

import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from livekit_exporter.cli.app import app
from livekit_exporter.ledger.rows import UsageRow
from livekit_exporter.prices import catalogue
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.reports import whatif
from livekit_exporter.reports.question import QuestionError
from livekit_exporter.reports.report import Report
from tests import records
from tests.intake import Intake
from tests.reports.spending import (
    PRICES,
    by_model,
    lines,
    opened,
    overlaid,
    question,
    totals,
    used,
)

GROQ = "groq/llama-3.3-70b-versatile"

CHEAPER = """
schema: 1
currency: USD
entries:
  - id: openai/gpt-4.1-mini
    prices: [{per_1m: {input: 0.20, output: 0.80}, source: a letter, checked: 2026-11-20}]
"""
ANEW = """
schema: 1
currency: USD
providers: {nobody: {names: [nobody]}}
entries:
  - id: nobody/unheard-of
    stage: tts
    basis: characters
    prices: [{per_1m_chars: 100, source: a letter, checked: 2026-11-20}]
"""


def ask(*rows: UsageRow, swaps: tuple[str, ...] = (), prices: Catalogue | None = None) -> Report:
    """What these rows would cost."""
    swapped = whatif.swaps(swaps, prices or PRICES)
    asked = question("stage", "provider", "model")
    return whatif.compared(by_model(rows), asked, swapped, prices)


def test_another_model_is_priced_by_its_own_list_price() -> None:
    """1000 tokens in, 100 out: 0.40 and 1.60 against 0.59 and 0.79 per million."""
    report = ask(used(input_tokens=1000, output_tokens=100), swaps=(f"llm={GROQ}",))

    [line] = lines(report)
    assert line["cost_usd"] == Decimal("0.00056")
    assert line["would_cost_usd"] == Decimal("0.000669")
    assert line["difference_usd"] == Decimal("0.000109")
    assert line["difference_share"] == Decimal("0.109") / Decimal("0.56")
    assert totals(report)["would_cost_usd"] == Decimal("0.000669")


def test_cached_tokens_cost_what_the_other_model_asks_for_them() -> None:
    """Groq lists no price for cached tokens of Llama, so they cost what input costs."""
    report = ask(
        used(input_tokens=1000, cached_input_tokens=900, output_tokens=0), swaps=(f"llm={GROQ}",)
    )

    [line] = lines(report)
    assert line["cost_usd"] == Decimal("0.00013")
    assert line["would_cost_usd"] == Decimal("0.00059")


def test_other_stages_stay_as_they_are_and_are_in_the_total() -> None:
    """The whole bill is what somebody pays."""
    report = ask(
        used(input_tokens=1000, output_tokens=100),
        used("tts", "cartesia", "sonic-3", characters=1000),
        swaps=(f"llm={GROQ}",),
    )

    speech = next(line for line in lines(report) if line["stage"] == "tts")
    assert speech["difference_usd"] == 0
    assert totals(report)["would_cost_usd"] == Decimal("0.05") + Decimal("0.000669")


def test_price_is_the_one_at_the_time_of_each_event() -> None:
    """Gemini 3.8 Flash doubles on 2027-01-01."""
    before = datetime(2026, 12, 31, 23, 59, tzinfo=UTC).timestamp()
    report = ask(
        used(at=before, input_tokens=1_000_000),
        used(at=before + 60, input_tokens=1_000_000),
        swaps=("llm=google/gemini-3.8-flash",),
    )

    assert totals(report)["would_cost_usd"] == Decimal("0.75") + Decimal("1.50")


def test_context_tier_is_decided_for_each_request() -> None:
    """Twice 150,000 tokens are not 300,000 tokens."""
    report = ask(*(used(input_tokens=150_000) for _ in range(2)), swaps=("llm=openai/gpt-5.4",))

    assert totals(report)["would_cost_usd"] == Decimal("0.75")


def test_minimum_of_a_request_is_billed() -> None:
    """Groq bills ten seconds for three."""
    report = ask(
        used("stt", "openai", "whisper-1", audio_seconds=3.0),
        swaps=("stt=groq/whisper-large-v3-turbo",),
    )

    [line] = lines(report)
    assert line["would_cost_usd"] == pytest.approx(Decimal("0.04") * 10 / 3600)


def test_minimum_that_a_stream_hides_is_said() -> None:
    """A report of a stream is no request, and nobody knows how many there would be."""
    report = ask(
        used("stt", "deepgram", "nova-3", streamed=True, audio_seconds=5.0),
        swaps=("stt=groq/whisper-large-v3-turbo",),
    )

    assert any("bills a minimum per request; 1 report of streams" in note for note in report.notes)


def test_usage_in_other_units_is_left_out_on_both_sides_and_named() -> None:
    """Characters have no price in tokens, and nothing is not the answer."""
    report = ask(
        used("tts", "cartesia", "sonic-3", characters=1000),
        used(input_tokens=1000, output_tokens=100),
        swaps=("tts=openai/gpt-4o-mini-tts",),
    )

    speech = next(line for line in lines(report) if line["stage"] == "tts")
    assert speech["cost_usd"] is None
    assert speech["would_cost_usd"] is None
    assert speech["not_comparable_usd"] == Decimal("0.05")
    assert totals(report)["cost_usd"] == totals(report)["would_cost_usd"] == Decimal("0.00056")
    [note] = [note for note in report.notes if "cartesia/sonic-3" in note]
    assert note.startswith(
        "1 request of 'cartesia/sonic-3' ($0.050000) cannot be priced as"
        " 'openai/gpt-4o-mini-tts': the event reports nothing of what the entry bills"
    )


def test_other_prices_for_the_same_models() -> None:
    """A contract at half the price."""
    report = ask(used(input_tokens=1000, output_tokens=100), prices=overlaid(CHEAPER))

    assert lines(report)[0]["would_cost_usd"] == Decimal("0.00028")


def test_what_had_no_price_is_beside_the_difference() -> None:
    """It was paid for before, only nobody knew how much."""
    report = ask(
        used("tts", "nobody", "unheard-of", characters=1_000_000),
        used(input_tokens=1000, output_tokens=100),
        prices=overlaid(ANEW),
    )

    assert totals(report)["newly_priced_usd"] == Decimal(100)
    assert totals(report)["difference_usd"] == 0
    assert any("without a price in the ledger would cost $100.00" in n for n in report.notes)


def test_unknown_either_way_is_counted() -> None:
    """Unpriced usage is never free."""
    report = ask(used("tts", "nobody", "unheard-of", characters=10), swaps=(f"llm={GROQ}",))

    assert lines(report)[0]["cost_usd"] is None
    assert lines(report)[0]["unpriced_requests"] == 1
    assert "1 request without a price either way" in report.notes


def test_estimated_cost_is_not_mixed_in() -> None:
    """It is said how much is left out."""
    report = ask(
        used(input_tokens=1000, output_tokens=100),
        used(input_tokens=1000, output_tokens=100, source="estimated"),
        swaps=(f"llm={GROQ}",),
    )

    assert totals(report)["cost_usd"] == Decimal("0.00056")
    assert "$0.000560 of estimated cost are not in it" in report.notes


def test_nothing_used_is_a_sentence() -> None:
    """No rows, no table."""
    report = ask(swaps=(f"llm={GROQ}",))

    assert (report.rows, report.totals) == ((), None)
    assert report.empty.startswith("nothing was used")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("groq/llama-3.3-70b-versatile", "is not of the form 'stage=provider/model'"),
        ("llm=llama", "is not of the form"),
        ("llm=/x", "is not of the form"),
        ("lm=groq/llama-3.3-70b-versatile", "'lm' is no stage; did you mean 'llm'?"),
        ("llm=groq/llama-3.3-70b", "did you mean 'groq/llama-3.3-70b-versatile'?"),
        ("llm=groq/whisper-large-v3", "is a model of stage 'stt'; write 'stt="),
        ("llm=nobody/nothing", "see docs/prices.md"),
    ],
)
def test_mistake_says_what_to_write(text: str, says: str) -> None:
    """Where, what, what to do."""
    with pytest.raises(QuestionError) as caught:
        whatif.swaps((text,), PRICES)

    assert says in str(caught.value)


def test_stage_is_swapped_once() -> None:
    """Two models for one event are no answer."""
    with pytest.raises(QuestionError, match="'llm' is swapped twice"):
        whatif.swaps((f"llm={GROQ}", "llm=openai/gpt-4.1"), PRICES)


def test_model_with_slashes_is_named_whole() -> None:
    """Groq's ids carry the vendor's name."""
    swap = whatif.swaps(("llm=groq/openai/gpt-oss-20b",), PRICES)["llm"]

    assert swap.entry.id == "groq/gpt-oss-20b"


def test_model_may_be_named_by_its_entry() -> None:
    """Nobody should have to look up a voice to ask for Aura."""
    swap = whatif.swaps(("tts=deepgram/aura-2",), PRICES)["tts"]

    assert swap.entry.id == "deepgram/aura-2"


MODELS = st.sampled_from(
    [
        ("llm", "openai", "gpt-4.1-mini"),
        ("llm", "openai", "gpt-5.4"),
        ("llm", "groq", "llama-3.3-70b-versatile"),
        ("llm", "google", "gemini-3.8-flash"),
        ("stt", "deepgram", "nova-3"),
        ("stt", "groq", "whisper-large-v3-turbo"),
        ("tts", "cartesia", "sonic-3"),
        ("tts", "nobody", "unheard-of"),
    ]
)
ROWS = st.builds(
    lambda model, at, tokens, seconds, letters, streamed: used(
        *model,
        at=at,
        input_tokens=tokens[0] + tokens[1],
        cached_input_tokens=tokens[0],
        output_tokens=tokens[2],
        audio_seconds=seconds,
        characters=letters,
        streamed=streamed,
    ),
    MODELS,
    st.floats(min_value=records.AT, max_value=records.AT + 90 * 86400),
    st.tuples(*[st.integers(0, 300_000)] * 3),
    st.floats(0, 3600),
    st.integers(0, 100_000),
    st.booleans(),
)


@given(st.lists(ROWS, max_size=20))
def test_same_prices_change_nothing(rows: list[UsageRow]) -> None:
    """To the last digit, for any usage at any time."""
    report = ask(*rows, prices=PRICES)

    for line in lines(report):
        assert line["cost_usd"] == line["would_cost_usd"]
        assert line["newly_priced_usd"] == line["not_comparable_usd"] == 0


@given(st.lists(ROWS, min_size=1, max_size=20))
def test_parts_add_up_to_the_total(rows: list[UsageRow]) -> None:
    """Of every figure."""
    report = ask(*rows, swaps=(f"llm={GROQ}", "stt=deepgram/nova-3"))

    for name in ("requests", "not_comparable_usd", "newly_priced_usd", "unpriced_requests"):
        assert sum(line[name] for line in lines(report)) == totals(report)[name]  # type: ignore[misc]
    for name in ("cost_usd", "would_cost_usd"):
        assert sum(line[name] or 0 for line in lines(report)) == (totals(report)[name] or 0)  # type: ignore[misc]


def test_rows_are_not_kept() -> None:
    """A million of them must fit, so a few thousand leave nothing behind."""

    def endless(count: int) -> Iterator[UsageRow]:
        row = used(input_tokens=1000, output_tokens=100)
        for number in range(count):
            yield replace(row, at=records.AT + number, session=f"s{number}")

    tracemalloc.start()
    try:
        whatif.compared(
            by_model(endless(5000)),
            question("stage", "provider", "model"),
            whatif.swaps((f"llm={GROQ}",), PRICES),
            None,
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 1_000_000


def test_ledger_is_asked_row_by_row(data_dir: Path, intake: Intake) -> None:
    """What the sidecar priced and stored, priced again from what it stored."""
    intake.take(*records.call())
    asked = question("stage", "provider", "model")

    with opened(data_dir) as ledger:
        same = whatif.report(ledger, asked, {}, catalogue.load())
        swapped = whatif.report(ledger, asked, whatif.swaps((f"llm={GROQ}",), PRICES), None)

    assert totals(same)["difference_usd"] == 0
    assert totals(same)["cost_usd"] == pytest.approx(
        Decimal(intake.figure("SELECT sum(cost_usd) FROM usage"))
    )
    assert totals(swapped)["difference_usd"] == Decimal("0.000109")


def test_command_answers(data_dir: Path, intake: Intake) -> None:
    """From the words on the command line to figures."""
    intake.take(*records.call())
    words = ["report", "whatif", f"llm={GROQ}", "--data-dir", str(data_dir), "--json"]

    result = CliRunner().invoke(app, [*words, "--since", "2026-11-01"])

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["totals"]["difference_usd"] == pytest.approx(0.000109)


def test_command_reads_a_price_file(tmp_path: Path, data_dir: Path, intake: Intake) -> None:
    """Other prices for all models."""
    intake.take(*records.call())
    file = tmp_path / "mine.yaml"
    file.write_text(CHEAPER)
    words = ["report", "whatif", "--prices", str(file), "--data-dir", str(data_dir), "--json"]

    result = CliRunner().invoke(app, [*words, "--since", "2026-11-01", "--stage", "llm"])

    assert json.loads(result.stdout)["totals"]["would_cost_usd"] == pytest.approx(0.00028)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "whatif needs a model"),
        (["llm=groq/llama-3"], "the catalogue has no price for 'groq/llama-3'"),
        (["--prices", "missing.yaml"], "--prices: cannot read '"),
    ],
)
def test_command_says_no_in_one_line(words: list[str], says: str, data_dir: Path) -> None:
    """A mistake is no traceback."""
    result = CliRunner().invoke(app, ["report", "whatif", *words, "--data-dir", str(data_dir)])

    assert result.exit_code == 1
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
