"""Label values: never empty, never too many."""

from collections.abc import Callable, Iterable

from livekit_exporter.contract import LABEL_VALUES_CAPPED, OTHER, UNKNOWN
from livekit_exporter.sidecar.registry import Staged


class LabelValues:
    """Admits label values until a label has as many as it may.

    Args:
        cap: Number of values that a label may have, by label name.
    """

    def __init__(self, cap: Callable[[str], int]) -> None:
        self._cap = cap
        self._admitted: dict[str, set[str]] = {}

    def know(self, label: str, values: Iterable[str]) -> None:
        """Admit values that are on the page already."""
        self._admitted.setdefault(label, set()).update(values)

    def admit(self, label: str, value: str | None, staged: Staged) -> str:
        """The value as it may appear; `other`, counted, when the label is full."""
        if not value:
            return UNKNOWN
        admitted = self._admitted.setdefault(label, set())
        if value in admitted or value in {UNKNOWN, OTHER}:
            return value
        if len(admitted) >= self._cap(label):
            staged.inc(LABEL_VALUES_CAPPED, (label,))
            return OTHER
        admitted.add(value)
        return value

    def shown(self, label: str, value: str) -> str:
        """The value as it appears on the page, admitting nothing new."""
        return value if value in self._admitted.get(label, ()) else OTHER
