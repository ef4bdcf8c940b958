"""The comparison of two models, agents, personas, customers or periods."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Final, TypeAlias

from livekit_exporter.ledger.queries import ListedCall, Snapshot, Span
from livekit_exporter.reports import period as periods
from livekit_exporter.reports import reading, significance, written
from livekit_exporter.reports.files import UNITS
from livekit_exporter.reports.latency import percentiles
from livekit_exporter.reports.question import (
    FILTERS,
    OF_A_REQUEST,
    Question,
    QuestionError,
    closest,
    pairs,
)
from livekit_exporter.reports.report import Column, Kind, Quantity, Report, Value

_TOO_LITTLE: Final = "too little data"
_NOISE: Final = "within noise"

_COLUMNS: Final = (
    Column("measure", "Measure"),
    Column("unit", "Unit", detail=True),
    Column("a", "A", "quantity"),
    Column("b", "B", "quantity"),
    Column("difference", "B against A", "share"),
    Column("verdict", "Verdict"),
    Column("a_count", "A: sample", "count", detail=True),
    Column("b_count", "B: sample", "count", detail=True),
    Column("low", "Difference at least", "quantity", detail=True),
    Column("high", "Difference at most", "quantity", detail=True),
    Column("method", "Method", detail=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The selection of one side.

    Args:
        text: The selector.
        question: Period and filters.
        personas: Names of LiveKit agents whose turns are meant; all when there is none.
    """

    text: str
    question: Question
    personas: tuple[str, ...] = ()

    @property
    def of_requests(self) -> bool:
        """True if it selects requests within calls: by stage, provider or model."""
        return any(name in self.question.only for name in OF_A_REQUEST)


@dataclass(slots=True)
class Side:
    """The ledger's data of one side.

    Args:
        calls: Calls by their id.
        turns: Answered turns by call, as cost and count.
        latencies: Seconds of every turn that has a latency.
        derived: How many of these are sums of parts.
        interrupted: Turns that were talked over.
        own_usd: By call, cost of the models that the side selects.
        requests: Requests to these, failed ones included.
        errors: Of these, failed.
    """

    calls: dict[str, ListedCall]
    turns: dict[str, list[float]] = field(default_factory=dict)
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    derived: int = 0
    interrupted: int = 0
    own_usd: dict[str, float] = field(default_factory=dict)
    requests: int = 0
    errors: int = 0

    @property
    def answered(self) -> int:
        """Turns in all."""
        return int(sum(count for _, count in self.turns.values()))

    @property
    def lasting(self) -> list[tuple[ListedCall, float]]:
        """Ended calls with their minutes."""
        return [
            (call, (call.closed_at - call.started_at) / 60)
            for call in self.calls.values()
            if call.ended and call.closed_at is not None and call.closed_at > call.started_at
        ]


_Pairs: TypeAlias = Sequence[tuple[float, float]]


def selection(text: str, question: Question, now: float) -> Selection:
    """Read a selector: `model=openai/gpt-4.1-mini`, `agent=a,since=7d`, or `tenant=acme`.

    Args:
        text: What a person wrote.
        question: What holds for both sides.
        now: Unix seconds.

    Raises:
        QuestionError: It has another form.
        PeriodError: A time in it cannot be read.
    """
    given = pairs(part for part in text.split(",") if part.strip())
    if not given:
        raise QuestionError(f"'{text}' selects nothing; write, for example, 'agent=support'")
    times = {name: given.pop(name)[-1] for name in ("since", "until") if name in given}
    span = question.period
    if times:
        span = periods.Period(
            periods.moment(times["since"], now, span.zone) if "since" in times else span.since,
            periods.moment(times["until"], now, span.zone) if "until" in times else span.until,
            span.zone,
        )
        if span.since >= span.until:
            raise QuestionError(f"'{text}': the period ends before it begins")
    personas = given.pop("persona", ())
    only: dict[str, tuple[str, ...]] = {name: given.pop(name) for name in FILTERS if name in given}
    return Selection(
        text=text,
        question=replace(
            question,
            period=span,
            only={**question.only, **only},
            labels={**question.labels, **given},
        ),
        personas=personas,
    )


def report(ledger: Snapshot, question: Question, first: Selection, second: Selection) -> Report:
    """Compare two selections.

    Raises:
        QuestionError: One of them selects a model or label that does not occur.
    """
    turnwise = any(each.personas or each.of_requests for each in (first, second))
    sides = [_read(ledger, each) for each in (first, second)]
    a, b = sides
    found = bool(a.calls and b.calls)
    rows = tuple(_rows(a, b, first, second, turnwise=turnwise)) if found else ()
    missing = [
        each.text for each, side in zip((first, second), sides, strict=True) if not side.calls
    ]
    return Report(
        title=f"A: {first.text} against B: {second.text}, {question.period}",
        columns=_COLUMNS,
        rows=rows,
        notes=tuple(_notes(first, second, sides, turnwise=turnwise)) if found else (),
        empty=f"no call of the period matches {' and none '.join(map(repr, missing))}",
    )


def _read(ledger: Snapshot, chosen: Selection) -> Side:
    question = _resolved(ledger, chosen.question)
    reading.check_labels(ledger, question)
    period = question.period
    calls = {call.session: call for call in reading.begun(ledger, question)}
    persona = {"persona": chosen.personas} if chosen.personas else {}
    # A call belongs to the period that it began in, also with what it does after the end.
    span = Span(period.since, inf, {**question.only, **persona})
    side = Side(calls)
    # Usage of speech recognition names no reply, so no speech is found and every turn counts.
    by = ("session", "speech") if chosen.of_requests else ("session",)
    speeches: set[tuple[object, object]] = set()
    for key, sums in ledger.usage(span, by, ("requests", "cost_usd")):
        session = str(key["session"])
        if session in calls:
            side.own_usd[session] = side.own_usd.get(session, 0.0) + sums["cost_usd"]
            side.requests += int(sums["requests"])
            if key.get("speech") is not None:
                speeches.add((session, key["speech"]))
    for key, sums in ledger.failures(span, ("session",)):
        if key["session"] in calls:
            side.errors += int(sums["errors"])
            side.requests += int(sums["errors"])
    if chosen.of_requests or chosen.personas:
        side.calls = {session: call for session, call in calls.items() if session in side.own_usd}
    turns = Span(period.since, inf, {**reading.of_a_call(question).only, **persona})
    for (of_call, speech), times in ledger.turns(turns, ("session", "speech")):
        session = str(of_call)
        if (
            not times.answered
            or session not in side.calls
            or (speeches and (session, speech) not in speeches)
        ):
            continue
        held = side.turns.setdefault(session, [0.0, 0])
        held[0] += times.cost_usd
        held[1] += 1
        side.interrupted += times.interrupted
        if times.latency_seconds is not None:
            side.latencies.append(times.latency_seconds)
            side.derived += times.derived
    return side


def _resolved(ledger: Snapshot, question: Question) -> Question:
    """Read `provider/model` as what it is, unless a model is called so.

    Raises:
        QuestionError: No such model was used.
    """
    wanted = question.only.get("model")
    if not wanted:
        return question
    used = {
        (str(provider), str(model))
        for provider, model in reading.usage(
            ledger,
            replace(question, by=("provider", "model"), only={}, labels={}),
            ("requests",),
        ).reported
    }
    only: Mapping[str, tuple[str, ...]] = question.only
    for name in wanted:
        if any(name == model for _, model in used):
            continue
        provider, slash, model = name.partition("/")
        if slash and (provider, model) in used and len(wanted) == 1:
            return replace(question, only={**only, "provider": (provider,), "model": (model,)})
        known = [text for each in used for text in ("/".join(each), each[1])]
        raise QuestionError(f"model '{name}' was not used in the period{closest(name, known)}")
    return question


def _rows(
    a: Side, b: Side, first: Selection, second: Selection, *, turnwise: bool
) -> Iterator[tuple[Value, ...]]:
    whole = not (first.personas or second.personas)
    minutes = [[(call.cost_usd, length) for call, length in side.lasting] for side in (a, b)]
    if whole:
        yield _ratio("cost per minute", *minutes)
    if first.of_requests and second.of_requests:
        own = [
            [(side.own_usd.get(call.session, 0.0), length) for call, length in side.lasting]
            for side in (a, b)
        ]
        yield _ratio("selected models, per minute", *own)
    per_turn = [
        [(usd, count) for usd, count in side.turns.values()]
        if turnwise
        else [(call.cost_usd, call.turns) for call in side.calls.values() if call.turns]
        for side in (a, b)
    ]
    yield _ratio("cost per turn", *per_turn)
    for percent, place in ((50, 0), (95, 1)):
        found = [percentiles(side.latencies)[place] if side.latencies else None for side in (a, b)]
        counts = (len(a.latencies), len(b.latencies))
        tested = significance.of_quantiles(a.latencies, b.latencies, percent / 100)
        yield _line(f"turn latency p{percent}", "seconds", found, counts, tested)
    yield _rate("interrupted turns", (a.interrupted, a.answered), (b.interrupted, b.answered))
    yield _rate("failed requests", (a.errors, a.requests), (b.errors, b.requests))


def _ratio(measure: str, first: _Pairs, second: _Pairs) -> tuple[Value, ...]:
    sums = [
        (sum(over for over, _ in pairs), sum(under for _, under in pairs))
        for pairs in (first, second)
    ]
    found = [over / under if under else None for over, under in sums]
    tested = significance.of_ratios(first, second)
    return _line(measure, "usd", found, (len(first), len(second)), tested)


def _rate(measure: str, first: tuple[int, int], second: tuple[int, int]) -> tuple[Value, ...]:
    found = [hits / trials if trials else None for hits, trials in (first, second)]
    tested = significance.of_rates(first, second)
    return _line(measure, "share", found, (first[1], second[1]), tested)


def _line(
    measure: str,
    kind: Kind,
    values: Sequence[float | None],
    counts: tuple[int, int],
    tested: significance.TestedDifference | None,
) -> tuple[Value, ...]:
    a, b = values
    return (
        measure,
        UNITS[kind],
        Quantity(kind, a),
        Quantity(kind, b),
        b / a - 1 if a and b is not None else None,
        _verdict(tested, a, b),
        *counts,
        Quantity(kind, tested.low if tested else None),
        Quantity(kind, tested.high if tested else None),
        tested.method if tested else None,
    )


def _verdict(
    tested: significance.TestedDifference | None, a: float | None, b: float | None
) -> str | None:
    if tested is None or a is None or b is None:
        return _TOO_LITTLE
    if tested.by_chance:
        return _NOISE
    return "B is lower" if b < a else "B is higher"


def _notes(
    first: Selection, second: Selection, sides: Sequence[Side], *, turnwise: bool
) -> Iterator[str]:
    for letter, chosen, side in zip("AB", (first, second), sides, strict=True):
        minutes = sum(length for _, length in side.lasting)
        yield (
            f"{letter} is {chosen.text}, {chosen.question.period}:"
            f" {written.counted(len(side.calls), 'call')}, {minutes:,.1f} minutes,"
            f" {written.counted(side.answered, 'turn')},"
            f" {written.counted(side.requests, 'request')}"
        )
    both = len(sides[0].calls.keys() & sides[1].calls.keys())
    if both:
        yield f"{written.counted(both, 'call')} on both sides"
    if turnwise:
        yield "cost per turn is that of the turns themselves, without what was thrown away"
    unpriced = sum(call.unpriced_requests for side in sides for call in side.calls.values())
    if unpriced:
        yield f"{written.counted(unpriced, 'request')} without a price, so some cost is too low"
    derived = sum(side.derived for side in sides)
    if derived:
        yield f"{written.counted(derived, 'latency value')} derived, where LiveKit measured none"
    yield (
        "verdicts hold with 95 % confidence, each by itself: cost by Welch's t-test over calls,"
        " latency by the bootstrap over turns, rates by the two-proportion z-test, few by Fisher's"
        " exact test"
    )
