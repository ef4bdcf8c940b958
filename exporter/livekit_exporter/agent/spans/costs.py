"""The cost of a record of usage in the form that spans carry it."""

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from livekit_exporter.calls.account import atto
from livekit_exporter.record import Stage, UsageReported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from livekit_exporter.prices.pricing import Quote
    from livekit_exporter.prices.units import Bucket

ATTO: Final = 10**18
"""Costs on spans are whole numbers of 1e-18 USD: their sums are exact, and `123e-18` is a JSON
number with every digit of it."""


class SpanCost(NamedTuple):
    """The usage of one record and its cost.

    Args:
        stage: Stage of the record.
        model: As the plugin names it.
        atto: Cost in 1e-18 USD; 0 without a price.
        priced: The catalogue has a price.
        usage: Inside of a JSON object: quantities by kind of usage, each unit once.
    """

    stage: Stage
    model: str
    atto: int
    priced: bool
    usage: str


def of_record(record: UsageReported, quote: "Quote") -> SpanCost | None:
    """Read the cost of a record off its quote; `None` where there is nothing to bill."""
    from livekit_exporter.prices import rules
    from livekit_exporter.prices.explain.langfuse import CHARACTERS

    if quote.status == "nothing_to_bill":
        return None
    by_token = any(part.unit.endswith("_token") for part in quote.parts)
    if record.usage.characters and not by_token:
        usage = f'"{CHARACTERS}":{record.usage.characters}'
    else:
        usage = _tokens(rules.token_buckets(record.usage))
    priced = quote.status == "priced"
    return SpanCost(record.stage, record.model, atto(quote.cost), priced, usage)


def together(one: SpanCost, other: SpanCost) -> SpanCost:
    """Add two records of one request, such as two segments of a stream of speech."""
    total: dict[str, int] = json.loads(f"{{{one.usage}}}")
    for name, amount in json.loads(f"{{{other.usage}}}").items():
        total[name] = total.get(name, 0) + amount
    return one._replace(
        atto=one.atto + other.atto,
        priced=one.priced or other.priced,
        usage=json.dumps(total)[1:-1],
    )


def _tokens(buckets: "Mapping[Bucket, int]") -> str:
    from livekit_exporter.prices.explain.langfuse import usage_name

    return ",".join(f'"{usage_name(bucket)}":{tokens}' for bucket, tokens in buckets.items())
