"""Truth against metrics, and what the demo reads from a metrics page."""

from fractions import Fraction

import pytest

from livekit_exporter.demo.comparison import compare
from livekit_exporter.demo.products import LLAMA, NOVA_3, Product
from livekit_exporter.demo.sidecar import Figures, parse
from livekit_exporter.demo.truth import Bill, Quantities

PAGE = r"""# HELP livekit_agent_cost_usd_total List price.
# TYPE livekit_agent_cost_usd_total counter
livekit_agent_cost_usd_total{agent="a",stage="stt",provider="deepgram",model="nova-3"} 0.25
livekit_agent_cost_usd_total{agent="b, \"c\"",stage="stt",provider="deepgram",model="nova-3"} 5e-01
livekit_agent_turn_latency_seconds_bucket{agent="a",le="0.5"} 10.0
livekit_agent_turn_latency_seconds_bucket{agent="a",le="1.0"} 20.0
livekit_agent_turn_latency_seconds_bucket{agent="a",le="+Inf"} 20.0
livekit_agent_turn_latency_seconds_count{agent="a"} 20.0
up 1
"""


def bill(product: Product, dollars: str) -> Bill:
    """A bill of that amount."""
    return Bill(
        at=0.0,
        call=0,
        session="s",
        product=product,
        request="r",
        quantities=Quantities(),
        cost=Fraction(dollars),
    )


def test_costs_of_agents_add_up_by_model() -> None:
    """The account knows models, not agents."""
    assert Figures(parse(PAGE)).costs() == {("stt", "nova-3"): 0.75}


@pytest.mark.parametrize(("quantile", "seconds"), [(0.5, 0.5), (0.75, 0.75), (1.0, 1.0)])
def test_turn_latency_is_estimated_as_prometheus_does(quantile: float, seconds: float) -> None:
    """Linear inside a bucket."""
    assert Figures(parse(PAGE)).turn_latency(quantile) == pytest.approx(seconds)


def test_no_turn_has_no_latency() -> None:
    """Nothing is shown before there is something."""
    assert Figures(parse("up 1\n")).turn_latency(0.5) is None


def test_same_amount_agrees() -> None:
    """Sums of floats and of fractions are never the same number."""
    (row,) = compare([bill(NOVA_3, "0.1"), bill(NOVA_3, "0.2")], {("stt", "nova-3"): 0.1 + 0.2}, {})

    assert row.agrees
    assert row.requests == 2


@pytest.mark.parametrize(
    ("bills", "counted"),
    [
        ([bill(LLAMA, "0.1")], {("llm", LLAMA.model): 0.10001}),
        ([bill(LLAMA, "0.1")], {}),
        ([], {("llm", LLAMA.model): 0.1}),
    ],
    ids=["another amount", "not counted", "not billed"],
)
def test_difference_is_told(bills: list[Bill], counted: dict[tuple[str, str], float]) -> None:
    """Whichever side has more."""
    (row,) = compare(bills, counted, {})

    assert not row.agrees


def test_what_is_estimated_is_beside_the_rest() -> None:
    """Also of a model that reported nothing at all."""
    rows = compare([bill(NOVA_3, "1")], {("stt", "nova-3"): 1.0}, {("llm", LLAMA.model): 0.5})

    assert [(row.stage, row.requests, row.estimated) for row in rows] == [
        ("stt", 1, 0.0),
        ("llm", 0, 0.5),
    ]
    assert all(row.agrees for row in rows)


def test_rows_follow_the_way_of_the_voice() -> None:
    """Speech is heard before it is answered."""
    rows = compare([bill(LLAMA, "1"), bill(NOVA_3, "1")], {}, {})

    assert [row.stage for row in rows] == ["stt", "llm"]
