"""Quotes for single metrics objects, as LiveKit dumps them, by the code that prices calls."""

import json
import time
from datetime import UTC, datetime
from types import SimpleNamespace

from livekit_exporter.agent.events import read_event
from livekit_exporter.agent.fields import Moment, UnreadableError
from livekit_exporter.prices import pricing
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.pricing import WHY, Quote, Source
from livekit_exporter.record import EARLIEST, LATEST, UsageReported


class QuoteError(Exception):
    """A line that cannot be priced; the message says why."""


def quote(line: str, catalogue: Catalogue) -> dict[str, object]:
    """Price one line: a metrics object as JSON, with an optional `at` in ISO 8601.

    Without `at` the object's own timestamp counts, and without that the clock.

    Returns:
        `status`, `cost_usd` (decimal text, `None` where it is not known), `price_id`, the
        `block` of the entry that was used, `parts`, and `why` there is no cost: ready for JSON.

    Raises:
        QuoteError: It is no JSON object, no metrics, or its `at` is no time.
    """
    try:
        metrics = json.loads(line, object_hook=lambda pairs: SimpleNamespace(**pairs))
    except (ValueError, RecursionError) as error:
        raise QuoteError("no JSON; write one metrics object per line") from error
    if not isinstance(metrics, SimpleNamespace):
        raise QuoteError("no JSON object; write one metrics object per line")
    now = metrics.timestamp = _at(metrics)
    try:
        records = read_event("metrics_collected", metrics, Moment(session="quote", now=now))
    except UnreadableError as error:
        if error.reason == "malformed_quantity":
            return _answer(Quote("unpriced", why="impossible_usage"))
        kind = getattr(metrics, "type", None)
        raise QuoteError(f"cannot read metrics of type '{kind}': {error.reason}") from error
    usage = [record for record in records if isinstance(record, UsageReported)]
    if not usage:
        return _answer(Quote("nothing_to_bill", why="no_usage"))
    [record] = usage
    return _answer(pricing.price_record(catalogue, record))


def _answer(quoted: Quote) -> dict[str, object]:
    return {
        "status": quoted.status,
        # An unknown cost is null, not zero.
        "cost_usd": None if quoted.status == "unpriced" else f"{quoted.cost:f}",
        "price_id": quoted.price_id,
        "block": None if quoted.source is None else _block(quoted.source),
        "parts": [
            {
                "quantity": f"{part.quantity:f}",
                "unit": part.unit,
                "unit_price_usd": f"{part.unit_price:f}",
                "cost_usd": f"{part.cost:f}",
            }
            for part in quoted.parts
        ],
        "why": WHY[quoted.why],
    }


def _block(source: Source) -> dict[str, object]:
    """Describe the prices of the entry that were used, with their source."""
    block = source.block
    return {
        "basis": source.basis,
        "valid_from": block.valid_from.isoformat() if block.valid_from else None,
        "above_input_tokens": source.over if source.over >= 0 else None,
        "time_of_day": source.charges.hours or None,
        "source": block.source,
        "checked": block.checked.isoformat(),
        "confidence": block.confidence,
    }


def _at(metrics: SimpleNamespace) -> float:
    """Return the time of the event, Unix seconds."""
    said = getattr(metrics, "at", None)
    at: object = getattr(metrics, "timestamp", None)
    if said is not None:
        try:
            moment = datetime.fromisoformat(said)
        except (TypeError, ValueError) as error:
            raise QuoteError(f"'at' is '{said}', no time; write it as 2026-10-21T12:00Z") from error
        at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if isinstance(at, (int, float)) and EARLIEST <= at <= LATEST:
        return float(at)
    return time.time()
