"""The latency report: percentiles of every measured wait."""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from statistics import quantiles
from typing import Final, TypeAlias

from livekit_exporter import contract
from livekit_exporter.ledger.queries import Key, Snapshot, TurnTimes
from livekit_exporter.reports import lines, reading, written
from livekit_exporter.reports.question import OF_A_REQUEST, TIMES, Question
from livekit_exporter.reports.reading import Group
from livekit_exporter.reports.report import Chart, Column, Report, Value

_TURN: Final = "turn latency"
_DERIVED: Final = "turn latency, derived"
_FIRST: Final = {
    "llm": "LLM first token",
    "tts": "TTS first byte",
    "realtime": "realtime first token",
}
_MEASURED: Final = ("EOU delay", "transcription delay", "turn callback")
_WAITS: Final = (_TURN, _DERIVED, *_MEASURED, *_FIRST.values())
_PERCENTS: Final = (50, 95, 99)
_ENOUGH: Final = 100
_PARTS_DRAWN: Final = 4

_Values: TypeAlias = dict[tuple[Group, str], "array[float]"]

_COLUMNS: Final = (
    Column("wait", "Wait"),
    Column("count", "Count", "count"),
    *(Column(f"p{percent}_seconds", f"p{percent}", "seconds") for percent in _PERCENTS),
    Column("longest_seconds", "Longest", "seconds", detail=True),
)


def report(ledger: Snapshot, question: Question) -> Report:
    """Report the waits of callers in a period.

    Raises:
        QuestionError: A label is asked for that no call has.
    """
    reading.check_labels(ledger, question)
    values = _read(ledger, question)
    sizes: dict[Group, float] = {}
    for (group, _), each in values.items():
        sizes[group] = max(sizes.get(group, 0), len(each))
    places = {group: place for place, group in enumerate(lines.arranged(question, sizes))}
    ordered = sorted(values, key=lambda key: (places[key[0]], _WAITS.index(key[1])))
    shown, left_out = lines.shown(question, ordered)
    return Report(
        title=question.title("Latency"),
        columns=(*lines.columns(question, [each.name for each in _COLUMNS]), *_COLUMNS),
        rows=tuple((*group, *_line(wait, values[group, wait])) for group, wait in shown),
        notes=(
            *left_out,
            *_notes(ledger, question, values),
            *reading.notes_on_calls(ledger, question),
        ),
        charts=tuple(_charts(question, values)),
        empty=f"nobody waited for an answer: {question.period}",
    )


def percentiles(values: Iterable[float]) -> tuple[float, ...]:
    """Compute p50, p95 and p99, linear between neighbouring values.

    Raises:
        StatisticsError: There is no value.
    """
    values = list(values)
    if len(values) == 1:
        return (values[0],) * len(_PERCENTS)
    cuts = quantiles(values, n=100, method="inclusive")
    return tuple(cuts[percent - 1] for percent in _PERCENTS)


def _read(ledger: Snapshot, question: Question) -> _Values:
    values: _Values = {}
    columns = reading.key_columns(question)
    span = reading.span(question)
    where = _grouping(question, columns)
    if not _about_requests(question):
        for key, times in ledger.turns(span, columns):
            group = where(key)
            if group is not None:
                for wait, seconds in _of_a_turn(times):
                    values.setdefault((group, wait), array("d")).append(seconds)
    for key, first in ledger.waits(span, columns):
        group = where(key)
        if group is not None:
            begun = _FIRST.get(first.stage)
            if begun is not None:
                values.setdefault((group, begun), array("d")).append(first.seconds)
    return values


def _grouping(
    question: Question, columns: tuple[str, ...]
) -> Callable[[tuple[str | int | None, ...]], Group | None]:
    """Return a function that finds the group of a key and remembers it: keys repeat a lot."""
    known: dict[tuple[str | int | None, ...], Group | None] = {}

    def where(values: tuple[str | int | None, ...]) -> Group | None:
        if values not in known:
            key: Key = dict(zip(columns, values, strict=True))
            known[values] = reading.group(question, key)
        return known[values]

    return where


def _of_a_turn(times: TurnTimes) -> Iterator[tuple[str, float]]:
    waits = (_DERIVED if times.derived else _TURN, *_MEASURED)
    parts = (times.eou_delay_seconds, times.transcription_delay_seconds, times.callback_seconds)
    for wait, seconds in zip(waits, (times.latency_seconds, *parts), strict=True):
        if seconds is not None:
            yield wait, seconds


def _about_requests(question: Question) -> bool:
    """True if the question is about requests within turns: by stage, provider or model."""
    return any(name in OF_A_REQUEST for name in (*question.by, *question.only))


def _line(wait: str, values: "array[float]") -> tuple[Value, ...]:
    return (wait, len(values), *percentiles(values), max(values))


def _notes(ledger: Snapshot, question: Question, values: _Values) -> Iterator[str]:
    if _about_requests(question):
        yield "turns have no stage, provider or model of their own; these are waits for one request"
    if any(wait == _DERIVED for _, wait in values):
        yield (
            "derived is EOU delay + LLM first token + TTS first byte, where LiveKit measured no"
            " latency"
        )
    if any(len(each) < _ENOUGH for each in values.values()):
        yield f"of fewer than {_ENOUGH} values, p99 is about the longest one"
    rejected = ledger.counted(contract.SAMPLES_REJECTED.name)
    if rejected:
        yield (
            f"{written.counted(rejected, 'value')} left out since the ledger began, because they"
            " measure nothing"
        )


def _charts(question: Question, values: _Values) -> Iterator[Chart]:
    main = next((wait for wait in _WAITS if any(wait == each for _, each in values)), None)
    chosen = {group: each for (group, wait), each in values.items() if wait == main}
    if main is None:
        return
    if any(name in TIMES for name in question.by):
        p95 = {group: percentiles(each)[1] for group, each in chosen.items()}
        yield lines.chart(question, f"{main}, p95", "seconds", p95)
        return
    largest = sorted(chosen, key=lambda group: -len(chosen[group]))[:_PARTS_DRAWN]
    bounds = contract.LATENCY_BUCKETS
    counts = {}
    for group in largest:
        held = [0.0] * (len(bounds) + 1)
        for seconds in chosen[group]:
            held[bisect_left(bounds, seconds)] += 1
        counts[lines.name(group) if group else main] = held
    used = [at for at in range(len(bounds) + 1) if any(held[at] for held in counts.values())]
    window = range(used[0], used[-1] + 1)
    labels = [*(f"≤ {bound:g} s" for bound in bounds), f"> {bounds[-1]:g} s"]
    yield Chart(
        "histogram",
        main,
        "count",
        tuple(labels[at] for at in window),
        tuple((name, tuple(held[at] for at in window)) for name, held in counts.items()),
    )
