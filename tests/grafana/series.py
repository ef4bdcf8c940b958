"""Known series for the dashboards' queries, read from `shown/series.txt`."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

SHOWN: Final = Path(__file__).parent / "shown"

CHOSEN: Final = {
    "__rate_interval": "5m",
    "__range": "15m",
    "job": "fleet|west|node",
    "worker": "workers",
    "agent": "desk|shop|host",
    "provider": "openai|acme",
    "model": "gpt|lyra|live|ears|voice|face",
}
"""Values of the variables at the top of a dashboard, and windows of its graphs and tables."""

MINUTES: Final = 30
"""Age of the series at the time of the queries."""

_EXPORTERS: Final = ("one", "two")
_LINE: Final = re.compile(r"(?P<name>[\w:]+)\{(?P<labels>.*?)\} (?P<value>.+)")
_HISTOGRAM: Final = re.compile(r"\+ (?P<buckets>.+) sum (?P<sum>\S+)")
# A rate is the same wherever its counter began; the bare counter is not.
_START: Final = 1000
_MORE: Final = 7


class Series(NamedTuple):
    """A series: its value or its growth in a minute, and the minute in which it appears."""

    name: str
    labels: Mapping[str, str]
    number: float
    grows: bool = False
    since: int = 0

    @property
    def identity(self) -> str:
        """Name and labels as a selector writes them; an empty label is an absent one."""
        pairs = sorted(self.labels.items())
        return self.name + "{" + ",".join(f'{key}="{value}"' for key, value in pairs if value) + "}"

    @property
    def values(self) -> str:
        """Values in promtool's notation, one a minute."""
        if self.grows:
            return f"{_START}+{self.number:.12g}x{MINUTES}"
        steady = f"{self.number:.12g}+0x{MINUTES - self.since}"
        return f"_x{self.since} {steady}" if self.since else steady


def filled(expression: str) -> str:
    """Replace the variables of a query by the choices."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: CHOSEN[found[1]], expression)


def input_series(*expressions: str) -> list[dict[str, str]]:
    """Series that the expressions name, with those that no choice includes, for promtool."""
    named = set(re.findall(r"[\w:]+", " ".join(expressions)))
    values: dict[str, str] = {}
    for line in (SHOWN / "series.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            for series in _on_exporters(line):
                for one in (series, *_left_out(series)):
                    if one.name in named:
                        values[one.identity] = one.values
    return [{"series": series, "values": numbers} for series, numbers in values.items()]


def _on_exporters(line: str) -> Iterator[Series]:
    read = _LINE.fullmatch(line)
    assert read, line
    labels = {"job": "fleet", **dict(re.findall(r'(\w+)="(.*?)"', read["labels"]))}
    for exporter in (labels["instance"],) if "instance" in labels else _EXPORTERS:
        yield from _numbered(read["name"], {**labels, "instance": exporter}, read["value"])


def _numbered(name: str, labels: dict[str, str], value: str) -> Iterator[Series]:
    histogram = _HISTOGRAM.fullmatch(value)
    if histogram is None:
        number, _, since = value.partition(" since ")
        yield Series(name, labels, float(number), name.endswith("_total"), int(since or 0))
        return
    buckets = [bucket.split(":") for bucket in histogram["buckets"].split()]
    count = buckets[-1][1]
    for bound, observations in (*buckets, ("+Inf", count)):
        yield Series(f"{name}_bucket", {**labels, "le": bound}, float(observations), grows=True)
    yield Series(f"{name}_count", labels, float(count), grows=True)
    yield Series(f"{name}_sum", labels, float(histogram["sum"]), grows=True)


def _left_out(series: Series) -> Iterator[Series]:
    for choice in ("job", "agent", "provider", "model"):
        if series.labels.get(choice, "other") != "other":
            labels = {**series.labels, choice: "other"}
            yield series._replace(labels=labels, number=series.number + _MORE)
