"""`Call.record`: everything wrong is refused at once, and what passes the sidecar takes."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_exporter.agent import recording
from livekit_exporter.record import LARGEST_QUANTITY, LONGEST_TEXT, Usage, UsageReported, to_line
from livekit_exporter.sidecar.decode import decode


def report(**changed: Any) -> UsageReported:  # noqa: ANN401 - right and wrong values
    values: dict[str, Any] = {
        "session": "s1",
        "provider": "openai",
        "model": "text-embedding-3-small",
        "stage": "custom",
        "used": Usage(input_tokens=1200),
        "at": None,
        "speech": None,
        "cost_usd": None,
        "requests": 1,
        "request": None,
        "phase": "call",
        **changed,
    }
    return recording.report(**values)


WRONG_ARGUMENTS: dict[str, list[object]] = {
    "provider": [None, "", " ", 5, "x" * (LONGEST_TEXT + 1), "\ud800", "a\0b"],
    "model": [None, "", b"gpt", "x" * (LONGEST_TEXT + 1)],
    "stage": [None, "embedding", "", 1],
    "at": ["now", math.nan, -1, 0, 9e9, datetime(2026, 1, 1), True],  # noqa: DTZ001 - wrong
    "speech": ["", 3],
    "request": ["", 3],
    "cost_usd": [-0.01, math.nan, math.inf, "free", True, [], Decimal("NaN"), 1e9],
    "requests": [-1, 1.5, None, "one", math.inf, True],
}


@pytest.mark.parametrize(
    ("argument", "value"),
    [(argument, value) for argument, values in WRONG_ARGUMENTS.items() for value in values],
)
def test_a_wrong_argument_is_named(argument: str, value: object) -> None:
    """In a `ValueError`, whatever is wrong with it."""
    with pytest.raises(ValueError, match=f"^{argument} "):
        report(**{argument: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("input_tokens", -10),
        ("input_tokens", 10.7),
        ("input_tokens", math.inf),
        ("input_tokens", "10"),
        ("input_tokens", True),
        ("input_tokens", LARGEST_QUANTITY * 2),
        ("audio_seconds", math.nan),
        ("prompt_tokens", -1),
        ("cached_input_tokens", 5),
        ("output_audio_tokens", 1),
        ("input_token", 5),
        ("seconds", 5),
    ],
)
def test_a_wrong_quantity_is_named(name: str, value: object) -> None:
    """Parts that are larger than their whole, too."""
    with pytest.raises(ValueError, match=f"^{name} "):
        recording.usage(None, {name: value})


def test_a_misspelt_quantity_gets_a_hint() -> None:
    """Known are our names and OpenAI's."""
    with pytest.raises(ValueError, match="did you mean input_tokens"):
        recording.usage(None, {"input_token": 5})


def test_openais_usage_object_is_read() -> None:
    """Of chat completions, of responses and of embeddings; as an object or a mapping."""
    chat = SimpleNamespace(
        prompt_tokens=100,
        completion_tokens=20,
        total_tokens=120,
        prompt_tokens_details=SimpleNamespace(cached_tokens=64, audio_tokens=None),
        completion_tokens_details=None,
        service_tier="default",
    )
    responses = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 64},
        "output_tokens": 20,
        "total_tokens": 120,
    }
    expected = Usage(input_tokens=100, cached_input_tokens=64, output_tokens=20, total_tokens=120)

    assert recording.usage(chat, {}) == expected
    assert recording.usage(responses, {}) == expected
    assert recording.usage({"prompt_tokens": 7}, {"prompt_tokens": 8}) == Usage(input_tokens=8)
    assert recording.usage(Usage(characters=9), {}) == Usage(characters=9)
    with pytest.raises(ValueError, match="none of the fields that are known"):
        recording.usage("100 tokens", {})


def test_what_is_not_reported_is_none() -> None:
    """Vendors leave fields out by `None`."""
    assert recording.usage(None, {"cached_input_tokens": None}) == Usage()


def test_times_and_costs_are_taken_in_several_shapes() -> None:
    """A moment with a time zone, an exact decimal, a text."""
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    assert report(at=moment).at == moment.timestamp()
    assert report(cost_usd=Decimal("0.0079")).cost_usd == 0.0079
    assert report(cost_usd="0.0079").cost_usd == 0.0079
    assert report(cost_usd=0).cost_usd == 0


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "provider": st.text(max_size=210) | st.none(),
            "model": st.text(max_size=210),
            "stage": st.sampled_from([*recording.STAGES, "embedding"]),
            "cost_usd": st.floats() | st.decimals() | st.text(max_size=9) | st.none(),
            "at": st.floats() | st.none(),
            "requests": st.integers() | st.floats(),
            "speech": st.text(max_size=9) | st.none(),
        },
    ),
    st.dictionaries(
        st.sampled_from([*recording.QUANTITIES, *recording.VENDOR_NAMES]),
        st.integers() | st.floats() | st.none(),
        max_size=4,
    ),
)
def test_what_passes_the_sidecar_takes(
    changed: dict[str, object], quantities: dict[str, object]
) -> None:
    """And what does not is a `ValueError`, never another error."""
    try:
        record = report(**changed, used=recording.usage(None, quantities))
    except ValueError:
        return

    assert decode(to_line(record).rstrip(b"\n")) == record
