"""Public price lists as they are read: genai-prices' objects, LiteLLM's JSON."""

import json
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import pytest
from genai_prices.types import (
    ClauseEquals,
    ClauseOr,
    ClauseStartsWith,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from livekit_exporter.prices.compare import genai, litellm
from livekit_exporter.prices.compare.price_list import SECOND, Listed, PriceListError

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def dollars(text: str) -> ModelPrice:
    """A price for a million input tokens."""
    return ModelPrice(input_mtok=Decimal(text))


def genai_models(*models: ModelInfo, provider: str = "x-ai") -> list[Listed]:
    """What is read of a provider with these models."""
    return list(genai.listed([Provider(provider, "name", "url", models=list(models))], NOON))


def model(prices: ModelPrice | list[ConditionalPrice]) -> ModelInfo:
    """A model with prices."""
    return ModelInfo("mind", ClauseEquals("mind"), prices=prices)


def test_genai_model_has_its_id_and_what_equals_it() -> None:
    """A prefix is not a name."""
    match = ClauseOr([ClauseEquals("mind-latest"), ClauseStartsWith("mind-")])

    [listed] = genai_models(ModelInfo("mind", match, prices=dollars("2")))

    assert listed == Listed("xai", ("mind", "mind-latest"), {("input_token", 0): Decimal("2e-6")})


def test_genai_prices_are_per_unit() -> None:
    """Tokens with their tiers, characters, hours; searches are nothing that events show."""
    prices = ModelPrice(
        input_mtok=TieredPrices(Decimal(2), [Tier(200_000, Decimal(4))]),
        cache_audio_read_mtok=Decimal("0.4"),
        input_mchars=Decimal(15),
        audio_hours=Decimal("0.36"),
        web_searches_kcount=Decimal(10),
    )

    [listed] = genai_models(model(prices))

    assert listed.prices == {
        ("input_token", 0): Decimal("0.000002"),
        ("input_token", 200_000): Decimal("0.000004"),
        ("cached_input_audio_token", 0): Decimal("0.0000004"),
        ("character", 0): Decimal("0.000015"),
        (SECOND, 0): Decimal("0.0001"),
    }


def test_genai_price_is_that_of_the_instant() -> None:
    """A price of a later day and one of another hour do not count."""
    prices = [
        ConditionalPrice(prices=dollars("1")),
        ConditionalPrice(StartDateConstraint(date(2026, 11, 26)), prices=dollars("2")),
        ConditionalPrice(TimeOfDateConstraint(time(13), time(23)), prices=dollars("3")),
        ConditionalPrice(StartDateConstraint(date(2026, 11, 27)), prices=dollars("4")),
    ]

    [listed] = genai_models(model(prices))

    assert listed.prices == {("input_token", 0): Decimal("0.000002")}


def test_genai_seller_that_is_not_ours_is_left_out() -> None:
    """A reseller's price is not the vendor's."""
    assert genai_models(model(dollars("2")), provider="openrouter") == []


def test_genai_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    monkeypatch.delitem(sys.modules, "genai_prices.data", raising=False)

    with pytest.raises(PriceListError, match="install it with: pip install genai-prices"):
        genai.read(NOON)


def test_genai_package_as_installed_is_read() -> None:
    """Its sellers and prices are still called what they were."""
    price_list = genai.read(NOON)

    assert {listed.provider for listed in price_list.models} >= {
        "anthropic", "aws", "google", "groq", "mistral", "openai", "xai",
    }  # fmt: skip
    assert {key[0] for listed in price_list.models for key in listed.prices} >= {
        "input_token", "cached_input_token", "cache_write_token", "output_token",
        "input_audio_token", "cached_input_audio_token", "output_audio_token",
        "input_image_token", "character", SECOND,
    }  # fmt: skip


GOOD = {"litellm_provider": "xai", "mode": "chat", "input_cost_per_token": 2e-06}


def price_map(tmp_path: Path, content: object) -> Path:
    """A file with a price map, or with text that is none."""
    file = tmp_path / "map.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_litellm_prices_are_read_by_unit_and_tier(tmp_path: Path) -> None:
    """Other tariffs, as batches or priority, are not what a call pays."""
    row = {
        **GOOD,
        "input_cost_per_token_above_200k_tokens": 4e-06,
        "input_cost_per_token_batches": 1e-06,
        "input_cost_per_token_above_200k_tokens_priority": 8e-06,
        "cache_creation_input_token_cost_above_1hr": 9e-06,
        "cache_read_input_audio_token_cost": 4e-07,
        "output_cost_per_image_token": None,
        "max_tokens": 100,
    }

    price_list = litellm.read(price_map(tmp_path, {"xai/mind": row}))

    assert price_list.models == (
        Listed(
            "xai",
            ("mind",),
            {
                ("input_token", 0): Decimal("0.000002"),
                ("input_token", 200_000): Decimal("0.000004"),
                ("cached_input_audio_token", 0): Decimal("0.0000004"),
            },
        ),
    )
    assert (price_list.skipped, price_list.rounds_seconds) == (0, True)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("xai/mind", {"litellm_provider": "vercel_ai_gateway"}),
        ("xai/mind", {"litellm_provider": None}),
        ("xai/mind", {"litellm_provider": ["xai"]}),
        ("xai/mind", {"mode": "image_generation"}),
        ("xai/mind", {"mode": ["chat"]}),
        ("mind", {}),
        ("deepgram/nova-3", {"litellm_provider": "deepgram"}),
        ("xai/mind", {"input_cost_per_token": None}),
    ],
)
def test_litellm_row_of_no_concern_is_not_counted(
    tmp_path: Path, key: str, change: dict[str, object]
) -> None:
    """Another seller, another use, another name: nothing is wrong with it."""
    content = {"xai/good": GOOD, key: {**GOOD, **change}}

    price_list = litellm.read(price_map(tmp_path, content))

    assert ([listed.names for listed in price_list.models], price_list.skipped) == (
        [("good",)],
        0,
    )


@pytest.mark.parametrize(
    "figure",
    ["NaN", "Infinity", "-Infinity", '"0.1"', "true", "[]", "{}", "-1e-6", "1e9", "1e400",
     "1e-400", "1e99999999999999999999", "1" * 5000, "-0.1", "101"],
)  # fmt: skip
def test_litellm_row_with_a_figure_that_is_no_price_is_left_out(
    tmp_path: Path, figure: str
) -> None:
    """And counted, whatever else it says."""
    text = json.dumps({"xai/good": GOOD, "xai/bad": {**GOOD, "output_cost_per_token": 7}})

    price_list = litellm.read(price_map(tmp_path, text.replace(": 7", f": {figure}")))

    assert ([listed.names for listed in price_list.models], price_list.skipped) == (
        [("good",)],
        1,
    )


@pytest.mark.parametrize("row", [None, 7, "x", [], True])
def test_litellm_row_that_is_none_is_counted(tmp_path: Path, row: object) -> None:
    """A map holds a table for each model."""
    assert litellm.read(price_map(tmp_path, {"xai/good": GOOD, "xai/bad": row})).skipped == 1


def test_litellm_price_of_zero_is_a_price(tmp_path: Path) -> None:
    """Free is not left out."""
    [listed] = litellm.read(
        price_map(tmp_path, {"xai/mind": {**GOOD, "output_cost_per_token": 0}})
    ).models

    assert listed.prices["output_token", 0] == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no JSON"),
        ("<html>", "no JSON"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("\x00", "no JSON"),
        ("[]", "no price map"),
        ("null", "no price map"),
        ("7", "no price map"),
        ("{}", "no price in it can be compared"),
        ('{"a": 1, "b": {"litellm_provider": "xai"}}', "no price in it can be compared"),
    ],
)
def test_file_that_is_no_price_map_is_named(tmp_path: Path, content: str, message: str) -> None:
    """With what is wrong about it."""
    file = price_map(tmp_path, content)

    with pytest.raises(PriceListError) as caught:
        litellm.read(file)

    assert str(caught.value).startswith(f"{file}: {message}")


def test_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    """Whatever bytes it has."""
    file = tmp_path / "map.json"
    file.write_bytes(b'{"\xff\xfe": 1}')

    with pytest.raises(PriceListError, match="no JSON"):
        litellm.read(file)


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """And so is a directory in its place."""
    with pytest.raises(PriceListError, match=r"gone\.json: cannot read the price list: No such"):
        litellm.read(tmp_path / "gone.json")
    with pytest.raises(PriceListError, match="cannot read the price list: Is a directory"):
        litellm.read(tmp_path)
