"""What the data suggests, each with its figure."""

import json
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from livekit_exporter.cli.app import app
from livekit_exporter.ledger.rows import UsageRow
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.entries import Entry
from livekit_exporter.reports import advise, alternatives
from livekit_exporter.reports.report import Report, Value
from tests import records
from tests.intake import Intake
from tests.records import AT
from tests.reports.spending import DAY, PRICES, lines, overlaid, question, used

ONE = """
schema: 1
currency: USD
providers: {acme: {names: [acme]}}
entries:
"""


def entry(name: str, price: str, stage: str = "llm", more: str = "") -> str:
    """A price of the provider `acme`, in USD per million tokens in and out."""
    prices = f"{{per_1m: {{input: {price}, output: {price}}}, source: a test, checked: 2026-11-20"
    return f"  - {{id: acme/{name}, stage: {stage}, basis: tokens, prices: [{prices}{more}}}]}}\n"


def ask(rows: Iterable[UsageRow], prices: Catalogue = PRICES) -> Report:
    """What these rows suggest at the end of their day."""
    held = list(rows)
    return advise.advised(lambda: held, question(days=1), prices, AT + DAY)


def kinds(report: Report) -> dict[Value, dict[str, Value]]:
    """Lines by what they are about, the last of each kind."""
    return {line["kind"]: line for line in lines(report)}


def many(row: UsageRow, count: int = 100) -> list[UsageRow]:
    """The same request again and again."""
    return [row] * count


def test_nothing_used_is_a_sentence() -> None:
    """No rows, no advice."""
    report = ask([])

    assert report.rows == ()
    assert report.empty.startswith("nothing to advise: nothing was used")


def test_nothing_to_advise_is_a_sentence() -> None:
    """The only model of its provider, without waste."""
    report = ask(many(used("tts", "cartesia", "sonic-3", characters=1000)))

    assert report.rows == ()
    assert report.empty == (
        "nothing to advise: $5.00 were spent, and nothing of it that could be saved is worth 1%"
    )


def test_unpriced_usage_comes_first_and_its_worth_is_not_known() -> None:
    """It is said how much was used."""
    report = ask(
        [
            *many(used("tts", "nobody", "unheard-of", characters=120), 64),
            *many(used("llm", "openai", "gpt-5.4", input_tokens=1000, output_tokens=100)),
        ]
    )

    first = lines(report)[0]
    assert (first["kind"], first["worth_usd"], first["worth_30d_usd"]) == (
        "unpriced usage", None, None
    )  # fmt: skip
    assert str(first["advice"]).startswith(
        "64 requests to nobody/unheard-of (7,680 characters) without a price"
    )


def test_another_version_of_the_same_line_is_found() -> None:
    """Dearer than the others: two versions of `mind-big`, and a smaller line."""
    prices = overlaid(
        ONE + entry("mind-2-big", "10") + entry("mind-3-big", "4") + entry("mind-2", "8")
    )
    row = used("llm", "acme", "mind-2-big", input_tokens=1000, output_tokens=0, prices=prices)

    line = kinds(ask(many(row), prices))["cheaper model"]

    assert line["worth_usd"] == pytest.approx(Decimal("0.6"))
    assert str(line["advice"]).startswith(
        "acme/mind-3-big, another version of the same line, would have cost $0.400000 in place of"
        " $1.00 for the same usage of acme/mind-2-big: whether it is good enough"
    )


def test_next_cheaper_model_of_the_family_is_found() -> None:
    """The smallest step: what is cheaper still is counted."""
    prices = overlaid(
        ONE + entry("mind-big", "10") + entry("mind", "8") + entry("mind-small", "1")
        + entry("other", "5")
    )  # fmt: skip
    row = used("llm", "acme", "mind-big", input_tokens=1000, output_tokens=0, prices=prices)

    line = kinds(ask(many(row), prices))["cheaper model"]

    assert line["worth_usd"] == pytest.approx(Decimal("0.2"))
    assert "acme/mind, the next cheaper one of its family, with 1 cheaper still" in str(
        line["advice"]
    )


@pytest.mark.parametrize(
    "others",
    [
        entry("mind-9", "9.5"),
        entry("other", "1"),
        entry("mind-9", "1", stage="custom"),
        entry("mind-9", "1", more=", confidence: low"),
        "",
    ],
    ids=["hardly cheaper", "another family", "another stage", "an unsure price", "none"],
)
def test_no_alternative_is_no_advice(others: str) -> None:
    """Nothing is invented."""
    prices = overlaid(ONE + entry("mind-2", "10") + others)
    row = used("llm", "acme", "mind-2", input_tokens=1000, output_tokens=0, prices=prices)

    assert "cheaper model" not in kinds(ask(many(row), prices))


def test_alternative_that_cannot_price_all_is_none() -> None:
    """Before its first price nobody could have used it."""
    young = (
        "  - {id: acme/mind-3, stage: llm, basis: tokens, prices: [{valid_from: 2026-11-22,"
        " per_1m: {input: 1, output: 1}, source: a test, checked: 2026-11-20}]}\n"
    )
    prices = overlaid(ONE + entry("mind-2", "10") + young)
    row = used("llm", "acme", "mind-2", input_tokens=1000, prices=prices)
    old = replace(row, at=AT - 10 * DAY)

    asked = question(days=30)
    report = advise.advised(lambda: [*many(row), old], asked, prices, AT + DAY)

    assert "cheaper model" not in kinds(report)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("openai/gpt-5.6-luna", ("gpt", "luna")),
        ("openai/gpt-6-luna", ("gpt", "luna")),
        ("openai/gpt-4o-mini", ("gpt", "4o", "mini")),
        ("anthropic/claude-haiku-4-5", ("claude", "haiku")),
        ("groq/llama-3.3-70b-versatile", ("llama", "70b", "versatile")),
        ("aws/global.anthropic.claude-haiku-4-5-20251001-v1:0", ("claude", "haiku")),
        ("openai/o3", ("o3",)),
    ],
)
def test_line_of_a_model_is_its_name_without_versions(name: str, words: tuple[str, ...]) -> None:
    """Sizes are no versions."""
    assert alternatives.line(Entry(name, "llm", (), ())) == words


def test_share_that_another_agent_reaches_is_the_measure_of_caching() -> None:
    """1000 tokens each: none cached against 600 cached.

    Cached input of gpt-4.1-mini costs 0.10 in place of 0.40 per million; 60 % of 100,000
    tokens would save 0.30 each.
    """
    report = ask(
        [
            *many(used(agent="cold", input_tokens=1000)),
            *many(used(agent="warm", input_tokens=1000, cached_input_tokens=600)),
        ]
    )

    line = kinds(report)["low cached share"]
    assert line["about"] == "cold, openai/gpt-4.1-mini"
    assert line["worth_usd"] == pytest.approx(Decimal("0.6") * 100_000 * Decimal("0.3") / 10**6)
    assert "'cold' gets 0% of its input to openai/gpt-4.1-mini from the cache, 'warm' has 60%" in (
        str(line["advice"])
    )


def test_without_another_agent_the_assumption_is_stated() -> None:
    """Half, for prompts that every vendor would cache."""
    line = kinds(ask(many(used(input_tokens=5000))))["low cached share"]

    assert line["worth_usd"] == pytest.approx(Decimal("0.5") * 500_000 * Decimal("0.3") / 10**6)
    assert "no other agent has more to compare with; 50% are assumed" in str(line["advice"])


@pytest.mark.parametrize(
    "row",
    [
        used(input_tokens=4000),
        used(input_tokens=5000, cached_input_tokens=2500),
        used("llm", "groq", "llama-3.3-70b-versatile", input_tokens=5000),
    ],
    ids=["short prompts", "cached enough", "no price for cached tokens"],
)
def test_caching_is_advised_where_it_can_help(row: UsageRow) -> None:
    """And nowhere else."""
    assert "low cached share" not in kinds(ask(many(row)))


def test_few_requests_say_nothing_of_an_agent() -> None:
    """Both sides of the threshold."""
    row = used(input_tokens=5000)

    assert "low cached share" not in kinds(ask(many(row, advise.LEAST_REQUESTS - 1)))
    assert "low cached share" in kinds(ask(many(row, advise.LEAST_REQUESTS)))


def test_long_prompts_of_one_agent_cost_the_difference() -> None:
    """3000 tokens where the others' median is 1000: two thirds of the input's cost."""
    report = ask(
        [
            *many(used(agent="brief", input_tokens=900)),
            *many(used(agent="usual", input_tokens=1000)),
            *many(used(agent="wordy", input_tokens=1100)),
            *many(used(agent="novelist", input_tokens=3000)),
        ]
    )

    line = kinds(report)["long prompts"]
    assert line["worth_usd"] == pytest.approx(Decimal(200_000) * Decimal("0.4") / 10**6)
    assert "'novelist' sends 3,000 input tokens per request to openai/gpt-4.1-mini, other" in (
        str(line["advice"])
    )


def test_twice_the_others_is_not_far_above() -> None:
    """The threshold itself."""
    report = ask(
        [*many(used(agent="a", input_tokens=1000)), *many(used(agent="b", input_tokens=2000))]
    )

    assert "long prompts" not in kinds(report)


@pytest.mark.parametrize("reason", ["speculative", "interrupted", "recovery_probe"])
def test_waste_is_worth_what_it_cost(reason: str) -> None:
    """By reason, and who has most of it."""
    row = used("tts", "cartesia", "sonic-3", characters=1000)
    lost = replace(row, waste_reason=reason, wasted_usd=0.05)
    report = ask([*many(row, 8), lost, replace(lost, agent="sales"), replace(lost, agent="sales")])

    line = kinds(report)[f"{reason} replies"]
    assert line["worth_usd"] == pytest.approx(Decimal("0.15"))
    assert str(line["advice"]).startswith("$0.150000 (27% of the cost, 67% of it by 'sales') went")


def test_billed_minimum_is_worth_what_nobody_said() -> None:
    """Groq bills ten seconds for three; a part of a stream is no request."""
    row = used("stt", "groq", "whisper-large-v3", audio_seconds=3.0)
    streamed = used("stt", "groq", "whisper-large-v3", audio_seconds=3.0, streamed=True)

    line = kinds(ask([*many(row), *many(streamed)]))["minimum per request"]

    assert line["worth_usd"] == pytest.approx(Decimal("0.111") * 700 / 3600)
    assert "bills at least 10 s a request: 0.3 h were billed where 0.1 h were used" in (
        str(line["advice"])
    )


def test_rounded_call_legs_are_found() -> None:
    """A call of ten seconds is billed for a minute."""
    row = used("platform", "twilio", "us-inbound-local", connection_seconds=10.0)

    line = kinds(ask(many(row)))["rounding"]

    assert line["worth_usd"] == pytest.approx(Decimal("0.0085") * 100 * 50 / 60)


def test_small_change_is_left_out() -> None:
    """Less than a hundredth of what was spent."""
    row = used("tts", "cartesia", "sonic-3", characters=1000)
    report = ask([*many(row), replace(row, waste_reason="interrupted", wasted_usd=0.049)])

    assert report.rows == ()


def test_most_valuable_comes_first_and_is_scaled_to_a_month() -> None:
    """One day of data is a thirtieth of a month."""
    report = ask(
        [
            *many(used(agent="cold", input_tokens=5000)),
            used(
                "tts",
                "cartesia",
                "sonic-3",
                characters=10_000,
                waste_reason="interrupted",
                wasted_usd=0.4,
            ),
        ]
    )

    worth = [line["worth_usd"] for line in lines(report)]
    assert worth == sorted(worth, reverse=True)  # type: ignore[type-var]
    first = lines(report)[0]
    assert isinstance(first["worth_usd"], Decimal)
    assert first["worth_30d_usd"] == pytest.approx(first["worth_usd"] * 30)
    assert any("so do not add them up" in note for note in report.notes)


def test_hours_of_data_say_nothing_of_a_month() -> None:
    """The worth so far is known, the month is not."""
    row = used(input_tokens=5000)
    report = advise.advised(lambda: many(row), question(days=1), PRICES, AT + 3600)

    assert lines(report)[0]["worth_30d_usd"] is None
    assert "less than a day of data says nothing of a month" in report.notes


def test_estimated_usage_is_not_advised_on() -> None:
    """What is not known well enough to be added is not known well enough to be saved."""
    assert ask(many(used(input_tokens=5000, source="estimated"))).rows == ()


ROWS = st.builds(
    lambda model, agent, tokens, letters, seconds, wasted: used(
        *model,
        agent=agent,
        input_tokens=sum(tokens),
        cached_input_tokens=tokens[0],
        output_tokens=tokens[1],
        characters=letters,
        audio_seconds=seconds,
        waste_reason="interrupted" if wasted else None,
        wasted_usd=wasted,
    ),
    st.sampled_from(
        [
            ("llm", "openai", "gpt-5.4"),
            ("stt", "groq", "whisper-large-v3"),
            ("tts", "nobody", "unheard-of"),
        ]
    ),
    st.sampled_from(["a", "b", "c"]),
    st.tuples(st.integers(0, 9000), st.integers(0, 9000)),
    st.integers(0, 9000),
    st.floats(0, 60),
    st.floats(0, 0.001),
)


@given(st.lists(st.tuples(ROWS, st.integers(1, 120)), max_size=6))
def test_no_advice_is_worth_more_than_all_that_was_spent(rows: list[tuple[UsageRow, int]]) -> None:
    """And none without a figure, but for what has no price."""
    held = [row for row, count in rows for _ in range(count)]
    spent = sum(row.cost_usd or 0.0 for row in held) + sum(row.wasted_usd for row in held)

    for line in lines(ask(held)):
        worth = line["worth_usd"]
        if line["kind"] == "unpriced usage":
            assert worth is None
        else:
            assert isinstance(worth, Decimal)
            assert 0 < worth <= Decimal(spent) + Decimal("1e-9")


def test_command_answers(data_dir: Path, intake: Intake) -> None:
    """From the words on the command line to advice: nobody heard the second reply."""
    intake.take(
        records.started(),
        records.asked(),
        records.thought(),
        records.spoken(),
        records.answered(),
        records.thought(speech="thrown-away"),
        records.closed(),
    )
    words = ["report", "advise", "--data-dir", str(data_dir), "--json", "--since", "2026-11-01"]

    result = CliRunner().invoke(app, words)

    assert result.exit_code == 0, result.output
    rows = {row["kind"]: row for row in json.loads(result.stdout)["rows"]}
    assert rows["speculative replies"]["worth_usd"] == pytest.approx(0.00056)
