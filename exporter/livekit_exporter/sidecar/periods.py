"""Sums up the spend of the current day and month by agent, exactly, from the ledger."""

from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Final, TypeAlias

from livekit_exporter.record import Source

PERIODS: Final = ("day", "month")

Sums: TypeAlias = dict[tuple[str, Source], float]
"""US dollars by agent and source; reported and estimated usage are never added up."""


def period_start(period: str, now: float, zone: tzinfo) -> float:
    """Return when the current day or month began in a time zone, Unix seconds."""
    midnight = datetime.fromtimestamp(now, zone).replace(
        hour=0, minute=0, second=0, microsecond=0, fold=0
    )
    return (midnight.replace(day=1) if period == "month" else midnight).timestamp()


class Spend:
    """Keeps sums in step with the ledger: reads them once a period, then adds to them.

    Args:
        spent_since: Reads the cost of usage at or after a Unix time from the ledger.
        zone: Time zone in which days and months begin.
    """

    def __init__(self, spent_since: Callable[[float], Sums], zone: tzinfo) -> None:
        self._spent_since = spent_since
        self._zone = zone
        self._starts: dict[str, float] = {}
        self._sums: dict[str, Sums] = {period: {} for period in PERIODS}

    def follow(self, now: float) -> None:
        """Begin a new period when its time has come, or when the clock was set back."""
        for period in PERIODS:
            start = period_start(period, now, self._zone)
            if self._starts.get(period) != start:
                self._sums[period] = self._spent_since(start)
                self._starts[period] = start

    def add(self, at: float, agent: str, source: Source, usd: float) -> None:
        """Count usage that has just been committed."""
        for period, start in self._starts.items():
            if at >= start:
                sums = self._sums[period]
                sums[agent, source] = sums.get((agent, source), 0.0) + usd

    def of(self, period: str, source: Source) -> dict[str, float]:
        """Return the spend of the current period by agent, in US dollars."""
        sums = self._sums[period]
        return {agent: usd for (agent, known), usd in sums.items() if known == source}
