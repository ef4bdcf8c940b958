"""Holds the numbers behind `/metrics`: built from the contract, fed after each commit.

Numbers are plain values rather than the client library's metric objects, because they
are restored from the ledger at start, and the library has no public way to set a counter
or a histogram.  The library writes them out.
"""

import gzip
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from livekit_exporter.contract import FAMILIES, UNKNOWN, Family, Kind
from livekit_exporter.ledger.rows import SeriesRow

Labels: TypeAlias = tuple[str, ...]
Gauges: TypeAlias = Mapping[Family, Mapping[Labels, float]]

_STORED: Final = {family.name: family for family in FAMILIES if family.kind is not Kind.GAUGE}

_GZIP_LEVEL: Final = 1
"""Level 9 takes fifteen times as long for three quarters of the bytes."""


@dataclass(slots=True)
class Distribution:
    """Observations of one histogram series.

    Args:
        counts: Observations by bucket, not cumulated; the one without bound last.
        total: Their sum.
        exemplars: The latest exemplar of each bucket, in memory only.
    """

    counts: list[int]
    total: float = 0.0
    exemplars: dict[int, Exemplar] = field(default_factory=dict)

    def copy(self) -> "Distribution":
        """Return an independent copy."""
        return Distribution(list(self.counts), self.total, dict(self.exemplars))


Value: TypeAlias = float | Distribution
Values: TypeAlias = Mapping[Family, Mapping[Labels, Value]]


@dataclass(frozen=True, slots=True)
class Exposition:
    """A rendering of all metrics.

    Args:
        content_type: Full value of the header, version and character set included.
        body: The exposition.
        gzipped: The same, compressed.
    """

    content_type: str
    body: bytes
    gzipped: bytes


class Registry(Collector):
    """All series of the page.

    Args:
        extra_labels: The operator's label names, behind those of the contract on every
            counter and histogram about agents.
    """

    def __init__(self, extra_labels: Labels = ()) -> None:
        self.extra_labels = extra_labels
        self._values: dict[Family, dict[Labels, Value]] = {}
        self._gauges: Gauges = {}
        self._lock = threading.Lock()
        self._pages: dict[str, Exposition] = {}
        self._collectors = CollectorRegistry(auto_describe=False)
        self._collectors.register(self)
        self.restore(())

    @property
    def values(self) -> Values:
        """Values of counters and histograms, for the thread that publishes; do not change."""
        return self._values

    def label_names(self, family: Family) -> Labels:
        """Return the label names of a family with this configuration."""
        return family.labels + self.extra_labels if family.about_agents else family.labels

    def restore(self, rows: Iterable[SeriesRow]) -> tuple[list[SeriesRow], list[SeriesRow]]:
        """Set all values to those that the ledger keeps.

        A label that the operator added since is `unknown` on old values.  Series that
        differ only in a label that he removed are added up.  Rows of families or buckets
        that the contract no longer has are ignored.

        Returns:
            Rows whose label names are not those of today, and the rows to keep instead.
        """
        outdated: list[SeriesRow] = []
        moved: set[tuple[Family, Labels]] = set()
        with self._lock:
            self._values = {family: _first(family) for family in FAMILIES}
            for row in rows:
                family = _STORED.get(row.family)
                if family is None:
                    continue
                known: dict[str, str] = json.loads(row.labels)
                labels = self._labels(family, known)
                value = self._values[family].get(labels, zero(family))
                if not isinstance(value, Distribution):
                    value += row.value
                elif row.counts is None or len(row.counts) != len(value.counts):
                    continue
                else:
                    value.counts = [a + b for a, b in zip(value.counts, row.counts, strict=True)]
                    value.total += row.value
                self._values[family][labels] = value
                if known.keys() != set(self.label_names(family)):
                    outdated.append(row)
                    moved.add((family, labels))
            self._pages.clear()
            newest = max((row.touched_at for row in outdated), default=0.0)
            return outdated, [
                self._row(family, labels, self._values[family][labels], newest)
                for family, labels in moved
            ]

    def publish(self, changed: Values) -> None:
        """Show values that are in the ledger."""
        with self._lock:
            for family, values in changed.items():
                self._values[family].update(values)
            self._pages.clear()

    def show(self, gauges: Gauges) -> None:
        """Set all gauges."""
        with self._lock:
            if gauges != self._gauges:
                self._gauges = gauges
                self._pages.clear()

    def drop(self, rows: Iterable[SeriesRow]) -> None:
        """Remove series that have labels from the page."""
        with self._lock:
            for row in rows:
                family = _STORED.get(row.family)
                if family is not None and family.labels:
                    labels = self._labels(family, json.loads(row.labels))
                    self._values[family].pop(labels, None)
            self._pages.clear()

    def series(self, family: Family) -> dict[Labels, Value]:
        """Return the current values of a family by label values."""
        with self._lock:
            return dict(self._values[family])

    def rows(self, changed: Values, at: float) -> list[SeriesRow]:
        """Return series as the ledger keeps them, changed at a Unix time."""
        return [
            self._row(family, labels, value, at)
            for family, values in changed.items()
            for labels, value in values.items()
        ]

    def render(self, accept: str) -> Exposition:
        """Render the page in the format that `accept` asks for; cached until a number changes."""
        encode, content_type = choose_encoder(accept)
        with self._lock:
            page = self._pages.get(content_type)
            if page is None:
                body = encode(self._collectors)
                page = Exposition(content_type, body, gzip.compress(body, _GZIP_LEVEL))
                self._pages[content_type] = page
            return page

    def _labels(self, family: Family, known: Mapping[str, str]) -> Labels:
        return tuple(known.get(name, UNKNOWN) for name in self.label_names(family))

    def _row(self, family: Family, labels: Labels, value: Value, at: float) -> SeriesRow:
        named = json.dumps(dict(zip(self.label_names(family), labels, strict=True)), sort_keys=True)
        if isinstance(value, Distribution):
            return SeriesRow(family.name, named, value.total, tuple(value.counts), at)
        return SeriesRow(family.name, named, value, None, at)

    def collect(self) -> Iterator[Metric]:
        """Yield all families, for the client library's writers."""
        for family in FAMILIES:
            names = self.label_names(family)
            if family.kind is Kind.COUNTER:
                counter = CounterMetricFamily(family.name, family.help, labels=names)
                for labels, value in self._values[family].items():
                    if not isinstance(value, Distribution):
                        counter.add_metric(labels, value)
                yield counter
            elif family.kind is Kind.GAUGE:
                gauge = GaugeMetricFamily(family.name, family.help, labels=names)
                for labels, number in self._gauges.get(family, {}).items():
                    gauge.add_metric(labels, number)
                yield gauge
            else:
                histogram = HistogramMetricFamily(family.name, family.help, labels=names)
                for labels, value in self._values[family].items():
                    if isinstance(value, Distribution):
                        histogram.add_metric(labels, _buckets(family, value), value.total)
                yield histogram


def zero(family: Family) -> Value:
    """Return the value of a new counter or histogram series."""
    if family.kind is Kind.HISTOGRAM:
        return Distribution([0] * (len(family.buckets) + 1))
    return 0.0


def _first(family: Family) -> dict[Labels, Value]:
    """Return the series that a family has before anything happened."""
    if not family.labels:
        return {(): zero(family)}
    return {(value,): zero(family) for value in family.values}


def _buckets(
    family: Family, value: Distribution
) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    """Return cumulated buckets with their exemplars, as the client library takes them."""
    cumulated = 0
    listed: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
    for index, (bound, count) in enumerate(zip(_bounds(family), value.counts, strict=True)):
        cumulated += count
        held = value.exemplars.get(index)
        listed.append((bound, cumulated) if held is None else (bound, cumulated, held))
    return listed


@cache
def _bounds(family: Family) -> tuple[str, ...]:
    """Return upper bounds as the client library writes them: `1.0`, and `+Inf`."""
    return tuple(floatToGoString(bound) for bound in (*family.buckets, float("inf")))  # type: ignore[no-untyped-call]
