"""Spend of the current day and month: exact, from the ledger, by agent."""

from datetime import datetime, tzinfo
from typing import Final, Protocol, TypeAlias

from livekit_exporter.record import Source

PERIODS: Final = ("day", "month")


Sums: TypeAlias = dict[tuple[str, Source], float]
"""US dollars by agent, what was reported apart from what is estimated."""


class SpendSource(Protocol):
    """Where sums of earlier usage come from."""

    def spend(self, since: float) -> Sums:
        """Cost of usage at or after a Unix time."""
        ...


def period_start(period: str, now: float, zone: tzinfo) -> float:
    """When the current day or month began in a time zone, Unix seconds."""
    midnight = datetime.fromtimestamp(now, zone).replace(
        hour=0, minute=0, second=0, microsecond=0, fold=0
    )
    return (midnight.replace(day=1) if period == "month" else midnight).timestamp()


class Spend:
    """Sums that follow the ledger: read once a period, then added to.

    Args:
        source: The ledger.
        zone: Time zone in which days and months begin.
    """

    def __init__(self, source: SpendSource, zone: tzinfo) -> None:
        self._source = source
        self._zone = zone
        self._starts: dict[str, float] = {}
        self._sums: dict[str, Sums] = {period: {} for period in PERIODS}

    def follow(self, now: float) -> None:
        """Begin a new period when its time has come, also when the clock was set back."""
        for period in PERIODS:
            start = period_start(period, now, self._zone)
            if self._starts.get(period) != start:
                self._sums[period] = self._source.spend(start)
                self._starts[period] = start

    def add(self, at: float, agent: str, source: Source, usd: float) -> None:
        """Count usage that has just been committed."""
        for period, start in self._starts.items():
            if at >= start:
                sums = self._sums[period]
                sums[agent, source] = sums.get((agent, source), 0.0) + usd

    def of(self, period: str, source: Source) -> dict[str, float]:
        """Spend of the current period by agent, in US dollars."""
        sums = self._sums[period]
        return {agent: usd for (agent, known), usd in sums.items() if known == source}
