"""Admits label values: never an empty one, never more than a label may have."""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
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
from livekit_exporter.sidecar.registry import Labels
from livekit_exporter.sidecar.transaction import CallSeries, Transaction

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

    def forget(self) -> None:
        """Start again with nothing admitted."""
        self._admitted.clear()

    def know(self, label: str, values: Iterable[str]) -> None:
        """Admit values that are on the page already, even beyond the cap."""
        self._admitted.setdefault(label, set()).update(set(values) - _ALWAYS)

    def admit(self, label: str, value: str | None, transaction: Transaction) -> str:
        """Return the value as it may appear: `other`, counted, when the label is full."""
        if not value:
            return UNKNOWN
        admitted = self._admitted.setdefault(label, set())
        if value in admitted or value in _ALWAYS:
            return value
        if len(admitted) >= self._cap(label):
            transaction.count(LABEL_VALUES_CAPPED, (label,))
            return OTHER
        admitted.add(value)
        return value

    def shown(self, label: str, value: str) -> str:
        """Return the value as it appears on the page, admitting nothing new."""
        return value if value in self._admitted.get(label, ()) or value in _ALWAYS else OTHER


class ModelNames(Protocol):
    """Anything that names a provider and a model as a plugin reports them."""

    @property
    def stage(self) -> str:
        """Stage of the pipeline."""
        ...

    @property
    def provider(self) -> str:
        """Host or display name."""
        ...

    @property
    def model(self) -> str:
        """Model name."""
        ...

    @property
    def label(self) -> str:
        """Class path of the plugin."""
        ...


class CallLabels:
    """Makes the labels of a call's series.

    Args:
        values: Admits values.
        canonical: Returns a provider's id, from what a plugin reports and its class path.
        names: The operator's own label names.
    """

    def __init__(
        self, values: LabelValues, canonical: Callable[[str, str], str], names: Labels
    ) -> None:
        self.admit = values.admit
        # Cleaning up a name costs as much as pricing a request; names are few.
        self.provider = lru_cache(maxsize=1024)(canonical)
        self._names = names
        self._own: dict[str, Labels] = {}

    def forget(self, session: str | None = None) -> None:
        """Let go of a call that ended, or of all calls."""
        if session is None:
            self._own.clear()
        else:
            self._own.pop(session, None)

    def call(self, row: SessionRow, transaction: Transaction) -> CallSeries:
        """Return the series of a call that are by agent only."""
        agent = self.admit("agent", row.agent, transaction)
        own = self._own_values(row, transaction)
        return CallSeries(transaction, row, (agent, "", "", ""), own)

    def model(self, row: SessionRow, source: ModelNames, transaction: Transaction) -> CallSeries:
        """Return the series of a model in a call, by the names that its plugin reports."""
        provider = self.provider(source.provider, source.label)
        return self.named(row, (source.stage, provider, source.model), transaction)

    def named(
        self, row: SessionRow, names: tuple[str, str, str], transaction: Transaction
    ) -> CallSeries:
        """Return the series of a model in a call, by stage, canonical provider and model."""
        stage, provider, model = names
        labels = (
            self.admit("agent", row.agent, transaction),
            stage,
            self.admit("provider", provider, transaction),
            self.admit("model", model, transaction),
        )
        return CallSeries(transaction, row, labels, self._own_values(row, transaction))

    def count_reasons(
        self, family: Family, reasons: Mapping[str, int], transaction: Transaction
    ) -> None:
        """Add numbers by reason to a counter of the exporter."""
        for reason, number in reasons.items():
            if number > 0:
                transaction.count(family, (self.admit("reason", reason, transaction),), number)

    def _own_values(self, row: SessionRow, transaction: Transaction) -> Labels:
        if not self._names:
            return ()
        own = self._own.get(row.session)
        if own is None:
            known: Mapping[str, str] = json.loads(row.labels)
            own = self._own[row.session] = tuple(
                self.admit(name, known.get(name), transaction) for name in self._names
            )
        return own
