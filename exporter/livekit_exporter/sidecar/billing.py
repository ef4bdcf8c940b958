"""What one report of usage adds: cost, quantities, and its row in the ledger."""

from operator import attrgetter
from typing import Final

from livekit_exporter import contract
from livekit_exporter.ledger.rows import Batch, SessionRow
from livekit_exporter.ledger.schema import QUANTITIES
from livekit_exporter.ledger.store import utc_day
from livekit_exporter.prices import pricing, rules
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.record import UsageReported
from livekit_exporter.sidecar.labels import CallLabels
from livekit_exporter.sidecar.registry import Labels, Staged

_QUANTITIES: Final = tuple(name for name, _ in QUANTITIES)
# Turn detection and the like are counted in requests and have no usage to report.
_REPORTING: Final = contract.REQUESTS_WITHOUT_USAGE.born
_quantities: Final = attrgetter(*_QUANTITIES)


class Billing:
    """Prices usage and writes it down.

    Args:
        catalogue: Prices in force.
        labels: Labels of the calls.
    """

    def __init__(self, catalogue: Catalogue, labels: CallLabels) -> None:
        self._catalogue = catalogue
        self._labels = labels

    def take(
        self,
        row: SessionRow,
        record: UsageReported,
        base: Labels,
        batch: Batch,
        staged: Staged,
    ) -> float:
        """Count one report; its cost in US dollars, 0 without a price."""
        usage = record.usage
        quote = pricing.price_record(self._catalogue, record)
        cost = float(quote.cost)
        extra = self._labels.own(row, staged)
        labels = (*base, *extra)
        unpriced = _count_answer(record, quote, labels, staged)
        row.unpriced_requests += unpriced
        if usage.total_tokens or usage.input_tokens or usage.output_tokens:
            for part, tokens in rules.token_buckets(usage).items():
                staged.inc(contract.TOKENS, (*base, *part, *extra), tokens)
        for family, amount in (
            (contract.CHARACTERS, usage.characters),
            (contract.AUDIO_SECONDS, usage.audio_seconds),
            (contract.CONNECTION_SECONDS, usage.connection_seconds),
        ):
            if amount:
                staged.inc(family, labels, amount)
        row.cost_usd += cost
        output = sum(part.cost for part in quote.parts if part.unit.startswith("output"))
        self._write(row, record, quote, (cost, float(output), unpriced), batch)
        return cost

    def _write(
        self,
        row: SessionRow,
        record: UsageReported,
        quote: pricing.Quote,
        sums: tuple[float, float, int],
        batch: Batch,
    ) -> None:
        cost, output, unpriced = sums
        usage = record.usage
        provider = self._labels.provider(record.provider, record.label)
        batch.usage.append(
            {
                "session": row.session,
                "at": record.at,
                "agent": row.agent,
                "speech": record.speech,
                "persona": record.persona,
                "stage": record.stage,
                "provider": provider,
                "model": record.model,
                "reported_provider": record.provider,
                "label": record.label,
                "request": record.request,
                "requests": record.requests,
                "cancelled": record.cancelled,
                "streamed": record.streamed,
                "connection": record.connection,
                **dict(zip(_QUANTITIES, _quantities(usage), strict=True)),
                "first_seconds": record.first_seconds,
                "request_seconds": record.request_seconds,
                "status": quote.status,
                "cost_usd": None if quote.status == "unpriced" else cost,
                "output_usd": output,
                "price": quote.price_id,
                "prices_version": self._catalogue.version,
            }
        )
        day = (utc_day(record.at), row.agent, record.stage, provider, record.model)
        # In the order of `ledger.store.DAILY_SUMS`.
        added = (
            record.requests,
            unpriced,
            usage.input_tokens,
            usage.output_tokens,
            usage.characters,
            usage.audio_seconds,
            usage.connection_seconds,
            cost,
        )
        held = batch.daily.get(day)
        batch.daily[day] = (
            list(added)
            if held is None
            else [old + new for old, new in zip(held, added, strict=True)]
        )


def _count_answer(
    record: UsageReported, quote: pricing.Quote, labels: Labels, staged: Staged
) -> int:
    """Count the request by what the catalogue answered; returns how many have no price."""
    requests = record.requests
    if requests:
        staged.inc(contract.REQUESTS, labels, requests)
    if record.cancelled:
        staged.inc(contract.REQUESTS_CANCELLED, labels)
    if quote.why == "no_usage" and requests and record.stage in _REPORTING:
        staged.inc(contract.REQUESTS_WITHOUT_USAGE, labels, requests)
    if quote.free:
        staged.inc(contract.FREE_REQUESTS, labels, max(requests, 1))
    if quote.status == "priced":
        staged.inc(contract.COST, labels, float(quote.cost))
    if quote.status != "unpriced":
        return 0
    staged.inc(contract.UNPRICED_REQUESTS, labels, max(requests, 1))
    return max(requests, 1)
