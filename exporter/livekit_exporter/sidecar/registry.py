"""The numbers behind `/metrics`: built from the contract, fed after the commit.

Numbers are kept as plain values rather than in the client library's metric objects,
because they are restored from the ledger at start, and the library has no public way
to set a counter or a histogram.  The library writes them out.

A batch works on a `Staged` copy of the values it touches.  Those go into the ledger
with the batch, and into the registry once the transaction is committed; when it
fails they are thrown away.
"""

import gzip
import json
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
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

_EXEMPLAR_CHARACTERS: Final = 128
_TRACE_CHARACTERS: Final = 32
_GZIP_LEVEL: Final = 1
"""Level 9 takes fifteen times as long for three quarters of the bytes."""


@dataclass(slots=True)
class Distribution:
    """Observations of one histogram series.

    Args:
        counts: Observations by bucket, not cumulated; the one without bound last.
        total: Their sum.
        exemplars: The last one of each bucket, in memory only.
    """

    counts: list[int]
    total: float = 0.0
    exemplars: dict[int, Exemplar] = field(default_factory=dict)

    def copy(self) -> "Distribution":
        """An independent copy."""
        return Distribution(list(self.counts), self.total, dict(self.exemplars))


Value: TypeAlias = float | Distribution


@dataclass(frozen=True, slots=True)
class Exposition:
    """One rendering of all metrics.

    Args:
        content_type: Full value of the header, version and character set included.
        body: The exposition.
        gzipped: The same, compressed.
    """

    content_type: str
    body: bytes
    gzipped: bytes


class Registry:
    """All series of the counters and histograms.

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
        self._collectors.register(_Families(self._collect))
        self.restore(())

    def label_names(self, family: Family) -> Labels:
        """Label names of a family with this configuration."""
        return family.labels + self.extra_labels if family.about_agents else family.labels

    def restore(self, rows: Iterable[SeriesRow]) -> tuple[list[SeriesRow], list[SeriesRow]]:
        """Set all values to those that the ledger keeps.

        Labels that the operator added since are `unknown` on old values; series that
        differ in a label he removed are added up.  Rows of families or buckets that the
        contract no longer has are left out.

        Returns:
            Rows whose labels are not those of today, and the rows to keep in their place.
        """
        outdated: list[SeriesRow] = []
        moved: set[tuple[Family, Labels]] = set()
        families = {family.name: family for family in FAMILIES}
        with self._lock:
            self._values = {family: _first(family) for family in FAMILIES}
            for row in rows:
                family = families.get(row.family)
                if family is None or family.kind is Kind.GAUGE:
                    continue
                known: dict[str, str] = json.loads(row.labels)
                names = self.label_names(family)
                labels = tuple(known.get(name, UNKNOWN) for name in names)
                held = self._values[family].get(labels, _nothing(family))
                if isinstance(held, Distribution):
                    if row.counts is None or len(row.counts) != len(held.counts):
                        continue
                    held.counts = [a + b for a, b in zip(held.counts, row.counts, strict=True)]
                    held.total += row.value
                    self._values[family][labels] = held
                else:
                    self._values[family][labels] = held + row.value
                if known.keys() != set(names):
                    outdated.append(row)
                    moved.add((family, labels))
            self._pages.clear()
            newest = max((row.touched_at for row in outdated), default=0.0)
            return outdated, [
                self.row(family, labels, self._values[family][labels], newest)
                for family, labels in moved
            ]

    def stage(self) -> "Staged":
        """Begin a batch."""
        return Staged(self._values)

    def publish(self, staged: "Staged") -> None:
        """Show a batch that is in the ledger."""
        with self._lock:
            for family, touched in staged.touched.items():
                self._values[family].update(touched)
            self._pages.clear()

    def show(self, gauges: Gauges) -> None:
        """Set all gauges."""
        with self._lock:
            if gauges != self._gauges:
                self._gauges = gauges
                self._pages.clear()

    def drop(self, rows: Iterable[SeriesRow]) -> None:
        """Take series off the page."""
        families = {family.name: family for family in FAMILIES}
        with self._lock:
            for row in rows:
                family = families.get(row.family)
                if family is not None and family.labels:
                    known: dict[str, str] = json.loads(row.labels)
                    labels = tuple(known.get(name, UNKNOWN) for name in self.label_names(family))
                    self._values[family].pop(labels, None)
            self._pages.clear()

    def series(self, family: Family) -> dict[Labels, Value]:
        """Current values of a family by label values."""
        with self._lock:
            return dict(self._values[family])

    def row(self, family: Family, labels: Labels, value: Value, at: float) -> SeriesRow:
        """A series as the ledger keeps it."""
        named = json.dumps(dict(zip(self.label_names(family), labels, strict=True)), sort_keys=True)
        if isinstance(value, Distribution):
            return SeriesRow(family.name, named, value.total, tuple(value.counts), at)
        return SeriesRow(family.name, named, value, None, at)

    def render(self, accept: str) -> Exposition:
        """The page in the format that `accept` asks for; cached until a number changes."""
        encode, content_type = choose_encoder(accept)
        with self._lock:
            page = self._pages.get(content_type)
            if page is None:
                body = encode(self._collectors)
                page = Exposition(content_type, body, gzip.compress(body, _GZIP_LEVEL))
                self._pages[content_type] = page
            return page

    def _collect(self) -> Iterator[Metric]:
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


class Staged:
    """The values that a batch changes, as they are after it."""

    def __init__(self, values: Mapping[Family, Mapping[Labels, Value]]) -> None:
        self._values = values
        self.touched: dict[Family, dict[Labels, Value]] = {}

    def inc(self, family: Family, labels: Labels, amount: float = 1.0) -> None:
        """Add to a counter."""
        touched = self._of(family)
        value = touched.get(labels)
        if value is None:
            value = self._values[family].get(labels, 0.0)
        if not isinstance(value, Distribution):
            touched[labels] = value + amount

    def observe(
        self, family: Family, labels: Labels, amount: float, exemplar: Exemplar | None = None
    ) -> None:
        """Add an observation to a histogram."""
        value = self._of(family).get(labels)
        if not isinstance(value, Distribution):
            value = self.init_at_zero(family, labels)
        if isinstance(value, Distribution):
            bucket = bisect_left(family.buckets, amount)
            value.counts[bucket] += 1
            value.total += amount
            if exemplar is not None:
                value.exemplars[bucket] = exemplar

    def init_at_zero(self, family: Family, labels: Labels) -> Value:
        """Make sure that a series exists, at zero if it is new."""
        touched = self._of(family)
        value = touched.get(labels)
        if value is None:
            held = self._values[family].get(labels)
            if held is None:
                value = _nothing(family)
            else:
                value = held.copy() if isinstance(held, Distribution) else held
            touched[labels] = value
        return value

    def _of(self, family: Family) -> dict[Labels, Value]:
        touched = self.touched.get(family)
        if touched is None:
            touched = self.touched[family] = {}
        return touched


class _Families(Collector):
    """Hands the registry's numbers to the client library's writers."""

    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        return self._collect()


def exemplar(amount: float, at: float, session: str, trace: str | None) -> Exemplar:
    """Which call, and which trace, an observation came from.

    The client library refuses exemplars over 128 characters in all; ids are cut to fit.
    """
    labels = {"session_id": session}
    if trace:
        labels["trace_id"] = trace[:_TRACE_CHARACTERS]
    room = _EXEMPLAR_CHARACTERS - sum(map(len, labels)) - len(labels.get("trace_id", ""))
    labels["session_id"] = session[:room]
    return Exemplar(labels, amount, at)


def _first(family: Family) -> dict[Labels, Value]:
    """The series that a family has before anything happened."""
    if not family.labels:
        return {(): _nothing(family)}
    return {(value,): _nothing(family) for value in family.values}


def _nothing(family: Family) -> Value:
    if family.kind is Kind.HISTOGRAM:
        return Distribution([0] * (len(family.buckets) + 1))
    return 0.0


def _buckets(
    family: Family, value: Distribution
) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    """Cumulated buckets with their exemplars, as the client library takes them."""
    cumulated = 0
    listed: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
    for index, (bound, count) in enumerate(zip(_bounds(family), value.counts, strict=True)):
        cumulated += count
        held = value.exemplars.get(index)
        listed.append((bound, cumulated) if held is None else (bound, cumulated, held))
    return listed


@cache
def _bounds(family: Family) -> tuple[str, ...]:
    """Upper bounds as the client library writes them: `1.0`, and `+Inf`."""
    return tuple(floatToGoString(bound) for bound in (*family.buckets, float("inf")))  # type: ignore[no-untyped-call]
