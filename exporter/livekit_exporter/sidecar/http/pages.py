"""Reads what the pages show from the registry and the ledger of a running sidecar."""

import time
from collections.abc import Iterable
from contextlib import suppress
from decimal import Decimal

from livekit_exporter.ledger.store import Ledger, LedgerError
from livekit_exporter.sidecar.http.call_page import CallView
from livekit_exporter.sidecar.http.landing import Overview, OverviewRow, PeriodSpend, usd
from livekit_exporter.sidecar.http.spend_api import DaySpend, SpendQuestion
from livekit_exporter.sidecar.ingest import Ingest
from livekit_exporter.sidecar.periods import period_start
from livekit_exporter.sidecar.registry import Exposition, Registry


class SidecarPages:
    """The content of all pages; implements `routes.PageSource`.

    Args:
        ingest: Has the ledger and the settings in force.
        registry: Has the metrics.
    """

    def __init__(self, ingest: Ingest, registry: Registry) -> None:
        self._ingest = ingest
        self._registry = registry
        self._started = time.monotonic()
        self._day_spend = DaySpend()

    def render(self, accept: str) -> Exposition:
        """Render the metrics in the format that an `Accept` header asks for."""
        return self._registry.render(accept)

    def problem(self) -> str | None:
        """Say why the sidecar is not ready; `None` when it is."""
        return self._ingest.problem()

    def overview(self) -> Overview:
        """Read the figures of the landing page; zero where the ledger cannot be read."""
        config, ledger = self._ingest.config, self._ingest.ledger
        day = PeriodSpend(budget=config.budget.day_usd)
        month = PeriodSpend(budget=config.budget.month_usd)
        rows: tuple[OverviewRow, ...] = ()
        active = 0
        if ledger is not None:
            with suppress(LedgerError):  # /-/ready says why
                now = time.time()
                today = period_start("day", now, config.zone)
                day = _spend(ledger, today, day.budget)
                month = _spend(ledger, period_start("month", now, config.zone), month.budget)
                rows = _rows(ledger.models(today))
                active = sum(row.closed_at is None for row in ledger.open_sessions())
        return Overview(
            data_dir=str(config.data_dir),
            timezone=config.timezone,
            uptime_seconds=time.monotonic() - self._started,
            active_sessions=active,
            day=day,
            month=month,
            rows=rows,
        )

    def call(self, session: str) -> CallView | None:
        """Read one call; `None` when the ledger does not have it.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        ledger = self._ingest.ledger
        row = None if ledger is None else ledger.session(session)
        if ledger is None or row is None:
            return None
        models = _rows(ledger.models(0.0, session=session))
        estimated = usd(ledger.estimated_usd(session))
        return CallView(row, ledger.turns(session), models, self._ingest.config.zone, estimated)

    def spend(self, question: SpendQuestion) -> dict[str, object] | None:
        """Answer a question of the spend API; `None` while the ledger cannot be read."""
        ledger, config = self._ingest.ledger, self._ingest.config
        if ledger is None:
            return None
        try:
            return self._day_spend.answer(ledger, config.zone, config.timezone, question)
        except LedgerError:  # /-/ready says why
            return None


def _spend(ledger: Ledger, since: float, budget: Decimal | None) -> PeriodSpend:
    """Read the spend of all agents since a Unix time."""
    sums = {"reported": 0.0, "estimated": 0.0}
    for (_, source), spent in ledger.spend(since).items():
        sums[source] += spent
    return PeriodSpend(usd(sums["reported"]), usd(sums["estimated"]), budget)


def _rows(models: Iterable[tuple[str, str, str, int, int, float]]) -> tuple[OverviewRow, ...]:
    """Make the rows of a table of models, in its order."""
    return tuple(
        OverviewRow(
            stage=stage,
            provider=provider,
            model=model,
            requests=requests,
            cost_usd=usd(cost),
            unpriced=unpriced,
        )
        for stage, provider, model, requests, unpriced, cost in sorted(models)
    )
