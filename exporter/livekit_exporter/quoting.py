"""Prices single metrics objects, as LiveKit dumps them, with the code that prices calls."""

import json
import time
from datetime import UTC, datetime
from types import SimpleNamespace

from livekit_exporter.agent.normalize import Moment, UnreadableError, read_event
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.pricing import price
from livekit_exporter.record import EARLIEST, LATEST, UsageReported


class QuoteError(Exception):
    """A line that cannot be priced; the message says why."""


def quote(line: str, catalogue: Catalogue) -> dict[str, object]:
    """Price one line: a metrics object as JSON, with an optional `at` in ISO 8601.

    Without `at` the object's own timestamp counts, and without that the clock.

    Returns:
        `status`, `cost_usd` (decimal text), `price_id` and `parts`, ready for JSON.

    Raises:
        QuoteError: It is no JSON object, no metrics, or its `at` or a quantity is no such.
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
        kind = getattr(metrics, "type", None)
        raise QuoteError(f"cannot read metrics of type '{kind}': {error.reason}") from error
    usage = [record for record in records if isinstance(record, UsageReported)]
    if not usage:
        return {"status": "nothing_to_bill", "cost_usd": "0", "price_id": None, "parts": []}
    [record] = usage
    quoted = price(
        catalogue,
        stage=record.stage,
        provider=record.provider,
        model=record.model,
        label=record.label,
        usage=record.usage,
        at=record.at,
        streamed=record.streamed,
        connection=record.connection,
    )
    return {
        "status": quoted.status,
        "cost_usd": f"{quoted.cost:f}",
        "price_id": quoted.price_id,
        "parts": [
            {
                "quantity": f"{part.quantity:f}",
                "unit": part.unit,
                "unit_price_usd": f"{part.unit_price:f}",
                "cost_usd": f"{part.cost:f}",
            }
            for part in quoted.parts
        ],
    }


def _at(metrics: SimpleNamespace) -> float:
    """When it happened, Unix seconds."""
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
