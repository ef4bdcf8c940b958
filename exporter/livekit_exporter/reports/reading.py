"""Sums of the ledger for a question, from the rollups where they suffice, else from rows.

Whole UTC days come from a rollup if it has every column that the question needs; the rest
at both ends of the period comes from rows.  Both ways give the same sums.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, TypeAlias

from livekit_exporter import contract
from livekit_exporter.ledger.queries import QUARTER_SECONDS, Key, ListedCall, Snapshot, Span, Sums
from livekit_exporter.ledger.rows import (
    ModelKey,
    ModelSums,
    UsageRow,
    UserKey,
    UserSums,
    utc_day,
)
from livekit_exporter.reports.question import TIMES, Question
from livekit_exporter.reports.written import counted

Group: TypeAlias = tuple[str | None, ...]
"""Values of a question's dimensions, in their order."""

Numbers: TypeAlias = dict[str, float]

_DAY_SECONDS: Final = 86400
_UTC: Final = ("UTC", "Etc/UTC")
_OF_A_CALL: Final = (*TIMES, "agent", "user", "session")
_NAMED: Final = 5


@dataclass(slots=True)
class UsageSums:
    """Sums of usage by group, reported usage apart from estimated usage.

    Args:
        reported: Usage that LiveKit reported.
        estimated: Usage that vendors bill but LiveKit does not report.
        rolled_up: True if whole days came from a rollup.
    """

    reported: dict[Group, Numbers] = field(default_factory=dict)
    estimated: dict[Group, Numbers] = field(default_factory=dict)
    rolled_up: bool = False


def usage(ledger: Snapshot, question: Question, names: Sequence[str]) -> UsageSums:
    """Sum usage by group.

    Args:
        ledger: Snapshot to read.
        question: Period, filters and groups.
        names: Names of the sums, as in `Snapshot.usage`.
    """
    by = tuple(dict.fromkeys((*key_columns(question), "source")))
    needed, answer = _needed(question), UsageSums()
    rollup = None
    if needed.issubset(ModelKey._fields) and set(names).issubset(ModelSums._fields):
        rollup = ledger.daily
    elif needed.issubset(UserKey._fields) and set(names).issubset(UserSums._fields):
        rollup = ledger.daily_users
    days, spans = _split(question, rolled_up=rollup is not None)
    if rollup is not None and days is not None:
        answer.rolled_up = True
        _take(answer, question, rollup(days, question.only, _by_day(by)), names)
    for each in spans:
        _take(answer, question, ledger.usage(each, by, names), names)
    return answer


def calls(ledger: Snapshot, question: Question) -> dict[Group, Numbers]:
    """Count calls, their seconds and their answered turns by group.

    The sums are `sessions`, `session_seconds` and `turns`.

    A call counts where it began, a turn where it was answered.  Dimensions that a call does
    not have, such as `model`, are left out of the groups; see `of_a_call`.
    """
    question = of_a_call(question)
    columns = key_columns(question)
    found: dict[Group, Numbers] = {}
    days, spans = _split(question, rolled_up=_needed(question).issubset(UserKey._fields))
    if days is not None:
        by = _by_day((*columns, "source"))
        for of_user, sums in ledger.daily_users(days, question.only, by):
            _add(found, question, of_user, _picked(sums, ("sessions", "session_seconds", "turns")))
    for each in spans:
        for call in ledger.calls(each):
            of_call: Key = {
                "quarter": int(call.started_at // QUARTER_SECONDS),
                "agent": call.agent,
                "user": call.user,
                "session": call.session,
                "labels": call.labels,
            }
            lasted = call.closed_at is not None and call.ended and call.closed_at >= call.started_at
            seconds = (call.closed_at or 0.0) - call.started_at if lasted else 0.0
            _add(found, question, of_call, {"sessions": 1, "session_seconds": seconds})
        for key, sums in ledger.answers(each, columns):
            _add(found, question, key, _picked(sums, ("turns",)))
    return found


def begun(ledger: Snapshot, question: Question) -> list[ListedCall]:
    """Read the calls that a question selects, oldest first; what they used does not matter."""
    whole = replace(of_a_call(question), by=())
    return [
        call
        for call in ledger.calls(span(whole))
        if group(whole, {"labels": call.labels}) is not None
    ]


def span(question: Question) -> Span:
    """Return the span of rows that a question selects, without regard to its labels."""
    return Span(question.period.since, question.period.until, question.only)


def used(ledger: Snapshot, question: Question) -> Iterator[tuple[Group, UsageRow]]:
    """Iterate over the usage rows that a question selects, each with its group."""
    columns = [name for name in key_columns(question) if name != "quarter"]
    for row in ledger.used(span(question)):
        key: Key = {name: getattr(row, name) for name in columns}
        key = {**key, "phase": row.phase or "call"} if "phase" in key else key
        where = group(question, {**key, "quarter": int(row.at // QUARTER_SECONDS)})
        if where is not None:
            yield where, row


def of_a_call(question: Question) -> Question:
    """Reduce a question to the dimensions and filters that whole calls have."""
    kept = (*_OF_A_CALL, *question.own_labels)
    return replace(
        question,
        by=tuple(name for name in question.by if name in kept),
        only={name: values for name, values in question.only.items() if name in ("agent", "user")},
    )


def group(question: Question, key: Key) -> Group | None:
    """Return the group of a row; `None` where the labels of the question exclude it."""
    own = labels(str(key["labels"])) if "labels" in key else {}
    for name, values in question.labels.items():
        if own.get(name) not in values:
            return None
    return tuple(_value(question, name, key, own) for name in question.by)


def check_labels(ledger: Snapshot, question: Question) -> None:
    """Refuse labels that no call of the period has, when there are calls.

    Raises:
        QuestionError: There is one.
    """
    if question.own_labels or question.labels:
        texts = ledger.labels(question.period.since, question.period.until)
        if texts:
            question.check_labels(name for text in texts for name in labels(text))


def notes(
    ledger: Snapshot, question: Question, unpriced_requests: float | None = None
) -> list[str]:
    """Note what is missing in the sums of usage, and why.

    Args:
        ledger: Snapshot to read.
        question: Period, filters and groups.
        unpriced_requests: Requests in the sums without a price, where the caller knows.
    """
    said = []
    if unpriced_requests is None:
        alone = usage(ledger, replace(question, by=()), ("unpriced_requests",))
        unpriced_requests = total(alone.reported).get("unpriced_requests", 0)
    # Ask for the models only if there are any: a rollup by user does not have them.
    if unpriced_requests:
        by_model = replace(question, by=("stage", "provider", "model"))
        unpriced = {
            key: int(sums["unpriced_requests"])
            for key, sums in usage(ledger, by_model, ("unpriced_requests",)).reported.items()
            if sums["unpriced_requests"]
        }
        worst = sorted(unpriced, key=lambda key: (-unpriced[key], key))
        models = ", ".join(f"{provider}/{model}" for _, provider, model in worst[:_NAMED])
        more = f" and {len(worst) - _NAMED} more" if len(worst) > _NAMED else ""
        said.append(
            f"{counted(unpriced_requests, 'request')} without a price, so the cost is"
            f" too low: {models}{more}; add a price with 'prices.file'"
        )
    return said + notes_on_calls(ledger, question)


def notes_on_calls(ledger: Snapshot, question: Question) -> list[str]:
    """Note lost and ongoing calls, deleted rows and rejected records."""
    said = []
    about_calls = of_a_call(question)
    if not about_calls.labels:
        endings = ledger.endings(span(about_calls))
        lost = sum(sums["calls"] for key, sums in endings if key["reason"] == "lost")
        going = sum(sums["calls"] for key, sums in endings if not key["ended"])
        if lost:
            said.append(f"{counted(lost, 'call')} ended without a goodbye; the end may be missing")
        if going:
            said.append(f"{counted(going, 'call')} still going on")
    said += _gone(ledger, question)
    for family, what in (
        (contract.RECORDS_REJECTED, "could not be understood"),
        (contract.RECORDS_DROPPED, "could not be written by agents"),
    ):
        count = ledger.counted(family.name)
        if count:
            said.append(
                f"{counted(count, 'record')} {what} since the ledger began; what they said is"
                " missing"
            )
    return said


def total(groups: Mapping[Group, Numbers]) -> Numbers:
    """Sums over all groups."""
    summed: dict[Group, Numbers] = {(): {}}
    for sums in groups.values():
        add(summed, (), sums)
    return summed[()]


def add(into: dict[Group, Numbers], where: Group, sums: Numbers) -> None:
    """Add numbers to those of a group."""
    held = into.setdefault(where, {})
    for name, amount in sums.items():
        held[name] = held.get(name, 0) + amount


def _gone(ledger: Snapshot, question: Question) -> Iterable[str]:
    """Note if rows of the period were deleted and only daily sums are left."""
    kept = ledger.kept()
    if kept.days_since is None:
        return
    rows_from = utc_day(kept.rows_since or 0.0)
    first = max(kept.days_since, utc_day(question.period.since))
    if first < rows_from:
        yield (
            f"of calls before {rows_from} only daily sums are kept: by UTC day with agent, stage,"
            " provider and model, or with agent, user and labels; other answers begin there"
        )


def key_columns(question: Question) -> tuple[str, ...]:
    """Return the columns of the ledger that the groups of a question need."""
    named: dict[str, None] = {}
    for name in question.by:
        own = name in question.own_labels
        named["quarter" if name in TIMES else "labels" if own else name] = None
    if question.labels:
        named["labels"] = None
    return tuple(named)


def _needed(question: Question) -> set[str]:
    """Return the columns, times apart, that a rollup must have to answer a question."""
    own = ("labels",) if question.labels else ()
    return {*key_columns(question), *question.only, *own} - {"quarter"}


def _by_day(columns: Iterable[str]) -> tuple[str, ...]:
    return tuple("day" if name == "quarter" else name for name in columns)


def _split(question: Question, *, rolled_up: bool) -> tuple[tuple[str, str] | None, list[Span]]:
    """Split a period into whole UTC days for a rollup, and spans to read row by row.

    Args:
        question: Its days must be those of UTC, and its groups no hours, for a rollup to do.
        rolled_up: A rollup has the columns that the question needs.

    Returns:
        The first day and the one after the last, `None` where all must come from rows; the
        spans of the rest.
    """
    since, until = question.period.since, question.period.until
    first = -(-since // _DAY_SECONDS) * _DAY_SECONDS
    last = until // _DAY_SECONDS * _DAY_SECONDS
    utc_days = "hour" not in question.by and (
        "day" not in question.by or str(question.period.zone) in _UTC
    )
    if not (rolled_up and utc_days and first < last):
        return None, [span(question)]
    ends = [(since, first), (last, until)]
    spans = [Span(begin, end, question.only) for begin, end in ends if begin < end]
    return (utc_day(first), utc_day(last)), spans


def _take(
    answer: UsageSums, question: Question, rows: Iterable[Sums], names: Sequence[str]
) -> None:
    for key, sums in rows:
        into = answer.estimated if key["source"] == "estimated" else answer.reported
        _add(into, question, key, _picked(sums, names))


def _picked(sums: Mapping[str, float], names: Sequence[str]) -> Numbers:
    return {name: sums[name] for name in names}


def _add(into: dict[Group, Numbers], question: Question, key: Key, sums: Numbers) -> None:
    where = group(question, key)
    if where is not None:
        add(into, where, sums)


def _value(question: Question, name: str, key: Key, own: Mapping[str, str]) -> str | None:
    if name in question.own_labels:
        return own.get(name)
    if name in TIMES and "day" in key:
        return str(key["day"])
    if name in TIMES:
        at = int(key["quarter"] or 0) * QUARTER_SECONDS
        write: Callable[[float], str] = (
            question.period.day if name == "day" else question.period.hour
        )
        return write(at)
    value = key[name]
    return None if value is None else str(value)


@lru_cache(maxsize=4096)
def labels(text: str) -> Mapping[str, str]:
    """Read labels as the ledger keeps them, a JSON object."""
    read = json.loads(text)
    return read if isinstance(read, dict) else {}
