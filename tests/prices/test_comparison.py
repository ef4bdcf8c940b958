"""The catalogue held against a list: what agrees, what differs, what nobody can say."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from livekit_exporter.prices.catalogue import DATE_MARK, Catalogue
from livekit_exporter.prices.compare.differences import (
    Comparison,
    Difference,
    NotOurs,
    Place,
    compare,
)
from livekit_exporter.prices.compare.ours import charged
from livekit_exporter.prices.compare.price_list import SECOND, Key, Listed, PriceList

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()
HEAD = """\
schema: 1
currency: USD
providers:
  acme: {hosts: [api.acme.test], defaults: {stt: acme/unnamed}}
entries:
  - id: acme/mind
    stage: llm
    match: [mind, "mind-<date>"]
    basis: tokens
    prices:
      - per_1m: {input: 2, output: 8}
        source: s
        checked: 2026-11-01
      - valid_from: 2026-06-01
        per_1m: {input: 1, output: 4}
        above_input_tokens:
          - {over: 199999, per_1m: {input: 2, output: 8}}
        source: s
        checked: 2026-11-01
      - valid_from: 2027-01-01
        per_1m: {input: 3, output: 12}
        source: s
        checked: 2026-11-01
  - id: acme/voice
    stage: realtime
    basis: tokens
    prices:
      - per_1m: {input: 4, cached_input: 0.4, output: 16}
        audio_per_1m: {input: 32, cached_input: 0.4, output: 64}
        source: s
        checked: 2026-11-01
  - id: acme/line
    stage: realtime
    basis: session_time
    prices: [{per_minute: 0.05, source: s, checked: 2026-11-01}]
  - id: acme/ear
    stage: stt
    basis: audio_time
    prices: [{per_minute: 0.0043, source: s, checked: 2026-11-01}]
  - id: acme/unnamed
    stage: stt
    match: []
    basis: audio_time
    prices: [{per_hour: 1, source: s, checked: 2026-11-01}]
"""

Held = Callable[..., Comparison]


@pytest.fixture
def held(written: Callable[[str], Catalogue]) -> Held:
    """Hold the catalogue above against models of a list, prices in USD per million units."""
    catalogue = written(HEAD)

    def against(
        *models: tuple[str, dict[Key, str]],
        at: float = NOON,
        provider: str = "acme",
        rounds_seconds: bool = False,
    ) -> Comparison:
        listed = (
            Listed(provider, (name,), {key: Decimal(usd) / 10**6 for key, usd in prices.items()})
            for name, prices in models
        )
        price_list = PriceList("test", "test 1", tuple(listed), rounds_seconds=rounds_seconds)
        return compare(catalogue, price_list, at)

    return against


def figures(comparison: Comparison) -> dict[Place, Decimal]:
    """Their prices where they differ, in USD per million."""
    return {one.place: one.theirs * 10**6 for one in comparison.differ}


def test_same_prices_agree(held: Held) -> None:
    """However they are written, and at every tier."""
    result = held(
        ("mind", {("input_token", 0): "1.00", ("output_token", 0): "4",
                  ("input_token", 200_000): "2", ("output_token", 200_000): "8"}),
    )  # fmt: skip

    assert result.differ == ()
    assert result.agree == {
        Place("acme/mind", "input_token"): Decimal("0.000001"),
        Place("acme/mind", "output_token"): Decimal("0.000004"),
        Place("acme/mind", "input_token", 199_999): Decimal("0.000002"),
        Place("acme/mind", "output_token", 199_999): Decimal("0.000008"),
    }


def test_differences_come_largest_first(held: Held) -> None:
    """Half the price is as far away as twice the price."""
    result = held(
        ("voice", {("input_token", 0): "5", ("output_token", 0): "8",
                   ("cached_input_token", 0): "4", ("input_audio_token", 0): "32"}),
    )  # fmt: skip

    assert [(one.place.unit, one.ratio) for one in result.differ] == [
        ("cached_input_token", 10),
        ("output_token", Decimal("0.5")),
        ("input_token", Decimal("1.25")),
    ]
    assert [float(one.size) for one in result.differ] == [0.9, 0.5, 0.2]


def test_difference_says_since_when_our_price_holds(held: Held) -> None:
    """And what the list calls the model."""
    result = held(("mind", {("output_token", 0): "5", ("output_token", 199_999): "8"}))

    assert result.differ == (
        Difference(
            place=Place("acme/mind", "output_token"),
            ours=Decimal("0.000004"),
            theirs=Decimal("0.000005"),
            since=date(2026, 6, 1),
            names=("mind",),
            settled=True,
        ),
    )


@pytest.mark.parametrize(
    ("day", "price"),
    [(datetime(2026, 5, 31, tzinfo=UTC), "2"), (datetime(2027, 1, 1, tzinfo=UTC), "3")],
)
def test_prices_of_the_day_are_compared(held: Held, day: datetime, price: str) -> None:
    """Neither the newest nor the first block, but the one in force."""
    result = held(("mind", {("input_token", 0): price}), at=day.timestamp())

    assert result.differ == ()
    assert Place("acme/mind", "input_token") in result.agree


@pytest.mark.parametrize("name", ["mind-2", "min", "MIND", "acme/mind", "mind-20261399", ""])
def test_nothing_is_compared_by_resemblance(held: Held, name: str) -> None:
    """Models are matched as events are."""
    result = held((name, {("input_token", 0): "9"}))

    assert (result.differ, result.agree) == ((), {})
    assert result.not_ours == (NotOurs("acme", name, "input_token", ()),)


def test_snapshot_is_compared_where_one_is_declared(held: Held) -> None:
    """`mind-<date>` stands for it."""
    result = held(("mind-2026-10-21", {("input_token", 0): "9"}))

    assert {place.unit for place in figures(result)} == {"input_token"}


@pytest.mark.parametrize("name", ["unknown", " Unknown ", ""])
def test_entry_for_unnamed_models_is_no_model_of_a_list(held: Held, name: str) -> None:
    """What a list calls unknown is not what a plugin does not name."""
    assert held((name, {(SECOND, 0): "1"})).differ == ()


def test_provider_that_we_do_not_have_is_not_ours(held: Held) -> None:
    """The same model name at another seller is another price."""
    result = held(("mind", {("input_token", 0): "9"}), provider="other")

    assert (result.differ, result.agree) == ((), {})
    assert Place("acme/mind", "input_token") in result.not_known


def test_tier_that_the_list_has_not_is_a_difference(held: Held) -> None:
    """A list without tiers charges its base for a long request."""
    result = held(("mind", {("input_token", 0): "1", ("output_token", 0): "4"}))

    assert figures(result) == {
        Place("acme/mind", "input_token", 199_999): 1,
        Place("acme/mind", "output_token", 199_999): 4,
    }


def test_tier_that_we_have_not_is_a_difference(held: Held) -> None:
    """We charge our highest tier below it."""
    result = held(
        ("mind", {("input_token", 0): "1", ("input_token", 200_000): "2",
                  ("input_token", 500_000): "4"}),
    )  # fmt: skip

    assert figures(result) == {Place("acme/mind", "input_token", 500_000): 4}
    assert result.differ[0].ours == Decimal("0.000002")


def test_tier_of_one_unit_says_nothing_of_another(held: Held) -> None:
    """A list that leaves a price out of its tier has not said that it stays."""
    result = held(
        ("mind", {("input_token", 0): "1", ("output_token", 0): "4", ("input_token", 200_000): "2"})
    )

    assert result.differ == ()
    assert Place("acme/mind", "output_token", 199_999) in result.not_known


def test_derived_price_is_compared_with_a_listed_one(held: Held) -> None:
    """Where no price for cached input is written we charge that of input."""
    result = held(("mind", {("cached_input_token", 0): "0.1", ("input_audio_token", 0): "1"}))

    assert figures(result)[Place("acme/mind", "cached_input_token")] == Decimal("0.1")
    assert Place("acme/mind", "input_audio_token") in result.agree


def test_derived_price_that_nobody_lists_is_not_missed(held: Held) -> None:
    """What the list does not know are prices that somebody wrote."""
    units = {place.unit for place in held().not_known if place.price_id == "acme/mind"}

    assert units == {"input_token", "output_token"}


def test_unit_that_our_entry_lacks_is_shown_with_the_entry(held: Held) -> None:
    """The model is there, its price for images is not."""
    result = held(("voice", {("input_token", 0): "4", ("input_image_token", 0): "5"}))

    assert result.not_ours == (NotOurs("acme", "voice", "input_image_token", ("acme/voice",)),)


@pytest.mark.parametrize(("name", "unit"), [("line", "connection_second"), ("ear", "audio_second")])
def test_seconds_are_those_that_the_entry_bills(held: Held, name: str, unit: str) -> None:
    """Lists do not tell an open connection from audio."""
    result = held((name, {(SECOND, 0): "1"}))

    assert [one.place for one in result.differ] == [Place(f"acme/{name}", unit)]


@pytest.mark.parametrize(
    ("theirs", "same"),
    [
        ("71.67", True),  # 0.0043 / 60 is 71.666...
        ("71.7", True),
        ("72", False),  # two digits are a price of their own
        ("71.66", False),  # cut, not rounded
        ("80", False),
    ],
)
def test_rounded_seconds_agree(held: Held, *, theirs: str, same: bool) -> None:
    """To the digits that the list has, if it has enough of them."""
    result = held(("ear", {(SECOND, 0): theirs}), rounds_seconds=True)

    assert (result.differ == ()) is same


def test_only_seconds_of_lists_that_round_are_rounded(held: Held) -> None:
    """An exact list means what it says, and tokens are exact everywhere."""
    assert held(("ear", {(SECOND, 0): "71.67"})).differ
    assert held(("voice", {("output_token", 0): "16.04"}), rounds_seconds=True).differ


def test_noise_of_floats_is_no_difference(held: Held) -> None:
    """Some figures were once computed in binary."""
    assert held(("voice", {("cached_input_token", 0): "0.4000000000000001"})).differ == ()


def test_two_prices_for_one_of_ours_settle_nothing(held: Held) -> None:
    """Even where one of them is the same as ours."""
    result = held(
        ("mind", {("input_token", 0): "1", ("input_token", 200_000): "2"}),
        ("mind-2026-10-21", {("input_token", 0): "5", ("input_token", 200_000): "2"}),
    )

    assert [(one.place.over, one.settled, one.names) for one in result.differ] == [
        (0, False, ("mind-2026-10-21",))
    ]
    assert Place("acme/mind", "input_token") not in result.agree


def test_price_of_zero_has_no_ratio(written: Callable[[str], Catalogue]) -> None:
    """Free and not free are as far apart as can be."""
    catalogue = written(
        HEAD.replace("input: 4,", "input: 0,").replace(
            "cached_input: 0.4, output: 16", "output: 16"
        )
    )
    listed = Listed("acme", ("voice",), {("input_token", 0): Decimal(1)})

    [difference] = compare(catalogue, PriceList("test", "test", (listed,)), NOON).differ

    assert (difference.ratio, difference.size) == (None, Decimal(1))


def test_shipped_prices_agree_with_themselves(shipped: Catalogue) -> None:
    """Every entry that names a model is found again, and nothing is left over."""
    names = {
        id_: tuple(
            name.replace(DATE_MARK, "2026-10-21").replace("*", "x")
            for name in shipped.entries[id_].match
        )
        for id_ in shipped.entries
    }
    models = tuple(
        Listed(shipped.entries[id_].provider, names[id_], entry.prices)
        for id_, entry in charged(shipped, NOON).items()
        if names[id_]
    )

    result = compare(shipped, PriceList("self", "self", models), NOON)

    assert (result.differ, result.not_ours) == ((), ())
    assert len(result.agree) > 500
    assert {place.price_id for place in result.not_known} == {
        id_ for id_, matched in names.items() if not matched
    }
