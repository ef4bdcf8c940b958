"""The shape of `compiled.json`: checked prices, as text in the units of the vendors' pages."""

from typing import Final, NotRequired, TypeAlias, TypedDict

from livekit_exporter.prices.units import Basis, Confidence, Kind
from livekit_exporter.record import Stage

FILE_NAME: Final = "compiled.json"

PerMillion: TypeAlias = dict[Kind, str]
"""USD per million tokens, by kind, as decimal text."""


class CompiledTier(TypedDict):
    """Token prices for requests with more than `over` input tokens."""

    over: NotRequired[int]
    per_1m: PerMillion
    audio_per_1m: NotRequired[PerMillion]
    image_per_1m: NotRequired[PerMillion]


class CompiledCharges(TypedDict):
    """Charges: tiers for tokens, else `usd` for `per` units."""

    tiers: NotRequired[list[CompiledTier]]
    usd: NotRequired[str]
    per: NotRequired[int]


# Not as a class, because `from` is a word of Python.
CompiledWindow = TypedDict(
    "CompiledWindow",
    {
        "from": str,
        "until": str,
        "tiers": NotRequired[list[CompiledTier]],
        "usd": NotRequired[str],
        "per": NotRequired[int],
    },
)
"""What is charged in some hours of every day, as `16:30`, UTC."""


class CompiledBlock(CompiledCharges):
    """Charges from `valid_from` on, outside of the hours of `time_of_day`."""

    valid_from: NotRequired[str]
    source: str
    checked: str
    confidence: NotRequired[Confidence]
    time_of_day: NotRequired[list[CompiledWindow]]


class CompiledTariff(TypedDict):
    """A billing basis and its dated prices, oldest first."""

    basis: Basis
    prices: list[CompiledBlock]


class CompiledEntry(TypedDict):
    """One priced thing of one provider."""

    id: str
    stage: Stage
    match: list[str]
    tariffs: list[CompiledTariff]
    free: NotRequired[str]
    min_seconds_per_request: NotRequired[str]
    round_up_seconds: NotRequired[int]


class CompiledProvider(TypedDict):
    """Names of a provider in events, and its entries for models that plugins do not name."""

    hosts: NotRequired[list[str]]
    names: NotRequired[list[str]]
    labels: NotRequired[list[str]]
    defaults: NotRequired[dict[Stage, str]]


class CompiledLeg(TypedDict):
    """A price that calls have by their length, where their labels are as `when` says."""

    price: str
    when: dict[str, str]


class CompiledCatalogue(TypedDict):
    """The whole file."""

    schema: int
    version: str
    providers: dict[str, CompiledProvider]
    entries: list[CompiledEntry]
    legs: NotRequired[list[CompiledLeg]]
