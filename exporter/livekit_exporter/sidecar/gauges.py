"""Computes the gauges of the page from the state of the sidecar at one moment."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Final

from livekit_exporter import __version__, contract
from livekit_exporter.contract import Family
from livekit_exporter.ledger.rows import Backlog
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.record import Source
from livekit_exporter.sidecar.registry import Labels

_BUILD: Final = (__version__, platform.python_version())


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarState:
    """State of the sidecar that the gauges show.

    Args:
        agents: Every agent on the page; one without calls and spend shows zero.
        active: Calls going on, by agent.
        spend: Spend of the current period in US dollars, by period and source, then agent.
        budgets: Spend allowed in US dollars, by period.
        models: Stage, provider and model in use.
        journal_files: Journals in the data directory.
        lag_bytes: Bytes in journals that are not in the ledger.
        ledger_bytes: Size of the ledger.
        last_record_at: Time of the newest record, Unix seconds.
        backlog: Calls to be delivered to the webhook.
        reloaded: The last attempt to load the configuration succeeded.
        reloaded_at: Time of the last one that succeeded, Unix seconds.
    """

    agents: frozenset[str] = frozenset()
    active: Mapping[str, float] = field(default_factory=dict)
    spend: Mapping[tuple[str, Source], Mapping[str, float]] = field(default_factory=dict)
    budgets: Mapping[str, Decimal] = field(default_factory=dict)
    models: frozenset[Labels] = frozenset()
    journal_files: int = 0
    lag_bytes: int = 0
    ledger_bytes: int = 0
    last_record_at: float | None = None
    backlog: Backlog = field(default_factory=Backlog)
    reloaded: bool = True
    reloaded_at: float = 0.0


def gauges(
    moment: SidecarState, catalogue: Catalogue, now: float
) -> dict[Family, dict[Labels, float]]:
    """Return all gauges, with the prices in force at `now`."""
    prices, oldest = _prices(moment.models, catalogue, now)
    shown: dict[Family, dict[Labels, float]] = {
        contract.ACTIVE_SESSIONS: {
            (agent,): moment.active.get(agent, 0) for agent in sorted(moment.agents)
        },
        contract.PERIOD_COST: {
            (agent, period, source): sums.get(agent, 0.0)
            for (period, source), sums in moment.spend.items()
            for agent in sorted(moment.agents)
        },
        contract.BUDGET: {(period,): float(usd) for period, usd in moment.budgets.items()},
        contract.PRICE: prices,
        contract.BUILD_INFO: {_BUILD: 1.0},
        contract.JOURNAL_FILES: {(): moment.journal_files},
        contract.JOURNAL_LAG: {(): moment.lag_bytes},
        contract.LEDGER_BYTES: {(): moment.ledger_bytes},
        contract.WEBHOOK_PENDING: {(): moment.backlog.pending},
        contract.RELOAD_SUCCESSFUL: {(): float(moment.reloaded)},
        contract.RELOAD_TIMESTAMP: {(): moment.reloaded_at},
        contract.PRICES_INFO: {(catalogue.version,): 1.0},
    }
    if moment.last_record_at is not None:
        shown[contract.LAST_RECORD] = {(): moment.last_record_at}
    if moment.backlog.oldest is not None:
        shown[contract.WEBHOOK_OLDEST] = {(): moment.backlog.oldest}
    if oldest is not None:
        checked = datetime.combine(oldest, time(), UTC)
        shown[contract.PRICES_OLDEST_CHECK] = {(): checked.timestamp()}
    return shown


def _prices(
    models: frozenset[Labels], catalogue: Catalogue, now: float
) -> tuple[dict[Labels, float], date | None]:
    """Return the prices in force of the models in use, and the date of the oldest check."""
    shown: dict[Labels, float] = {}
    checked: list[date] = []
    for stage, provider, model in sorted(models):
        # `unknown` is the label of a plugin that names no model, and the catalogue prices that.
        entry = catalogue.find(stage, provider, model)
        prices = catalogue.prices_of(entry, now) if entry is not None else None
        if prices is None:
            continue
        checked.append(prices.checked)
        for unit, usd in prices.rates.items():
            shown[stage, provider, model, unit] = float(usd)
    return shown, min(checked, default=None)
