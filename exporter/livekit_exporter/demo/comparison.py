"""Truth against metrics: pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from livekit_exporter.demo.truth import Bill

TOLERANCE_USD: Final = 1e-9
"""Largest difference that adding up floats explains; no token costs so little."""

_ORDER: Final = ("stt", "llm", "tts", "realtime")


@dataclass(frozen=True, slots=True)
class Row:
    """One model: what its provider reported, and what the exporter counted."""

    stage: str
    model: str
    requests: int
    reported: Fraction
    """US dollars."""
    counted: float
    """US dollars."""
    estimated: float = 0.0
    """US dollars of requests that nothing reported; in neither of the others."""

    @property
    def agrees(self) -> bool:
        """True where both are the same amount."""
        return abs(float(self.reported) - self.counted) <= TOLERANCE_USD


def compare(
    bills: Iterable[Bill],
    counted: Mapping[tuple[str, str], float],
    estimated: Mapping[tuple[str, str], float],
) -> list[Row]:
    """One row for every model that cost something, in the order of the pipeline.

    Args:
        bills: What the providers wrote down.
        counted: US dollars by stage and model, from the metrics.
        estimated: The same of what nothing reported.
    """
    known = (*counted.items(), *estimated.items())
    costs: dict[tuple[str, str], list[Fraction]] = {key: [] for key, usd in known if usd}
    for bill in bills:
        costs.setdefault((bill.product.stage, bill.product.model), []).append(bill.cost)
    return [
        Row(
            *key,
            len(parts),
            sum(parts, Fraction(0)),
            counted.get(key, 0.0),
            estimated.get(key, 0.0),
        )
        for key, parts in sorted(costs.items(), key=_place)
    ]


def _place(item: tuple[tuple[str, str], list[Fraction]]) -> tuple[int, str]:
    (stage, model), _ = item
    return _ORDER.index(stage) if stage in _ORDER else len(_ORDER), model
