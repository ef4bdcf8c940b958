"""The providers' own account."""

from fractions import Fraction
from pathlib import Path

import pytest

from livekit_exporter.demo.products import (
    ELEVEN_TURBO,
    GPT_MINI,
    GPT_REALTIME,
    LLAMA,
    NOVA_3,
    SONIC,
    WHISPER,
    Product,
)
from livekit_exporter.demo.truth import Quantities, bills, cost

LINE = (
    '{"event":"billed","at":1.5,"call":7,"session":"s","product":["tts","Cartesia","sonic-3"],'
    '"request":"r","quantities":{"characters":20},"cost_usd":"1/1000"}\n'
)


@pytest.mark.parametrize(
    ("product", "quantities", "dollars"),
    [
        (NOVA_3, Quantities(audio_seconds=60.0), "0.0048"),
        (WHISPER, Quantities(audio_seconds=36.0), "0.0004"),
        (LLAMA, Quantities(input_tokens=1_000_000, output_tokens=1_000_000), "1.38"),
        (
            GPT_MINI,
            Quantities(input_tokens=1_500, cached_input_tokens=1_000, output_tokens=100),
            "0.00046",
        ),
        (SONIC, Quantities(characters=200), "0.01"),
        (ELEVEN_TURBO, Quantities(characters=200), "0.01"),
        (
            GPT_REALTIME,
            Quantities(
                input_tokens=1_000,
                input_audio_tokens=400,
                cached_input_tokens=800,
                cached_audio_tokens=300,
                output_tokens=100,
                output_audio_tokens=80,
            ),
            # 100 text, 500 cached text, 100 audio and 300 cached audio tokens in; 20 and 80 out.
            "0.00936",
        ),
    ],
    ids=lambda value: value.model if isinstance(value, Product) else None,
)
def test_cost_is_the_list_price(product: Product, quantities: Quantities, dollars: str) -> None:
    """Prices as they stand on the vendors' pages."""
    assert cost(product, quantities) == Fraction(dollars)


def test_short_utterance_costs_ten_seconds_of_whisper() -> None:
    """Groq bills at least ten seconds per request, and nothing for no request."""
    assert cost(WHISPER, Quantities(audio_seconds=0.5)) == Fraction("0.04") / 360
    assert cost(WHISPER, Quantities()) == 0


def test_reply_that_was_cut_off_before_its_usage_came_is_free() -> None:
    """The provider reported nothing, so the account has nothing."""
    assert cost(GPT_MINI, Quantities()) == 0


def test_bill_is_read_as_it_was_written(tmp_path: Path) -> None:
    """A line carries everything that a comparison needs."""
    file = tmp_path / "truth.jsonl"
    file.write_text('{"event":"opened","at":1.0,"call":7,"pid":1}\n' + LINE)

    (bill,) = bills(file)

    assert bill.product == SONIC
    assert bill.quantities == Quantities(characters=20)
    assert (bill.call, bill.session, bill.cost) == (7, "s", Fraction(1, 1000))


def test_line_of_a_killed_process_counts_only_when_it_is_whole(tmp_path: Path) -> None:
    """A torn line was never said."""
    file = tmp_path / "truth.jsonl"
    file.write_text(LINE + LINE[:-20])

    assert len(list(bills(file))) == 1
