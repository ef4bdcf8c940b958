"""Label values: never empty, never too many."""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from typing import Final, Protocol

from livekit_exporter.contract import (
    CLOSE_REASONS,
    FAMILIES,
    GAP_REASONS,
    LABEL_VALUES_CAPPED,
    OTHER,
    UNKNOWN,
    WASTE_REASONS,
    Family,
)
from livekit_exporter.ledger.rows import SessionRow
from livekit_exporter.sidecar.registry import Labels, Staged

_BASE: Final = ("agent", "stage", "provider", "model")

_ALWAYS: Final = {UNKNOWN, OTHER, *CLOSE_REASONS}.union(
    *(family.values for family in FAMILIES), *WASTE_REASONS.values(), *GAP_REASONS.values()
)
"""Values of our own, which take nobody's place."""


class LabelValues:
    """Admits label values until a label has as many as it may.

    Args:
        cap: Number of values that a label may have, by label name.
    """

    def __init__(self, cap: Callable[[str], int]) -> None:
        self._cap = cap
        self._admitted: dict[str, set[str]] = {}

    def forget(self) -> None:
        """Start again with nothing admitted."""
        self._admitted.clear()

    def know(self, label: str, values: Iterable[str]) -> None:
        """Admit values that are on the page already."""
        self._admitted.setdefault(label, set()).update(set(values) - _ALWAYS)

    def admit(self, label: str, value: str | None, staged: Staged) -> str:
        """The value as it may appear; `other`, counted, when the label is full."""
        if not value:
            return UNKNOWN
        admitted = self._admitted.setdefault(label, set())
        if value in admitted or value in _ALWAYS:
            return value
        if len(admitted) >= self._cap(label):
            staged.inc(LABEL_VALUES_CAPPED, (label,))
            return OTHER
        admitted.add(value)
        return value

    def shown(self, label: str, value: str) -> str:
        """The value as it appears on the page, admitting nothing new."""
        return value if value in self._admitted.get(label, ()) or value in _ALWAYS else OTHER


class Billed(Protocol):
    """Whatever names a provider and a model."""

    @property
    def stage(self) -> str:
        """Stage of the pipeline."""
        ...

    @property
    def provider(self) -> str:
        """As the plugin reports it."""
        ...

    @property
    def model(self) -> str:
        """As the plugin reports it."""
        ...

    @property
    def label(self) -> str:
        """Class path of the plugin."""
        ...


class CallLabels:
    """The labels of a call's series.

    Args:
        values: Which values may appear.
        canonical: Name of a provider, from what a plugin reports and its class path.
        names: The operator's own label names.
    """

    def __init__(
        self, values: LabelValues, canonical: Callable[[str, str], str], names: Labels
    ) -> None:
        self.values = values
        # Cleaning up a name costs as much as pricing a request; names are few.
        self.provider = lru_cache(maxsize=1024)(canonical)
        self._names = names
        self._extras: dict[str, Labels] = {}

    def forget(self, session: str | None = None) -> None:
        """Let go of a call that ended, or of all."""
        if session is None:
            self._extras.clear()
        else:
            self._extras.pop(session, None)

    def agent(self, row: SessionRow, staged: Staged) -> Labels:
        """Labels of what is counted by agent only."""
        return (self.values.admit("agent", row.agent, staged), *self.own(row, staged))

    def base(self, row: SessionRow, source: Billed, staged: Staged) -> Labels:
        """Agent, stage, provider and model."""
        provider = self.provider(source.provider, source.label)
        return (
            self.values.admit("agent", row.agent, staged),
            source.stage,
            self.values.admit("provider", provider, staged),
            self.values.admit("model", source.model, staged),
        )

    def request(self, row: SessionRow, source: Billed, staged: Staged) -> Labels:
        """Labels of what is counted by agent, stage, provider and model."""
        return (*self.base(row, source, staged), *self.own(row, staged))

    def own(self, row: SessionRow, staged: Staged) -> Labels:
        """Values of the operator's labels."""
        if not self._names:
            return ()
        extra = self._extras.get(row.session)
        if extra is None:
            known: Mapping[str, str] = json.loads(row.labels)
            extra = self._extras[row.session] = tuple(
                self.values.admit(name, known.get(name), staged) for name in self._names
            )
        return extra


def project(family: Family, base: Labels) -> Labels:
    """Agent, stage, provider and model, less what a family does not have."""
    return tuple(base[position] for position in _positions(family))


@cache
def _positions(family: Family) -> tuple[int, ...]:
    return tuple(_BASE.index(name) for name in family.labels)
