"""The usage report, in the quantities that providers count."""

from typing import Final

from livekit_exporter.ledger.queries import Snapshot
from livekit_exporter.reports import lines, reading, written
from livekit_exporter.reports.question import Question
from livekit_exporter.reports.reading import Numbers
from livekit_exporter.reports.report import Column, Report, Value

_COLUMNS: Final = (
    Column("requests", "Requests", "count"),
    Column("input_tokens", "Input tokens", "count", sparse=True),
    Column("cached_input_tokens", "Cached tokens", "count", sparse=True),
    Column("cache_write_tokens", "Cache write tokens", "count", sparse=True),
    Column("output_tokens", "Output tokens", "count", sparse=True),
    Column("characters", "Characters", "count", sparse=True),
    Column("audio_seconds", "Audio", "seconds", sparse=True),
    Column("connection_seconds", "Connected", "seconds", sparse=True),
    Column("cancelled_requests", "Cut off", "count", sparse=True),
    Column("errors", "Errors", "count", sparse=True),
    Column("without_usage_requests", "Without usage", "count", sparse=True),
    Column("missing_turns", "Missing turns", "count", sparse=True),
    Column("free_requests", "Free", "count", sparse=True),
    Column("unpriced_requests", "Unpriced", "count", sparse=True),
    # Parts of the sums above, as providers report them.
    Column("input_audio_tokens", "Input audio tokens", "count", detail=True),
    Column("input_image_tokens", "Input image tokens", "count", detail=True),
    Column("cached_audio_tokens", "Cached audio tokens", "count", detail=True),
    Column("cached_image_tokens", "Cached image tokens", "count", detail=True),
    Column("output_audio_tokens", "Output audio tokens", "count", detail=True),
    Column("output_image_tokens", "Output image tokens", "count", detail=True),
)
_ASKED_AS: Final = {
    "input_tokens": "tokens_input",
    "cached_input_tokens": "tokens_cached_input",
    "cache_write_tokens": "tokens_cache_write",
    "output_tokens": "tokens_output",
}
_NAMES: Final = tuple(_ASKED_AS.get(each.name, each.name) for each in _COLUMNS)
_OF_USAGE: Final = tuple(name for name in _NAMES if name not in ("errors", "missing_turns"))


def report(ledger: Snapshot, question: Question) -> Report:
    """Report the usage of a period.

    Raises:
        QuestionError: A label is asked for that no call has.
    """
    reading.check_labels(ledger, question)
    answer = reading.usage(ledger, question, _OF_USAGE)
    groups = answer.reported
    for key, sums in ledger.failures(reading.span(question), reading.key_columns(question)):
        group = reading.group(question, key)
        if group is not None:
            # A failed attempt is a request too, and reports no usage.
            failed = sums["errors"]
            reading.add(groups, group, {"errors": failed, "requests": failed})
    for key, sums in ledger.missing(reading.span(question), reading.key_columns(question)):
        group = reading.group(question, key)
        if group is not None:
            held = groups.setdefault(group, {})
            held["missing_turns"] = held.get("missing_turns", 0) + sums["missing_turns"]
    sizes = {group: sums.get("requests", 0) for group, sums in groups.items()}
    total = reading.total(groups)
    notes = []
    if missing := total.get("missing_turns", 0):
        notes.append(
            f"in {written.counted(missing, 'turn')} something was used that nobody reported;"
            " name it in the agent with call.meter(component)"
        )
    if answer.estimated:
        count = reading.total(answer.estimated).get("requests", 0)
        used = f"what {written.counted(count, 'request')} used that no event reports"
        notes.append(f"{used} is estimated, and not in these figures")
    return lines.report(
        question,
        "Usage",
        _COLUMNS,
        sizes,
        lambda group: _line(groups[group]),
        totals=_line(total) if question.by else None,
        notes=(*notes, *reading.notes(ledger, question, total.get("unpriced_requests", 0))),
        charts=(lines.chart(question, "Requests", "count", sizes),),
        empty="nothing was used",
    )


def _line(sums: Numbers) -> tuple[Value, ...]:
    return tuple(sums.get(name, 0) for name in _NAMES)
