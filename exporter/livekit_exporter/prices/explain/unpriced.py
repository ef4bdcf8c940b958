"""Usage of a model that has no price, summed up."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from livekit_exporter.prices import rules
from livekit_exporter.prices.explain.words import counted
from livekit_exporter.prices.pricing import WHY, Why
from livekit_exporter.prices.units import BASES, BASIS_UNIT, TOKEN_UNIT
from livekit_exporter.record import Stage, Usage


@dataclass(slots=True)
class Unpriced:
    """Usage of one model that has no price, for one reason."""

    stage: Stage
    provider: str
    """As the catalogue names it."""
    reported: str
    """The provider as the plugin names it, of several names of one provider the first."""
    model: str
    label: str
    """Class path of the plugin."""
    why: Why
    since: float
    """Unix time of the first of it."""
    last: float
    requests: int = 0
    usage: dict[str, float] = field(default_factory=dict)
    """Quantities by unit; units of tokens exclude one another."""

    def add(self, usage: Usage, requests: int, since: float, last: float) -> None:
        """Count usage in."""
        self.since, self.last = min(self.since, since), max(self.last, last)
        self.requests += requests
        for unit, quantity in _quantities(usage).items():
            self.usage[unit] = self.usage.get(unit, 0) + quantity

    @property
    def used(self) -> str:
        """Its usage in a line."""
        return ", ".join(
            counted(f"{quantity:,.{1 if unit.endswith('second') else 0}f}", unit)
            for unit, quantity in self.usage.items()
        )

    @property
    def days(self) -> str:
        """The days on which it was seen, UTC."""
        since, last = (datetime.fromtimestamp(at, UTC).date() for at in (self.since, self.last))
        return str(since) if since == last else f"{since} to {last}"

    def as_json(self) -> dict[str, object]:
        """All of it, ready for JSON; times are in ISO 8601."""
        return {
            "stage": self.stage,
            "provider": self.provider,
            "model": self.model,
            "label": self.label,
            "why": WHY[self.why],
            "requests": self.requests,
            "usage": self.usage,
            "since": datetime.fromtimestamp(self.since, UTC).isoformat(),
            "last": datetime.fromtimestamp(self.last, UTC).isoformat(),
        }


def _quantities(usage: Usage) -> dict[str, float]:
    """Quantities by unit, without those that are zero."""
    found: dict[str, float] = {
        TOKEN_UNIT[bucket]: tokens for bucket, tokens in rules.token_buckets(usage).items()
    }
    for basis in BASES:
        if basis != "tokens":
            found[BASIS_UNIT[basis]] = rules.reported(basis, usage, None)
    return {unit: quantity for unit, quantity in found.items() if quantity}
