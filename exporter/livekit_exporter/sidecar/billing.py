"""Prices reports of usage, counts them, and writes off what no caller heard."""

from typing import Final

from livekit_exporter import contract
from livekit_exporter.calls import waste
from livekit_exporter.ledger.read import InstanceReader
from livekit_exporter.ledger.rows import (
    ModelKey,
    ModelSums,
    SessionRow,
    TurnRow,
    UsageRow,
    UserSums,
    utc_day,
)
from livekit_exporter.prices import pricing, rules
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.record import UsageEstimated, UsageReported, at_least_one
from livekit_exporter.sidecar.transaction import CallSeries, Transaction

# Turn detection and the like are counted in requests and have no usage to report.
_REPORTING: Final = contract.REQUESTS_WITHOUT_USAGE.init_at_zero


class Billing:
    """Prices usage and adds it to a transaction.  Costs are US dollars.

    Args:
        catalogue: Prices in force.
        ledger: Read for usage rows of earlier transactions.
    """

    def __init__(self, catalogue: Catalogue, ledger: InstanceReader) -> None:
        self._catalogue = catalogue
        self._ledger = ledger

    def report(
        self, row: SessionRow, record: UsageReported, series: CallSeries, transaction: Transaction
    ) -> float:
        """Add what an event reported; return its cost, 0 without a price."""
        usage = record.usage
        used, quote = self._priced(row, record, series, transaction)
        row.unpriced_requests += _count_request(record, quote, series)
        if usage.total_tokens or usage.input_tokens or usage.output_tokens:
            for part, tokens in rules.token_buckets(usage).items():
                series.count(contract.TOKENS, tokens, *part)
        for family, amount in (
            (contract.CHARACTERS, usage.characters),
            (contract.AUDIO_SECONDS, usage.audio_seconds),
            (contract.CONNECTION_SECONDS, usage.connection_seconds),
        ):
            if amount:
                series.count(family, amount)
        cost = used.cost_usd or 0.0
        row.cost_usd += cost
        return cost

    def estimate(
        self, row: SessionRow, record: UsageEstimated, series: CallSeries, transaction: Transaction
    ) -> None:
        """Add an estimate, which is never added up with what was reported."""
        used, _ = self._priced(row, record.as_reported(), series, transaction)
        used.source = "estimated"
        cost = used.cost_usd or 0.0
        # Some of a reply that was cut off was heard; its message says how much.
        # An open connection was needed to hear anything at all.
        if record.reason not in ("interrupted", "open_connection"):
            used.waste_reason, used.wasted_usd = record.reason, cost
        series.count(contract.ESTIMATED_REQUESTS, record.requests, record.reason)
        series.count(contract.ESTIMATED_COST, cost, record.reason)

    def write_off(self, row: SessionRow, turn: TurnRow, transaction: Transaction) -> None:
        """Note which part of a reply's cost no caller heard."""
        why = waste.reason(turn)
        if why is not None:
            used = self.used(turn, transaction)
            for each, usd in zip(used, waste.unheard(turn, used), strict=True):
                self.write_off_row(row, turn, each, (usd, why), transaction)

    def used(self, turn: TurnRow, transaction: Transaction) -> list[UsageRow]:
        """Return the usage rows of a reply, those of the ledger first."""
        return [
            *self._ledger.usage_of(turn.session, turn.speech),
            *(
                used
                for used in transaction.rows.usage
                if used.speech == turn.speech and used.session == turn.session
            ),
        ]

    def write_off_row(
        self,
        row: SessionRow,
        turn: TurnRow,
        used: UsageRow,
        wasted: tuple[float, str],
        transaction: Transaction,
    ) -> None:
        """Raise the wasted part of a usage row, and of all sums that it is in.

        Args:
            row: The call.
            turn: The reply.
            used: The usage row, of the ledger or of the transaction.
            wasted: US dollars, and why.
            transaction: What is changed.
        """
        rows = transaction.rows
        rows.turns[row.session, turn.speech] = turn
        usd, why = wasted
        known = used.wasted_usd
        if used.id is not None and used.id in rows.wasted:
            known, _ = rows.wasted[used.id]
        more = usd - known
        if more <= 0:
            return
        series = transaction.model(row, used.stage, used.provider, used.model)
        if used.source == "reported":
            series.count(contract.WASTED_COST, more, why)
            turn.wasted_usd += more
            row.wasted_usd += more
        if used.id is None:
            used.wasted_usd, used.waste_reason = usd, why
            return
        rows.wasted[used.id] = wasted
        day = utc_day(used.at)
        model = ModelKey(day, row.agent, used.stage, used.provider, used.model, used.source)
        rows.models.append((model, ModelSums(wasted_usd=more)))
        rows.add_up(row, used.at, UserSums(wasted_usd=more), used.source)

    def _priced(
        self, row: SessionRow, record: UsageReported, series: CallSeries, transaction: Transaction
    ) -> tuple[UsageRow, pricing.Quote]:
        """Price a report and make its row."""
        quote = pricing.price_record(self._catalogue, record)
        used = UsageRow(
            session=row.session,
            at=record.at,
            agent=row.agent,
            user=row.user,
            labels=row.labels,
            speech=record.speech,
            turn=record.speech,
            persona=record.persona,
            stage=record.stage,
            provider=series.provider,
            model=record.model,
            reported_provider=record.provider,
            label=record.label,
            request=record.request,
            requests=record.requests,
            cancelled=record.cancelled,
            streamed=record.streamed,
            connection=record.connection,
            usage=record.usage,
            first_seconds=record.first_seconds,
            request_seconds=record.request_seconds,
            status=quote.status,
            cost_usd=None if quote.status == "unpriced" else float(quote.cost),
            output_usd=float(quote.output_cost),
            price=quote.price_id,
            prices_version=self._catalogue.version,
            phase=None if record.phase == "call" else record.phase,
        )
        transaction.rows.usage.append(used)
        if record.speech is None and record.phase == "call":
            transaction.rows.unassigned.setdefault(row.session, []).append(used)
        return used, quote


def _count_request(record: UsageReported, quote: pricing.Quote, series: CallSeries) -> int:
    """Count a request by the answer of the catalogue; return how many have no price."""
    requests = record.requests
    if requests:
        series.count(contract.REQUESTS, requests)
    if record.cancelled:
        series.count(contract.REQUESTS_CANCELLED)
    if quote.why == "no_usage" and requests and record.stage in _REPORTING:
        series.count(contract.REQUESTS_WITHOUT_USAGE, requests)
    # A report of a stream counts as one, though it is no request.
    counted = at_least_one(requests)
    if quote.free:
        series.count(contract.FREE_REQUESTS, counted)
    if quote.status == "priced":
        series.count(contract.COST, float(quote.cost))
    if quote.status != "unpriced":
        return 0
    series.count(contract.UNPRICED_REQUESTS, counted)
    return counted
