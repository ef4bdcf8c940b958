"""Billing rules that no shipped price needs yet, and each rule by itself."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_exporter.prices import rules
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.entries import Tier
from livekit_exporter.prices.pricing import Quote, price
from livekit_exporter.record import Usage

DAY = datetime(2026, 11, 23, tzinfo=UTC)
TOKENS = st.integers(min_value=0, max_value=10**7)

OWN = """\
schema: 1
currency: USD
providers:
  acme: {names: [Acme]}
entries:
  - id: acme/night
    stage: llm
    basis: tokens
    prices:
      - per_1m: {input: 2, cached_input: 1, output: 8}
        source: acme.test
        checked: 2026-11-01
        confidence: low
        time_of_day:
          - {from: "01:00", until: "04:00", per_1m: {input: 1, cached_input: 0.5, output: 4}}
          - {from: "22:30", until: "00:30", per_1m: {input: 3, cached_input: 1.5, output: 12}}
  - id: acme/gpu
    stage: llm
    basis: request_time
    prices:
      - {per_hour: 3.60, source: our GPU, checked: 2026-11-01}
  - id: acme/own
    stage: stt
    match: ["*"]
    free: self-hosted
"""


@pytest.fixture(scope="module")
def own(written: Callable[[str], Catalogue]) -> Catalogue:
    """Prices of an operator."""
    return written(OWN)


def quote(
    catalogue: Catalogue,
    source: str,
    usage: Usage,
    *,
    at: datetime = DAY,
    request_seconds: float | None = None,
) -> Quote:
    """Price usage of `stage model` of Acme."""
    stage, model = source.split(" ")
    return price(
        catalogue,
        stage=stage,
        provider="Acme",
        model=model,
        label="",
        usage=usage,
        at=at.timestamp(),
        streamed=False,
        connection=False,
        request_seconds=request_seconds,
    )


@pytest.mark.parametrize(
    ("at", "usd", "hours"),
    [
        ("00:00:00", "3", "22:30-00:30"),
        ("00:29:59.999", "3", "22:30-00:30"),
        ("00:30:00", "2", ""),
        ("00:59:59.999", "2", ""),
        ("01:00:00", "1", "01:00-04:00"),
        ("03:59:59.999", "1", "01:00-04:00"),
        ("04:00:00", "2", ""),
        ("22:29:59.999", "2", ""),
        ("22:30:00", "3", "22:30-00:30"),
        ("23:59:59.999", "3", "22:30-00:30"),
    ],
)
def test_hours_of_the_day_have_their_own_price(
    own: Catalogue, at: str, usd: str, hours: str
) -> None:
    """From the first second on and before the last one, UTC, over midnight too."""
    made = quote(
        own,
        "llm night",
        Usage(input_tokens=1_000_000),
        at=datetime.fromisoformat(f"{DAY:%Y-%m-%d}T{at}+00:00"),
    )

    assert made.cost == Decimal(usd)
    assert made.source is not None
    assert made.source.charges.hours == hours
    assert made.source.block.confidence == "low"


def test_own_machine_costs_what_the_request_took(own: Catalogue) -> None:
    """3.60 an hour is 0.001 a second, whatever tokens are reported."""
    made = quote(own, "llm gpu", Usage(input_tokens=5000, output_tokens=9), request_seconds=1.25)

    assert (made.status, made.cost) == ("priced", Decimal("0.00125"))
    assert made.parts[0].unit == "request_second"


def test_own_machine_without_a_duration_is_unpriced(own: Catalogue) -> None:
    """Not free: the request ran, nobody measured how long."""
    assert quote(own, "llm gpu", Usage(output_tokens=9)).why == "other_usage"


def test_own_machine_is_paid_for_what_reports_no_tokens(own: Catalogue) -> None:
    """A self-hosted server often reports none."""
    assert quote(own, "llm gpu", Usage(), request_seconds=2).cost == Decimal("0.002")


def test_free_is_a_price_of_zero_and_says_why(own: Catalogue) -> None:
    """Somebody declared it, so it is no ignorance."""
    made = quote(own, "stt anything", Usage(audio_seconds=5))

    assert (made.status, made.cost, made.price_id) == ("priced", Decimal(0), "acme/own")
    assert made.free
    assert not quote(own, "stt anything", Usage()).free


@pytest.mark.parametrize(
    "usage",
    [
        Usage(input_tokens=-1, output_tokens=100),
        Usage(output_tokens=10**13),
        Usage(output_tokens=5, audio_seconds=float("nan")),
        Usage(output_tokens=5, connection_seconds=float("inf")),
        Usage(output_tokens=5, characters=-1),
    ],
)
def test_impossible_usage_is_unpriced(own: Catalogue, usage: Usage) -> None:
    """One quantity that cannot be, and none of the others is believed."""
    made = quote(own, "llm night", usage)

    assert (made.status, made.why, made.parts) == ("unpriced", "impossible_usage", ())


@pytest.mark.parametrize(("asked", "over"), [(0, -1), (100, -1), (101, 100), (201, 200)])
def test_threshold_itself_is_the_lower_tier(asked: int, over: int) -> None:
    """The whole request moves, with the first token over it."""
    tiers = [Tier(200, {}), Tier(100, {}), Tier(-1, {})]

    found = rules.context_tier(tiers, asked)

    assert found is not None
    assert found.over == over


def test_a_stream_has_no_minimum() -> None:
    """Only a request of its own is billed for ten seconds."""
    seconds, minimum = Decimal("2.5"), Decimal(10)

    assert rules.at_least(seconds, minimum, streamed=False) == 10
    assert rules.at_least(Decimal(11), minimum, streamed=False) == 11
    assert rules.at_least(seconds, minimum, streamed=True) == seconds


@pytest.mark.parametrize(
    ("seconds", "step", "billed"),
    [("0.1", 60, 60), ("60", 60, 60), ("60.001", 60, 120), ("61", 0, 61), ("29", 15, 30)],
)
def test_call_legs_round_up_to_the_step(seconds: str, step: int, billed: int) -> None:
    """Once, at the end of the leg."""
    assert rules.rounded_up(Decimal(seconds), step) == billed


@given(TOKENS, TOKENS, TOKENS, TOKENS, TOKENS)
def test_text_alone_is_split_as_any_modality(
    prompt: int, cached: int, written: int, output: int, total: int
) -> None:
    """The short way for text gives what the long way gives, where audio is one token more."""
    text = Usage(
        input_tokens=prompt,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=output,
        total_tokens=total,
    )
    asked = rules.asked_tokens(text)
    spoken = Usage(
        input_tokens=asked + 1,
        input_audio_tokens=1,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        output_tokens=output,
        total_tokens=total + 1,
    )

    buckets = rules.token_buckets(spoken)

    assert buckets.pop(("input", "audio")) == 1
    assert buckets == rules.token_buckets(text)


@given(st.floats(min_value=0, max_value=86_400 * 3))
def test_every_second_has_one_price(own: Catalogue, second: float) -> None:
    """Hours and the rest of the day leave no gap."""
    made = quote(
        own, "llm night", Usage(input_tokens=1_000_000), at=DAY + timedelta(seconds=second)
    )

    assert made.cost in {1, 2, 3}
