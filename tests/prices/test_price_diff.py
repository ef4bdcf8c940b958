"""`prices diff`: what it prints, what it writes, and what that does to a quote."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from livekit_exporter.prices.catalogue import Catalogue, from_compiled
from livekit_exporter.prices.compare.differences import compare
from livekit_exporter.prices.compare.ours import charged
from livekit_exporter.prices.compare.price_list import Key, Listed, PriceList
from livekit_exporter.prices.compare.proposal import proposal
from livekit_exporter.prices.files import compile as price_files
from livekit_exporter.prices.files import overlay
from livekit_exporter.prices.files.located import PriceFileError
from tests.prices.test_overlay import metrics, program

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
NOON = AT.timestamp()
ROWS = {
    "gpt-4.1-mini": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 8e-07,
        "cache_read_input_token_cost": 1e-07,
        "output_cost_per_token": 1.6e-06,
    },
    "whisper-1": {
        "litellm_provider": "openai",
        "mode": "audio_transcription",
        "input_cost_per_second": 0.0001,
    },
    "gpt-none": {"litellm_provider": "openai", "input_cost_per_token": 1e-06},
    "gpt-bad": {"litellm_provider": "openai", "input_cost_per_token": "free"},
}


@pytest.fixture
def price_map(tmp_path: Path) -> str:
    """A LiteLLM map that doubles the input price of one model."""
    file = tmp_path / "map.json"
    file.write_text(json.dumps(ROWS))
    return str(file)


def test_differences_are_printed_with_counts(price_map: str) -> None:
    """A difference is no error."""
    result = program("diff", price_map, "--day", "2026-11-26")

    assert (result.returncode, result.stderr) == (0, "")
    head, row, counts = result.stdout.splitlines()
    assert head.split() == ["price", "unit", "per", "ours", "theirs", "ratio", "since"]
    assert row.split() == ["openai/gpt-4.1-mini", "input_token", "1M", "0.4", "0.8", "2"]
    assert counts.startswith("litellm, map.json, prices of 2026-11-26: 3 agree, 1 differ, ")
    assert counts.endswith(
        "1 in the source and not ours (0 of models that we have);"
        " 1 models left out, a figure of theirs is no price"
    )


def test_json_has_everything(price_map: str) -> None:
    """Where the table has counts, the lists behind them; prices in USD per unit."""
    result = program("diff", price_map, "--json", "--day", "2026-11-26")

    answer = json.loads(result.stdout)
    assert (answer["source"], answer["day"]) == ("litellm, map.json", "2026-11-26")
    assert answer["differ"] == [
        {
            "price_id": "openai/gpt-4.1-mini",
            "unit": "input_token",
            "above_input_tokens": None,
            "ours_usd": "0.0000004",
            "theirs_usd": "0.0000008",
            "ratio": "2",
            "since": None,
            "names": ["gpt-4.1-mini"],
        }
    ]
    assert [place["unit"] for place in answer["agree"]] == [
        "cached_input_token",
        "output_token",
        "audio_second",
    ]
    assert len(answer["not_known"]) > 500
    assert answer["not_ours"] == [
        {"provider": "openai", "model": "gpt-none", "unit": "input_token", "price_ids": []}
    ]
    assert answer["skipped"] == 1


def test_genai_prices_are_a_source() -> None:
    """The package as installed shares hundreds of prices with the shipped catalogue."""
    answer = json.loads(program("diff", "genai-prices", "--day", "2026-11-26", "--json").stdout)

    assert answer["source"].startswith("genai-prices ")
    assert len(answer["agree"]) > 500


def test_written_prices_pass_the_check_and_change_the_quote(tmp_path: Path, price_map: str) -> None:
    """What the source says instead is a price file of one's own."""
    own = str(tmp_path / "own.yaml")
    line = metrics("api.openai.com", "gpt-4.1-mini", 1_000_000)

    written = program("diff", price_map, "--write", own)
    check = program("check", own)
    costs = [
        Decimal(json.loads(program("quote", *option, given=line).stdout)["cost_usd"])
        for option in ([], ["--prices", own])
    ]

    assert (written.returncode, written.stderr) == (0, f"{own}: written, for review\n")
    assert (check.returncode, check.stdout) == (0, f"{own}: ok\n")
    assert costs == [Decimal("0.4"), Decimal("0.8")]


def test_own_prices_are_compared_too(tmp_path: Path, price_map: str) -> None:
    """With what the source says laid over, nothing differs, and there is nothing to write."""
    own, again = str(tmp_path / "own.yaml"), tmp_path / "again.yaml"
    program("diff", price_map, "--write", own)

    result = program("diff", price_map, "--prices", own, "--write", str(again))

    assert ": 4 agree, 0 differ, " in result.stdout
    assert result.stderr == f"{again}: not written, there is nothing to propose\n"
    assert not again.exists()


def test_file_that_exists_is_not_written_over(tmp_path: Path, price_map: str) -> None:
    """Somebody may have reviewed it."""
    own = tmp_path / "own.yaml"
    own.write_text("mine")

    result = program("diff", price_map, "--write", str(own))

    assert result.returncode == 1
    assert result.stderr == f"livekit-exporter: {own}: exists already; name another file\n"
    assert own.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.json"], "gone.json: cannot read the price list: No such file or directory"),
        (["{map}", "--prices", "gone.yaml"], "gone.yaml"),
        (["{map}", "--write", "/nowhere/own.yaml"], "/nowhere/own.yaml: cannot write the prices"),
    ],
)
def test_mistake_is_one_line(price_map: str, arguments: list[str], message: str) -> None:
    """Whatever file is wrong, no traceback."""
    result = program("diff", *(argument.format(map=price_map) for argument in arguments))

    assert result.returncode == 1
    assert result.stderr.startswith("livekit-exporter: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


HEAD = """\
schema: 1
currency: USD
providers:
  acme: {usd_per_1m_credits: 50, source: s, checked: 2026-11-01}
entries:
"""
TOKENS = """\
  - id: acme/mind
    stage: llm
    basis: tokens
    prices:
      - per_1m: {input: 2, output: 8}
        source: old
        checked: 2026-11-01
      - valid_from: 2026-06-01
        per_1m: {input: 1, output: 4}
        source: old
        checked: 2026-11-01
      - valid_from: 2027-01-01
        per_1m: {input: 3, output: 12}
        source: old
        checked: 2026-11-01
"""
TIERED = """\
  - id: acme/mind
    stage: llm
    basis: tokens
    prices:
      - per_1m: {input: 1, output: 4}
        above_input_tokens: [{over: 200000, per_1m: {input: 2, output: 8}}]
        source: old
        checked: 2026-11-01
"""
TIMED = """\
  - id: acme/mind
    stage: llm
    basis: tokens
    prices:
      - per_1m: {input: 1, output: 4}
        source: old
        checked: 2026-11-01
"""
EAR = """\
  - id: acme/ear
    stage: stt
    basis: tokens
    prices: [{per_1m: {input: 1, output: 4}, source: old, checked: 2026-11-01}]
    fallback:
      basis: audio_time
      prices: [{credits_per_second: 1, source: old, checked: 2026-11-01}]
"""


@pytest.fixture
def proposed() -> "Proposed":
    """Propose a list's prices, in USD per million units, and lay them over ours."""

    def make(text: str, prices: Mapping[Key, str]) -> tuple[str, Catalogue]:
        files = [price_files.parse(HEAD + text, "ours.yaml")]
        listed = Listed(
            "acme",
            ("mind", "ear"),
            {key: Decimal(usd) / 10**6 for key, usd in prices.items()},
        )
        price_list = PriceList("list", "list 1", (listed,))
        ours = from_compiled(price_files.compiled(files))
        written = proposal(files, compare(ours, price_list, NOON), price_list, AT)
        with_theirs = overlay.merged(files, price_files.parse(written, "own.yaml"))
        catalogue = from_compiled(price_files.compiled(with_theirs))
        assert compare(catalogue, price_list, NOON).differ == ()
        return written, catalogue

    return make


Proposed = Callable[[str, Mapping[Key, str]], tuple[str, Catalogue]]


def millions(catalogue: Catalogue, price_id: str, at: float = NOON) -> dict[Key, Decimal]:
    """What an entry charges, in USD per million units."""
    return {key: usd * 10**6 for key, usd in charged(catalogue, at)[price_id].prices.items()}


def test_only_the_block_in_force_is_changed(proposed: Proposed) -> None:
    """Prices of other times stay, with their source."""
    text, catalogue = proposed(TOKENS, {("input_token", 0): "1.5"})

    years = (datetime(year, 1, 2, tzinfo=UTC).timestamp() for year in (2026, 2027))
    before, after = (millions(catalogue, "acme/mind", at) for at in years)
    now = millions(catalogue, "acme/mind")
    assert [prices["input_token", 0] for prices in (before, now, after)] == [
        Decimal(2),
        Decimal("1.5"),
        Decimal(3),
    ]
    assert (text.count("source: old"), text.count("source: list 1")) == (2, 1)
    assert text.count("checked: 2026-11-26") == 1
    assert text.startswith("# list 1, prices of 2026-11-26, where they differ. Review before use.")


def test_tier_that_we_have_not_is_added(proposed: Proposed) -> None:
    """What the list does not say of it is our base."""
    _, catalogue = proposed(TOKENS, {("input_token", 0): "1", ("input_token", 128_000): "2"})

    prices = millions(catalogue, "acme/mind")
    assert prices["input_token", 128_000] == Decimal(2)
    assert prices["output_token", 128_000] == prices["output_token", 0] == Decimal(4)


def test_new_price_of_the_base_leaves_the_tier_what_it_charged(proposed: Proposed) -> None:
    """A price file wants in a tier what the base has."""
    _, catalogue = proposed(
        TIERED, {("cached_input_token", 0): "0.1", ("input_token", 200_000): "2"}
    )

    prices = millions(catalogue, "acme/mind")
    assert prices["cached_input_token", 0] == Decimal("0.1")
    assert prices["cached_input_token", 200_000] == Decimal(2)


@pytest.mark.parametrize(
    ("hours", "changed", "stays"),
    [("from: '08:00', until: '16:00'", 12, 20), ("from: '16:00', until: '08:00'", 12, 20),
     ("from: '12:01', until: '12:00'", 12, 13)],
)  # fmt: skip
def test_only_the_hours_in_force_are_changed(
    proposed: Proposed, hours: str, changed: int, stays: int
) -> None:
    """Whether noon lies in hours of their own or outside of them."""
    window = f"""\
        time_of_day:
          - {{{hours}, per_1m: {{input: 1, output: 4}}}}
"""

    _, catalogue = proposed(
        TIMED + window, {("input_token", 0): "7", ("cached_input_token", 0): "2"}
    )

    now, then = (
        millions(catalogue, "acme/mind", AT.replace(hour=hour).timestamp())
        for hour in (changed, stays)
    )
    assert (now["input_token", 0], now["cached_input_token", 0]) == (Decimal(7), Decimal(2))
    assert then["input_token", 0] == then["cached_input_token", 0] == Decimal(1)


def test_price_of_a_modality_leaves_the_others_what_they_cost(proposed: Proposed) -> None:
    """One price held for all of them; now each has its own."""
    before = from_compiled(price_files.compiled([price_files.parse(HEAD + TIERED, "ours.yaml")]))

    _, after = proposed(
        TIERED,
        {("input_token", 0): "1", ("input_token", 200_000): "2",
         ("input_audio_token", 0): "6", ("input_audio_token", 200_000): "6"},
    )  # fmt: skip

    # Cached and written audio follow from audio.
    audio = {
        (unit, over): Decimal(6)
        for unit in ("input_audio_token", "cached_input_audio_token", "cache_write_audio_token")
        for over in (0, 200_000)
    }
    assert millions(after, "acme/mind") == millions(before, "acme/mind") | audio


def test_price_for_seconds_goes_to_the_tariff_that_bills_them(proposed: Proposed) -> None:
    """In place of credits, and without touching the tokens."""
    text, catalogue = proposed(EAR, {("second", 0): "100"})

    prices = millions(catalogue, "acme/ear")
    assert (prices["audio_second", 0], prices["input_token", 0]) == (Decimal(100), Decimal(1))
    assert "per_minute: 0.006\n" in text
    assert "credits" not in text
    assert (text.count("source: old"), text.count("source: list 1")) == (1, 1)


def test_prices_that_make_no_price_file_are_refused(proposed: Proposed) -> None:
    """Reading a cache that costs more than input is a mistake somewhere."""
    with pytest.raises(PriceFileError, match="'cached_input' 9 is above 'input' 1"):
        proposed(TOKENS, {("cached_input_token", 0): "9"})


def test_place_with_several_prices_is_left_as_it_is() -> None:
    """One entry cannot have both; a comment says so."""
    files = [price_files.parse(HEAD + TOKENS + "    match: [mind, brain]\n", "ours.yaml")]
    models = tuple(
        Listed("acme", (name,), {("input_token", 0): Decimal(usd), ("output_token", 0): Decimal(9)})
        for name, usd in (("mind", 5), ("brain", 6))
    )
    price_list = PriceList("list", "list 1", models)
    catalogue = from_compiled(price_files.compiled(files))

    text = proposal(files, compare(catalogue, price_list, NOON), price_list, AT)

    assert "# Left as it is, the source has several: acme/mind, input_token\n" in text
    assert "{input: 1, output: 9000000}" in text
