"""Token counts taken apart into buckets that exclude one another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_exporter.prices.rules import token_buckets
from livekit_exporter.prices.units import Bucket
from livekit_exporter.record import Usage

COUNT = st.integers(min_value=0, max_value=10**7)
FIELDS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "total_tokens",
    "input_audio_tokens",
    "input_image_tokens",
    "cached_audio_tokens",
    "cached_image_tokens",
    "output_audio_tokens",
    "output_image_tokens",
)
ANY_USAGE = st.fixed_dictionaries(dict.fromkeys(FIELDS, COUNT)).map(lambda f: Usage(**f))


def total(buckets: dict[Bucket, int], *, output: bool) -> int:
    """Tokens of one side."""
    return sum(n for (kind, _), n in buckets.items() if (kind == "output") == output)


def test_plain_request_has_two_buckets() -> None:
    """Empty buckets are left out."""
    assert token_buckets(Usage(input_tokens=10, output_tokens=5, total_tokens=15)) == {
        ("input", "text"): 10,
        ("output", "text"): 5,
    }


def test_no_tokens_no_buckets() -> None:
    """Time and characters are no tokens."""
    assert token_buckets(Usage(audio_seconds=3.0, characters=9)) == {}


def test_parts_are_taken_out_of_their_whole() -> None:
    """Every modality keeps what is neither cached nor written."""
    usage = Usage(
        input_tokens=100,
        input_audio_tokens=50,
        input_image_tokens=20,
        cached_input_tokens=40,
        cached_audio_tokens=25,
        cached_image_tokens=5,
        cache_write_tokens=15,
        output_tokens=30,
        output_audio_tokens=20,
    )

    assert token_buckets(usage) == {
        ("input", "text"): 5,
        ("input", "audio"): 25,
        ("input", "image"): 15,
        ("cached_input", "text"): 10,
        ("cached_input", "audio"): 25,
        ("cached_input", "image"): 5,
        ("cache_write", "text"): 15,
        ("output", "text"): 10,
        ("output", "audio"): 20,
    }


@pytest.mark.parametrize(
    ("usage", "buckets"),
    [
        pytest.param(
            Usage(input_tokens=100, input_audio_tokens=90, cached_input_tokens=30),
            {("input", "audio"): 70, ("cached_input", "text"): 10, ("cached_input", "audio"): 20},
            id="cached without modality: text, then audio",
        ),
        pytest.param(
            Usage(input_tokens=10, input_image_tokens=10, cached_input_tokens=4),
            {("input", "image"): 6, ("cached_input", "image"): 4},
            id="cached without modality: image at last",
        ),
        pytest.param(
            Usage(input_tokens=10, cached_input_tokens=30, cache_write_tokens=5),
            {("cached_input", "text"): 30, ("cache_write", "text"): 5},
            id="cached and written exceed the prompt",
        ),
        pytest.param(
            Usage(input_tokens=10, cached_audio_tokens=30),
            {("cached_input", "audio"): 30},
            id="cached audio exceeds audio and prompt",
        ),
        pytest.param(
            Usage(output_tokens=10, output_audio_tokens=30),
            {("output", "audio"): 30},
            id="audio exceeds output",
        ),
        pytest.param(
            Usage(input_tokens=100, output_tokens=10, total_tokens=150),
            {("input", "text"): 100, ("output", "text"): 50},
            id="thinking tokens are in the total",
        ),
        pytest.param(
            Usage(input_tokens=100, output_tokens=10, total_tokens=60),
            {("input", "text"): 100, ("output", "text"): 10},
            id="a total below its parts",
        ),
        pytest.param(Usage(input_tokens=-5, output_tokens=-5), {}, id="negative counts"),
    ],
)
def test_contradicting_counts_leave_no_negative_bucket(
    usage: Usage, buckets: dict[Bucket, int]
) -> None:
    """A whole below its parts is raised to them."""
    assert token_buckets(usage) == buckets


@given(ANY_USAGE)
def test_buckets_add_up_whatever_is_reported(usage: Usage) -> None:
    """No bucket is negative, and each side sums to the largest figure that was reported."""
    buckets = token_buckets(usage)

    cached = max(usage.cached_input_tokens, usage.cached_audio_tokens + usage.cached_image_tokens)
    modalities = max(usage.input_audio_tokens, usage.cached_audio_tokens) + max(
        usage.input_image_tokens, usage.cached_image_tokens
    )
    asked = max(usage.input_tokens, cached + usage.cache_write_tokens, modalities)
    assert all(tokens > 0 for tokens in buckets.values())
    assert total(buckets, output=False) == asked
    assert total(buckets, output=True) == max(
        usage.output_tokens,
        usage.total_tokens - asked,
        usage.output_audio_tokens + usage.output_image_tokens,
    )


@given(ANY_USAGE)
def test_reported_parts_keep_their_size(usage: Usage) -> None:
    """Cached and written tokens are never lost, and stated modalities stay what they are."""
    buckets = token_buckets(usage)

    def of(kind: str) -> int:
        return sum(n for (k, _), n in buckets.items() if k == kind)

    assert of("cached_input") >= usage.cached_input_tokens
    assert of("cache_write") == usage.cache_write_tokens
    assert buckets.get(("cached_input", "audio"), 0) >= usage.cached_audio_tokens
    assert buckets.get(("output", "audio"), 0) == usage.output_audio_tokens
