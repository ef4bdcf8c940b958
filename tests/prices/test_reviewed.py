"""`make prices-check`: every difference explained, and no explanation left over."""

import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from livekit_exporter.prices.compare.differences import Difference, Place
from livekit_exporter.prices.files.located import PriceFileError
from tests.prices import reviewed

LIST = """\
day: 2026-11-26
allowed:
  - id: acme/mind
    source: litellm
    above_input_tokens: 200000
    prices:
      input_token: {ours: 1.00, theirs: 2}
    reason: The page has 1.
to_correct:
  - id: acme/ear
    source: genai-prices
    prices:
      audio_second: {ours: 0.006, theirs: 0.012}
    reason: The page has 0.012.
"""


@pytest.fixture
def allow_list(tmp_path: Path) -> Callable[[str], Path]:
    """Write an allow list."""

    def make(text: str) -> Path:
        file = tmp_path / "allowed.yaml"
        file.write_text(text)
        return file

    return make


def difference(place: Place, ours: str, theirs: str) -> Difference:
    """A difference, in USD per unit."""
    return Difference(place, Decimal(ours), Decimal(theirs), None, ("m",), settled=True)


MIND = Place("acme/mind", "input_token", 200_000)
EAR = Place("acme/ear", "audio_second")


def test_difference_is_explained_by_its_place_and_both_prices(
    allow_list: Callable[[str], Path],
) -> None:
    """Mistakes of ours that wait for a correction are explained like any other."""
    review = reviewed.read(allow_list(LIST))

    assert review.day == date(2026, 11, 26)
    assert reviewed.unexplained(
        {
            "litellm": [difference(MIND, "0.000001", "0.000002")],
            "genai-prices": [difference(EAR, "0.0001", "0.0002")],
        },
        review.allowed,
    ) == ({"litellm": [], "genai-prices": []}, [])


@pytest.mark.parametrize(
    ("kind", "one"),
    [
        ("genai-prices", difference(MIND, "0.000001", "0.000002")),
        ("litellm", difference(MIND, "0.000001", "0.000003")),
        ("litellm", difference(MIND, "0.0000011", "0.000002")),
        ("litellm", difference(Place("acme/mind", "input_token"), "0.000001", "0.000002")),
        (
            "litellm",
            difference(Place("acme/mind", "output_token", 200_000), "0.000001", "0.000002"),
        ),
    ],
)
def test_anything_else_is_not_explained_and_its_line_is_stale(
    allow_list: Callable[[str], Path], kind: str, one: Difference
) -> None:
    """Another list, another figure, another tier, another unit."""
    line, _ = reviewed.read(allow_list(LIST)).allowed

    assert reviewed.unexplained({kind: [one]}, [line]) == ({kind: [one]}, [line])


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("source: litellm", "source: litelm", "4: source 'litelm' is not known; did you mean"),
        ("input_token", "inputs_token", "7: unit 'inputs_token' is not known; did you mean"),
        ("ours: 1.00", "ours: -1", "7: 'ours' is '-1'; it cannot be negative"),
        ("    reason: The page has 1.\n", "", "3: 'reason' is missing"),
        ("reason: The page has 1.", "reason: ''", "8: 'reason' must be text, and not empty"),
        ("day: 2026-11-26\n", "", "1: 'day' is missing"),
        ("to_correct:", "to_do:", "9: key 'to_do' is not known"),
        (LIST, "[]", "1: an allow list must be a table"),
    ],
)  # fmt: skip
def test_mistake_in_the_allow_list_is_named(
    allow_list: Callable[[str], Path], right: str, wrong: str, message: str
) -> None:
    """With file and line, as in every file that people write."""
    with pytest.raises(PriceFileError) as caught:
        reviewed.read(allow_list(LIST.replace(right, wrong)))

    assert f"allowed.yaml:{message}" in str(caught.value)


def test_check_fails_on_what_is_not_explained_and_on_what_is_stale(
    allow_list: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both are named."""
    price_map = tmp_path / "map.json"
    row = {"litellm_provider": "openai", "input_cost_per_token": 9e-06}
    price_map.write_text(json.dumps({"gpt-4.1-mini": row}))

    status = reviewed.main(price_map, allow_list(LIST))

    printed = capsys.readouterr().out
    assert status == 1
    assert "allowed.yaml does not explain" in printed
    assert "allowed.yaml:7: litellm no longer differs so from 'acme/mind'" in printed
    assert "allowed.yaml:13: genai-prices no longer differs so from 'acme/ear'" in printed


def test_check_without_its_price_map_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, no traceback."""
    assert reviewed.main(tmp_path / "gone.json") == 1
    assert "gone.json: cannot read the price list" in capsys.readouterr().err


def test_shipped_allow_list_has_no_mistake() -> None:
    """Every line of it is for an entry that is there."""
    review = reviewed.read(reviewed.ALLOWED)

    assert len(review.allowed) > 10
