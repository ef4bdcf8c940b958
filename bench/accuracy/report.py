"""Results of the calls: a table for people, JSON for programs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeAlias

from bench.accuracy.figures import Figures, add
from bench.accuracy.measure import Measured
from bench.figures import table

WHOLE: Final = "whole call"
_NO_PLUGIN: Final = "simulated"
"""A voice that only fills its place, beside a language model's plugin."""

_COLUMNS: Final = (
    "call",
    "of",
    "billed",
    "reported",
    "of the bill",
    "with estimates",
    "error",
    "requests",
    "events",
    "estimates",
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a stage of a call with one vendor's plugin, or a call.

    Args:
        scenario: What happened.
        plugin: Whose figures, or `WHOLE`.
        figures: The three.
    """

    scenario: str
    plugin: str
    figures: Figures


# Any: it is read back from a file.
JSON: TypeAlias = Mapping[str, Any]


def lines(measured: Iterable[Measured]) -> list[Line]:
    """A line for each plugin in each scenario; for the longest call one for all of it too."""
    found: list[Line] = []
    for call in measured:
        writes, speaks = _plugins(call.cast)
        found.append(Line(call.scenario.name, writes, call.stages["llm"]))
        stood_in = f" + {_NO_PLUGIN}" in call.cast
        if call.stages["tts"].billed.requests and not stood_in:
            found.append(Line(call.scenario.name, speaks, call.stages["tts"]))
        if len(call.scenario.steps) > _SHORT:
            found.append(Line(call.scenario.name, f"{call.cast}, {WHOLE}", call.total))
    order = {name: place for place, name in enumerate(dict.fromkeys(one.scenario for one in found))}
    return sorted(found, key=lambda line: (order[line.scenario], WHOLE in line.plugin))


def as_table(measured: Iterable[Measured]) -> str:
    """Table in Markdown."""
    shown = []
    previous = ""
    for line in lines(measured):
        figures = line.figures
        shown.append(
            (
                "" if line.scenario == previous else line.scenario,
                line.plugin,
                _usd(figures.billed.usd),
                _usd(figures.reported.usd),
                _percent(figures.reported_share),
                _usd(figures.reported.usd + figures.estimated.usd),
                _signed(figures.error),
                str(figures.billed.requests),
                str(figures.reported.requests),
                str(figures.estimated.requests),
            )
        )
        previous = line.scenario
    return table(_COLUMNS, shown)


def as_json(measured: Sequence[Measured], circumstances: str) -> JSON:
    """Every figure of every line, and their sum."""
    return {
        "circumstances": circumstances,
        "calls": len(measured),
        "total": _told(add(call.total for call in measured)),
        "lines": [
            {"scenario": line.scenario, "plugin": line.plugin, **_told(line.figures)}
            for line in lines(measured)
        ],
    }


def as_page(told: JSON) -> str:
    """Tables of the document from the figures of `as_json`: stage by stage, then whole calls."""
    lines = told["lines"]
    parts = [
        f"{head}\n\n{_pivot([line for line in lines if line['plugin'].endswith(f' {stage}')])}"
        for stage, head in _HEADS.items()
    ]
    whole = [
        (
            f"{line['scenario']}, {line['plugin'].removesuffix(f', {WHOLE}')}",
            _usd(line["billed"]["usd"]),
            _usd(line["reported"]["usd"]),
            _percent(line["reported_share"]),
            _usd(line["reported"]["usd"] + line["estimated"]["usd"]),
            _signed(line["error"]),
        )
        for line in lines
        if line["plugin"].endswith(WHOLE)
    ]
    columns = ("whole call", "billed", "reported", "of the bill", "with estimates", "error")
    return "\n\n".join([*parts, table(columns, whole), str(told["circumstances"])])


def _pivot(lines: Sequence[JSON]) -> str:
    plugins = list(dict.fromkeys(line["plugin"].rpartition(" ")[0] for line in lines))
    cells: dict[str, dict[str, str]] = {}
    for line in lines:
        cell = f"{_percent(line['reported_share'])}, {_signed(line['error'])}"
        cells.setdefault(line["scenario"], {})[line["plugin"].rpartition(" ")[0]] = cell
    rows = [
        (scenario, *(row.get(plugin, "") for plugin in plugins)) for scenario, row in cells.items()
    ]
    return table(("call", *plugins), rows)


_HEADS: Final = {"LLM": "Language models:", "TTS": "Speech synthesis:"}
_SHORT: Final = 4
"""Steps of the calls that try one thing."""


def _plugins(cast: str) -> tuple[str, str]:
    """Names of the plugins that write and that speak."""
    writes, _, speaks = cast.partition(" + ")
    return f"{writes} LLM", f"{speaks or writes} TTS"


def _told(figures: Figures) -> JSON:
    return {
        **asdict(figures),
        "reported_share": figures.reported_share,
        "error": figures.error,
    }


def _usd(amount: float) -> str:
    """Thousandths of a dollar, since a call is cents."""
    return f"${amount:.5f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _signed(share: float) -> str:
    # Rounding leaves a minus before some zeros.
    return f"{round(100 * share, 1) + 0.0:+.1f} %"
