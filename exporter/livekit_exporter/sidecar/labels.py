"""Admits label values: never an empty one, never more than a label may have."""

from collections.abc import Callable, Iterable
from typing import Final

from livekit_exporter.contract import (
    CLOSE_REASONS,
    FAMILIES,
    GAP_REASONS,
    OTHER,
    UNKNOWN,
    WASTE_REASONS,
)

_ALWAYS: Final = {UNKNOWN, OTHER, *CLOSE_REASONS}.union(
    *(family.values for family in FAMILIES), *WASTE_REASONS.values(), *GAP_REASONS.values()
)
"""Values of the contract, which do not count against a cap."""


class LabelValues:
    """Admits values of a label until it has as many as it may.

    Args:
        cap: Returns the number of values that a label may have, by label name.
    """

    def __init__(self, cap: Callable[[str], int]) -> None:
        self._cap = cap
        self._admitted: dict[str, set[str]] = {}
        self.own: dict[str, tuple[str, ...]] = {}
        """Values of the operator's labels, of calls going on by session id."""

    def forget(self) -> None:
        """Start again with nothing admitted."""
        self._admitted.clear()
        self.own.clear()

    def know(self, label: str, values: Iterable[str]) -> None:
        """Admit values that are on the page already, even beyond the cap."""
        self._admitted.setdefault(label, set()).update(set(values) - _ALWAYS)

    def admit(self, label: str, value: str | None) -> str:
        """Return the value as it may appear: `other` when the label is full."""
        if not value:
            return UNKNOWN
        admitted = self._admitted.setdefault(label, set())
        if value in admitted or value in _ALWAYS:
            return value
        if len(admitted) >= self._cap(label):
            return OTHER
        admitted.add(value)
        return value

    def shown(self, label: str, value: str) -> str:
        """Return the value as it appears on the page, admitting nothing new."""
        return value if value in self._admitted.get(label, ()) or value in _ALWAYS else OTHER
