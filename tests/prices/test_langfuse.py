"""The catalogue as Langfuse's definitions: every name meets its own price, or none."""

import re
from collections.abc import Iterator

from livekit_exporter.prices import entries
from livekit_exporter.prices.catalogue import Catalogue, load
from livekit_exporter.prices.entries import Entry, Provider
from livekit_exporter.prices.explain import langfuse
from livekit_exporter.prices.units import TOKEN_UNIT

CATALOGUE = load()
MADE, LEFT = langfuse.definitions(CATALOGUE)


def names() -> Iterator[tuple[Entry, str]]:
    """Names that models of the catalogue have, each with what the catalogue prices it by."""
    for entry in CATALOGUE.entries.values():
        for pattern in entry.match:
            for date in ("2026-01-31", "20261021"):
                name = pattern.replace("<date>", date)
                model = f"{name[:-1]}-voice" if name.endswith("*") else name
                found = CATALOGUE.find(entry.stage, entry.provider, model)
                assert found is not None
                yield found, model


NAMES = list(names())
PATTERNS = [(str(made["modelName"]), re.compile(str(made["matchPattern"]))) for made in MADE]


def matching(name: str) -> set[str]:
    """What Langfuse takes a model for."""
    return {model for model, pattern in PATTERNS if pattern.search(name)}


def test_every_entry_is_made_or_left_out_with_a_reason() -> None:
    """Nothing is forgotten."""
    made = {str(definition["modelName"]) for definition in MADE}
    left = {entry for entry, why in LEFT if why}

    assert made | left == set(CATALOGUE.entries)
    assert not made & left
    assert len(made) > 100


def test_a_name_meets_one_price_and_the_right_one() -> None:
    """Whoever sells a model of that name, Langfuse's price is the catalogue's."""
    met_by_any = 0
    for entry, name in NAMES:
        met = matching(name)
        assert len(met) <= 1, name
        for model in met:
            met_by_any += 1
            assert langfuse.prices_of(CATALOGUE.entries[model]) == langfuse.prices_of(entry), name
        # A name that is left out is left out for everybody.
        assert met or entry.id in {left for left, _ in LEFT}, name
    assert met_by_any > 300


def test_a_pattern_matches_whole_names_only() -> None:
    """No other model hides in front of a name or behind it."""
    for model, pattern in PATTERNS:
        entry = CATALOGUE.entries[model]
        own = [name for found, name in NAMES if found is entry]
        assert own, model
        for name in own:
            assert pattern.search(name), name
            assert not pattern.search(f"my-{name}"), name
            assert not pattern.search(f"{name}\nx"), name
            if not any(declared.endswith("*") for declared in entry.match):
                assert not pattern.search(f"{name}-mini"), name


def test_a_definition_is_what_langfuse_takes() -> None:
    """Whole: one tier, with a price for each kind of usage that is on a span."""
    catalogue = Catalogue("test", [Provider("a")], [entry("a/m", "m-<date>", "2")])
    ((definition,), left) = langfuse.definitions(catalogue)

    tiers = definition.pop("pricingTiers")
    assert isinstance(tiers, list)
    (tier,) = tiers
    prices = tier.pop("prices")
    assert not left
    assert definition == {
        "modelName": "a/m",
        "matchPattern": "^(?:m-20[0-9]{2}(?:-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
        "|(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])))$",
        "unit": "TOKENS",
    }
    assert tier == {"name": "Standard", "isDefault": True, "priority": 0, "conditions": []}
    assert {name: prices[name] for name in ("input", "input_cached_tokens", "output")} == {
        "input": 2e-06,
        "input_cached_tokens": 2e-06,
        "output": 2e-06,
    }
    assert set(prices) == {langfuse.usage_name(bucket) for bucket in TOKEN_UNIT}


def entry(name: str, match: str, usd: str) -> Entry:
    """One that charges the same for every token."""
    return entries.entry(
        {
            "id": name,
            "stage": "llm",
            "match": [match],
            "tariffs": [
                {
                    "basis": "tokens",
                    "prices": [
                        {
                            "source": "a page",
                            "checked": "2026-11-01",
                            "tiers": [{"per_1m": {"input": usd, "output": usd}}],
                        }
                    ],
                }
            ],
        }
    )


def made_of(*sold: Entry) -> dict[str, str]:
    """Patterns by entry."""
    providers = sorted({one.provider for one in sold})
    catalogue = Catalogue("test", map(Provider, providers), sold)
    return {
        str(definition["modelName"]): str(definition["matchPattern"])
        for definition in langfuse.definitions(catalogue)[0]
    }


def test_a_longer_beginning_is_closer() -> None:
    """As in the catalogue, whose longest declared prefix wins, and an exact name before it."""
    made = made_of(
        entry("a/all", "m*", "1"), entry("a/large", "m-large*", "2"), entry("a/one", "m.1+x", "3")
    )

    found = {
        name: [one for one, pattern in made.items() if re.search(pattern, name)]
        for name in ("m-x", "m-large-2", "m.1+x", "m.11x", "m")
    }
    assert found == {
        "m-x": ["a/all"],
        "m-large-2": ["a/large"],
        "m.1+x": ["a/one"],
        "m.11x": ["a/all"],
        "m": [],
    }


def test_one_name_at_two_prices_has_none() -> None:
    """Langfuse does not ask who served it."""
    same = made_of(entry("a/m", "m-1", "1"), entry("b/m", "m-*", "1"))
    dearer = made_of(entry("a/m", "m-1", "1"), entry("b/m", "m-*", "2"), entry("b/other", "n", "2"))

    assert same == {"a/m": "^(?:m-1|m-.+)$"}
    assert set(dearer) == {"b/other"}
