"""The sidecar's loop without its process: journals in, numbers out."""

import itertools
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from livekit_exporter.contract import Family
from livekit_exporter.prices import catalogue
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.record import Record
from livekit_exporter.sidecar.config.settings import Config, Ledger, Metrics
from livekit_exporter.sidecar.ingest import Ingest
from livekit_exporter.sidecar.registry import Distribution, Registry, Value
from tests.records import write_journal

_names = itertools.count()


class Clock:
    """Monotonic seconds, which a test can put forward."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._ahead += seconds


class Intake:
    """Takes journals in, one pass at a time.

    Args:
        data_dir: The data directory.
        metrics: Settings of labels and series.
        timezone: Where days begin.
        ledger: Settings of the ledger.
        prices: Prices in force; the shipped ones when not given.
    """

    def __init__(
        self,
        data_dir: Path,
        metrics: Metrics | None = None,
        timezone: str = "UTC",
        ledger: Ledger | None = None,
        prices: Catalogue | None = None,
    ) -> None:
        self.config = Config(
            data_dir=data_dir,
            metrics=metrics or Metrics(),
            timezone=timezone,
            ledger=ledger or Ledger(),
        )
        self.registry = Registry(self.config.metrics.labels)
        self.clock = Clock()
        self.prices = prices or catalogue.load()
        self.ingest = Ingest(self.config, self.prices, self.registry, clock=self.clock)
        self._journals = 0

    def take(self, *records: Record) -> None:
        """A finished journal with these records comes, and is taken in."""
        self._journals += 1
        # Not by the address of this object: the next one may have the same.
        write_journal(self.config.data_dir, records, f"j{self._journals}-{next(_names)}")
        self.passes()

    def passes(self) -> None:
        """One pass that succeeds."""
        assert self.ingest.attempt(), self.ingest.problem()

    def values(self, family: Family) -> dict[tuple[str, ...], Value]:
        """Every series of a family."""
        return self.registry.series(family)

    def counter(self, family: Family, **labels: str) -> float:
        """Sum of the counters with these labels."""
        return sum(value for value in self._having(family, labels) if isinstance(value, float))

    def count(self, family: Family, **labels: str) -> int:
        """Observations in the histograms with these labels."""
        return sum(sum(held.counts) for held in self._distributions(family, labels))

    def sum(self, family: Family, **labels: str) -> float:
        """Sum of the observations in the histograms with these labels."""
        return sum(held.total for held in self._distributions(family, labels))

    def page(self, accept: str = "text/plain") -> str:
        """The page."""
        return self.registry.render(accept).body.decode()

    def ask(self, query: str) -> list[tuple[object, ...]]:
        """Ask the ledger with nothing but the driver of its database."""
        where = self.config.ledger.where(self.config.data_dir)
        if isinstance(where, str):
            import psycopg

            with psycopg.connect(where) as server:
                return list(server.execute(query.encode()))
        with closing(sqlite3.connect(where)) as ledger:
            return list(ledger.execute(query))

    def figure(self, query: str) -> float:
        """The one number that a query gives; nothing is zero."""
        value = self.ask(query)[0][0]
        return 0.0 if value is None else float(str(value))

    def _having(self, family: Family, labels: dict[str, str]) -> list[Value]:
        names = self.registry.label_names(family)
        return [
            value
            for found, value in self.values(family).items()
            if labels.items() <= dict(zip(names, found, strict=True)).items()
        ]

    def _distributions(self, family: Family, labels: dict[str, str]) -> list[Distribution]:
        return [held for held in self._having(family, labels) if isinstance(held, Distribution)]
