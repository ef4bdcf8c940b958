"""What one report of usage adds: cost, quantities, and its row in the ledger."""

from typing import Final

from livekit_exporter import contract
from livekit_exporter.ledger.rows import (
    Batch,
    ModelKey,
    ModelSums,
    SessionRow,
    UsageRow,
    UserSums,
    user_key,
    utc_day,
)
from livekit_exporter.prices import pricing, rules
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.record import UsageEstimated, UsageReported
from livekit_exporter.sidecar.labels import CallLabels
from livekit_exporter.sidecar.registry import Labels, Staged

# Turn detection and the like are counted in requests and have no usage to report.
_REPORTING: Final = contract.REQUESTS_WITHOUT_USAGE.init_at_zero


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
        self._write(row, record, quote, (cost, float(quote.output_cost)), batch)
        return cost

    def estimate(
        self,
        row: SessionRow,
        record: UsageEstimated,
        base: Labels,
        batch: Batch,
        staged: Staged,
    ) -> None:
        """Count and write down what a vendor bills and no event reports, beside what was."""
        reported = record.as_reported()
        quote = pricing.price_record(self._catalogue, reported)
        cost = float(quote.cost)
        labels = (*base, record.reason, *self._labels.own(row, staged))
        staged.inc(contract.ESTIMATED_REQUESTS, labels, record.requests)
        staged.inc(contract.ESTIMATED_COST, labels, cost)
        used = self._write(row, reported, quote, (cost, float(quote.output_cost)), batch)
        used.source = "estimated"
        # Of a reply that was cut off some was heard; how much, its message says.
        if record.reason != "interrupted":
            used.waste_reason, used.wasted_usd = record.reason, cost

    def write_off(
        self,
        row: SessionRow,
        used: UsageRow,
        usd: float,
        why: str,
        batch: Batch,
        staged: Staged,
    ) -> float:
        """Note how much of a cost was for nothing.

        Args:
            row: The call.
            used: The usage row, of the ledger or of the batch.
            usd: How much of its cost nobody heard, US dollars.
            why: Reason of the waste.
            batch: What is written.
            staged: What is shown.

        Returns:
            The part of reported cost that was not known before, in US dollars.
        """
        known = used.wasted_usd
        if used.id is not None and used.id in batch.wasted:
            known, _ = batch.wasted[used.id]
        more = usd - known
        if more <= 0:
            return 0.0
        agent, *extra = self._labels.agent(row, staged)
        provider = self._labels.values.admit("provider", used.provider, staged)
        model = self._labels.values.admit("model", used.model, staged)
        counted = used.source == "reported"
        if counted:
            labels = (agent, used.stage, provider, model, why, *extra)
            staged.inc(contract.WASTED_COST, labels, more)
        if used.id is None:
            used.wasted_usd, used.waste_reason = usd, why
        else:
            batch.wasted[used.id] = (usd, why)
            product_of_day = ModelKey(
                utc_day(used.at), row.agent, used.stage, used.provider, used.model, used.source
            )
            batch.models.append((product_of_day, ModelSums(wasted_usd=more)))
            batch.users.append((user_key(row, used.at, used.source), UserSums(wasted_usd=more)))
        return more if counted else 0.0

    def _write(
        self,
        row: SessionRow,
        record: UsageReported,
        quote: pricing.Quote,
        sums: tuple[float, float],
        batch: Batch,
    ) -> UsageRow:
        cost, output = sums
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
            provider=self._labels.provider(record.provider, record.label),
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
            cost_usd=None if quote.status == "unpriced" else cost,
            output_usd=output,
            price=quote.price_id,
            prices_version=self._catalogue.version,
        )
        batch.usage.append(used)
        if record.speech is None:
            batch.unassigned.setdefault(row.session, []).append(used)
        return used


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
