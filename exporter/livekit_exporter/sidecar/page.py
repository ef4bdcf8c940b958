"""Keeps the metrics page in step with the ledger: series, label values, failures."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from livekit_exporter import contract
from livekit_exporter.contract import Family
from livekit_exporter.ledger.store import Ledger
from livekit_exporter.sidecar.config.settings import Config
from livekit_exporter.sidecar.labels import LabelValues
from livekit_exporter.sidecar.registry import Registry
from livekit_exporter.sidecar.transaction import Transaction

_DAY_SECONDS: Final = 86400.0


class Page:
    """The series of one registry, as the ledger keeps them.

    Args:
        registry: The series.
        config: Gives the settings in force.
    """

    def __init__(self, registry: Registry, config: Callable[[], Config]) -> None:
        self._registry = registry
        self._config = config
        self._unsaved: Counter[Family] = Counter()
        self.values = LabelValues(self._cap)

    def restore(self, ledger: Ledger) -> None:
        """Show what the ledger knows, and what was counted since and is not in it yet.

        Raises:
            LedgerError: The ledger cannot be read or written.
        """
        outdated, kept = self._registry.restore(ledger.series())
        if outdated:
            ledger.move_series(outdated, kept)
        self._show(self._unsaved)
        self._learn_label_values()

    def count(self, family: Family, number: int = 1) -> None:
        """Add to a counter at once, beside any transaction; the next one takes it to the ledger."""
        self._unsaved[family] += number
        self._show({family: number})

    def save(self, transaction: Transaction) -> None:
        """Put what was counted beside transactions into this one."""
        for family in self._unsaved:
            transaction.init_at_zero(family)

    def saved(self) -> None:
        """Note that the transaction is in the ledger."""
        self._unsaved.clear()

    def sweep(self, ledger: Ledger) -> None:
        """Remove series that nothing touched for long from page and ledger.

        Their label values make room for others.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        now = time.time()
        idle = self._config().metrics.idle_days * _DAY_SECONDS
        self._registry.drop(ledger.forget(series_before=now - idle, now=now))
        self._learn_label_values()

    def by_agent(self, amounts: Mapping[str, float]) -> dict[str, float]:
        """Add up amounts by agent, under the names that agents have on the page."""
        shown: dict[str, float] = {}
        for agent, amount in amounts.items():
            name = self.values.shown("agent", agent)
            shown[name] = shown.get(name, 0.0) + amount
        return shown

    def _cap(self, label: str) -> int:
        return self._config().metrics.cap(label)

    def _show(self, counted: Mapping[Family, int]) -> None:
        transaction = Transaction(self._registry)
        for family, number in counted.items():
            transaction.count(family, (), number)
        self._registry.publish(transaction.changed)

    def _learn_label_values(self) -> None:
        """Admit the label values that are on the page, and no others."""
        self.values.forget()
        for family in contract.FAMILIES:
            names = self._registry.label_names(family)
            for labels in self._registry.series(family):
                for name, value in zip(names, labels, strict=True):
                    self.values.know(name, (value,))
