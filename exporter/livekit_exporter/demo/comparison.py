"""Truth against metrics: pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from livekit_exporter.demo.truth import Bill

TOLERANCE_USD: Final = 1e-9
"""What adding up floats may cost; a billionth of a dollar is no token."""

_ORDER: Final = ("stt", "llm", "tts", "realtime")


@dataclass(frozen=True, slots=True)
class Row:
    """One model: what its provider billed, and what the exporter counted."""

    stage: str
    model: str
    requests: int
    billed: Fraction
    """US dollars."""
    counted: float
    """US dollars."""

    @property
    def agrees(self) -> bool:
        """Whether both are the same amount."""
        return abs(float(self.billed) - self.counted) <= TOLERANCE_USD


def compare(bills: Iterable[Bill], counted: Mapping[tuple[str, str], float]) -> list[Row]:
    """One row for every model that was billed or counted, in the order of the pipeline.

    Args:
        bills: What the providers wrote down.
        counted: US dollars by stage and model, from the metrics.
    """
    costs: dict[tuple[str, str], list[Fraction]] = {key: [] for key, usd in counted.items() if usd}
    for bill in bills:
        costs.setdefault((bill.product.stage, bill.product.model), []).append(bill.cost)
    return [
        Row(stage, model, len(parts), sum(parts, Fraction(0)), counted.get((stage, model), 0.0))
        for (stage, model), parts in sorted(costs.items(), key=_place)
    ]


def _place(item: tuple[tuple[str, str], list[Fraction]]) -> tuple[int, str]:
    (stage, model), _ = item
    return _ORDER.index(stage) if stage in _ORDER else len(_ORDER), model
