"""The list of calls, and the details of one call."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from math import inf
from typing import Final, Literal, TypeAlias

from livekit_exporter.ledger.queries import ListedCall, Snapshot, Span, Sums
from livekit_exporter.ledger.rows import CallRows, SessionRow, TurnRow
from livekit_exporter.prices.explain.words import printable
from livekit_exporter.record import Source
from livekit_exporter.reports import lines, reading, written
from livekit_exporter.reports.question import OF_A_REQUEST, Question, QuestionError
from livekit_exporter.reports.reading import Group, Numbers
from livekit_exporter.reports.report import Column, Report, Value, row

Order: TypeAlias = Literal["latest", "cost", "duration", "latency", "turns"]

_SHOWN: Final = 20
_NOTHING: Final = 1e-9
_AT_A_TIME: Final = 500
_BESIDE: Final = "estimated cost is what vendors bill and LiveKit does not report; not in 'cost'"
_STAGES: Final = ("stt", "llm", "tts", "realtime")

_LISTED: Final = (
    Column("session", "Call"),
    Column("began", "Began"),
    Column("started_at", "Began", "time", detail=True),
    Column("agent", "Agent"),
    Column("user", "User", sparse=True),
    Column("session_seconds", "Length", "seconds"),
    Column("turns", "Turns", "count"),
    Column("latency_seconds", "Longest wait", "seconds"),
    Column("cost_usd", "Cost", "usd"),
    Column("estimated_usd", "Estimated", "usd", sparse=True),
    Column("wasted_usd", "Wasted", "usd", detail=True),
    Column("interrupted", "Talked over", "count", detail=True),
    Column("unpriced_requests", "Unpriced", "count", sparse=True),
    Column("reason", "Ended", detail=True),
    Column("labels", "Labels", detail=True),
)
_TURNS: Final = (
    Column("speech", "Speech"),
    Column("at", "At"),
    Column("cost_usd", "Cost", "usd"),
    Column("latency_seconds", "Wait", "seconds"),
    Column("eou_delay_seconds", "EOU", "seconds", sparse=True),
    Column("transcription_delay_seconds", "STT", "seconds", sparse=True),
    Column("callback_seconds", "Callback", "seconds", sparse=True),
    Column("first_token_seconds", "Token", "seconds", sparse=True),
    Column("first_byte_seconds", "Byte", "seconds", sparse=True),
    Column("happened", "Note", sparse=True),
    Column("persona", "Persona", sparse=True),
    Column("tool_calls", "Tools", "count", sparse=True),
    Column("stt_usd", "STT", "usd", sparse=True),
    Column("llm_usd", "LLM", "usd", sparse=True),
    Column("tts_usd", "TTS", "usd", sparse=True),
    Column("realtime_usd", "Realtime", "usd", sparse=True),
    Column("other_usd", "Other", "usd", sparse=True),
    Column("wasted_usd", "Wasted", "usd", sparse=True),
)
_MODELS: Final = (
    Column("stage", "Stage"),
    Column("provider", "Provider"),
    Column("model", "Model"),
    Column("requests", "Requests", "count"),
    Column("cost_usd", "Cost", "usd"),
    Column("cost_share", "Share", "share"),
    Column("wasted_usd", "Wasted", "usd", sparse=True),
    Column("estimated_usd", "Estimated", "usd", sparse=True),
    Column("unpriced_requests", "Unpriced", "count", sparse=True),
)
_ESTIMATES: Final = (
    Column("speech", "Speech"),
    Column("at", "At"),
    Column("stage", "Stage"),
    Column("provider", "Provider"),
    Column("model", "Model"),
    Column("reason", "Reason"),
    Column("requests", "Requests", "count"),
    Column("estimated_usd", "Estimated", "usd"),
)


@dataclass(frozen=True, slots=True)
class Detail:
    """The ledger's data of one call.

    Args:
        call: The call itself.
        rows: Everything that belongs to it.
        models: Usage by stage, provider, model and source.
        parts: Usage by reply that it is part of the cost of, and stage.
    """

    call: SessionRow
    rows: CallRows
    models: Sequence[Sums]
    parts: Sequence[Sums]


def listing(ledger: Snapshot, question: Question, order: Order) -> Report:
    """List the calls of a period.

    Raises:
        QuestionError: A label is asked for that no call has.
    """
    reading.check_labels(ledger, question)
    period = question.period
    calls = reading.begun(ledger, question)
    if any(name in question.only for name in OF_A_REQUEST):
        used = ledger.usage(reading.span(question), ("session",), ("reports",))
        sessions = {key["session"] for key, _ in used}
        calls = [call for call in calls if call.session in sessions]
    longest = ledger.longest(reading.span(reading.of_a_call(question)))
    waits = {str(key["session"]): sums["latency_seconds"] for key, sums in longest}
    places: dict[Order, Callable[[ListedCall], float]] = {
        "latest": lambda call: call.started_at,
        "cost": lambda call: call.cost_usd,
        "duration": lambda call: _seconds(call) or 0.0,
        "latency": lambda call: waits.get(call.session, 0.0),
        "turns": lambda call: call.turns,
    }
    calls.sort(key=lambda call: (-places[order](call), call.session))
    question = replace(question, limit=question.limit or _SHOWN)
    shown, left_out = lines.shown(question, calls)
    beside = _estimated(ledger, period.since, [call.session for call in shown])
    sorted_by = "" if order == "latest" else f", the largest {order} first"
    return Report(
        title=f"{question.title('Calls')}{sorted_by}",
        columns=_LISTED,
        rows=tuple(
            _listed(call, waits.get(call.session), beside.get(call.session, 0.0), period.zone)
            for call in shown
        ),
        notes=(
            *left_out,
            *([_BESIDE] if any(beside.values()) else []),
            *reading.notes_on_calls(ledger, question),
        ),
        empty=f"no call began: {period}",
    )


def detail(ledger: Snapshot, prefix: str) -> Detail:
    """Read one call.

    Args:
        ledger: To read from.
        prefix: Its id, or as much of it as no other call's begins with.

    Raises:
        QuestionError: There is none, or there are several.
    """
    found = ledger.call(prefix) if prefix else []
    if not found:
        raise QuestionError(f"no call's id begins with '{prefix}'; see 'calls list'")
    if len(found) > 1:
        ids = ", ".join(printable(each.session) for each in found[:8])
        more = " and more" if len(found) > 8 else ""  # noqa: PLR2004 - as many as were read
        raise QuestionError(f"several calls' ids begin with '{prefix}': {ids}{more}")
    session = found[0].session
    return Detail(
        found[0],
        ledger.rows_of(session),
        ledger.usage_of(session, ("stage", "provider", "model", "source")),
        ledger.usage_of(session, ("turn", "stage", "source")),
    )


def facts(shown: Detail, zone: tzinfo) -> list[tuple[str, str]]:
    """Return the facts about a call as a whole, as names and values."""
    call, labels, beside = shown.call, reading.labels(shown.call.labels), _beside(shown)
    said: list[tuple[str, str | None]] = [
        ("agent", call.agent),
        ("user", call.user),
        ("labels", ", ".join(f"{name}={value}" for name, value in labels.items()) or None),
        ("room", call.room),
        ("job", call.job),
        ("trace", call.trace),
        ("host", call.host or None),
        ("began", _moment(call.started_at, zone).isoformat(sep=" ", timespec="seconds")),
        ("length", _length(call)),
        ("ended", "its process died; the end may be missing" if call.incomplete else call.reason),
        ("error", call.error or None),
        ("turns", f"{call.turns}, {call.interrupted} of them talked over"),
        ("cost", _cost(call)),
        ("of it", _outside(shown) or None),
        (
            "estimated",
            f"about {written.money(beside)} more that no event reports" if beside else None,
        ),
    ]
    return [(name, printable(value)) for name, value in said if value is not None]


def turns(shown: Detail) -> Report:
    """Report every reply with its time, the caller's wait and its cost by stage."""
    spent: dict[tuple[object, object], float] = {
        (key["turn"], key["stage"]): sums["cost_usd"]
        for key, sums in shown.parts
        if key["source"] == "reported"
    }
    notes = []
    outside = shown.call.cost_usd - sum(turn.cost_usd for turn in shown.rows.turns)
    if outside > shown.call.cost_usd * _NOTHING:
        notes.append(f"{written.money(outside)} belongs to no reply")
    return Report(
        title="Turns",
        columns=_TURNS,
        rows=tuple(_turn(shown.call, turn, spent) for turn in shown.rows.turns),
        notes=tuple(notes),
        empty="the agent said nothing",
    )


def models(shown: Detail) -> Report:
    """Report requests and cost of each model of a call."""
    reported, estimated = _by_model(shown, "reported"), _by_model(shown, "estimated")
    total = reading.total(reported)
    rows = tuple(
        (*model, *_spent(reported.get(model, {}), estimated.get(model, {}), total))
        for model in sorted({*reported, *estimated})
    )
    totals = (None, None, None, *_spent(total, reading.total(estimated), total))
    unpriced = sorted(model for model, sums in reported.items() if sums["unpriced_requests"])
    named = ", ".join(f"{provider}/{model}" for _, provider, model in unpriced)
    return Report(
        title="Models",
        columns=_MODELS,
        rows=rows,
        totals=totals if rows else None,
        notes=(
            *([f"without a price, so the cost is too low: {named}"] if unpriced else []),
            *([_BESIDE] if estimated else []),
        ),
        empty="nothing was used",
    )


def estimates(shown: Detail) -> Report:
    """Report requests that vendors bill but LiveKit does not report, with the reason of each."""
    estimated = [
        used
        for used in sorted(shown.rows.usage, key=lambda used: used.at)
        if used.source == "estimated"
    ]
    rows = tuple(
        row(
            _ESTIMATES,
            used,
            speech=None if used.speech is None else used.speech.removeprefix("speech_"),
            at=_clock(used.at - shown.call.started_at),
            # The ledger keeps the reason only where part of the reply was not heard.
            reason=used.waste_reason or "interrupted",
            estimated_usd=used.cost_usd,
        )
        for used in estimated
    )
    requests = sum(used.requests for used in estimated)
    return Report(
        title="Billed and not reported",
        columns=_ESTIMATES,
        rows=rows,
        totals=(*(None for _ in _ESTIMATES[:-2]), requests, _beside(shown)) if rows else None,
        empty="nothing is estimated",
    )


def _estimated(ledger: Snapshot, since: float, sessions: Sequence[str]) -> dict[str, float]:
    """Sum the estimated cost of each call, US dollars; `since` is before they all began."""
    found: dict[str, float] = {}
    for start in range(0, len(sessions), _AT_A_TIME):
        some = {"session": sessions[start : start + _AT_A_TIME], "source": ("estimated",)}
        for key, sums in ledger.usage(Span(since, inf, some), ("session",), ("cost_usd",)):
            found[str(key["session"])] = sums["cost_usd"]
    return found


def _listed(
    call: ListedCall, wait: float | None, estimated: float, zone: tzinfo
) -> tuple[Value, ...]:
    began = _moment(call.started_at, zone)
    return row(
        _LISTED,
        call,
        began=f"{began:%m-%d %H:%M}",
        started_at=began,
        session_seconds=_seconds(call),
        latency_seconds=wait,
        cost_usd=call.cost_usd if call.cost_usd or not call.unpriced_requests else None,
        estimated_usd=estimated,
        reason=call.reason if call.ended else "going on",
    )


def _turn(
    call: SessionRow, turn: TurnRow, spent: Mapping[tuple[object, object], float]
) -> tuple[Value, ...]:
    parts = {f"{stage}_usd": spent.get((turn.speech, stage), 0.0) for stage in _STAGES}
    other = turn.cost_usd - sum(parts.values())
    return row(
        _TURNS,
        turn,
        speech=turn.speech.removeprefix("speech_"),
        at=_clock(turn.at - call.started_at),
        happened=_happened(turn),
        # A rest this small comes from adding doubles, not from a cost.
        other_usd=other if other > turn.cost_usd * _NOTHING else 0.0,
        **parts,
    )


def _happened(turn: TurnRow) -> str | None:
    """Describe what is special about a reply; `None` for an ordinary one."""
    said = []
    if not turn.spoken:
        said.append("used a tool" if turn.tool_calls else "never said")
    elif turn.interrupted:
        said.append("talked over")
    elif not turn.answered:
        said.append("said unasked")
    if turn.derived:
        said.append("wait added up")
    return ", ".join(said) or None


def _beside(shown: Detail) -> float:
    """Sum the estimated cost of a call, US dollars."""
    return reading.total(_by_model(shown, "estimated")).get("cost_usd", 0.0)


def _spent(reported: Numbers, estimated: Numbers, total: Numbers) -> tuple[Value, ...]:
    cost, unpriced = reported.get("cost_usd", 0.0), int(reported.get("unpriced_requests", 0))
    return (
        int(reported.get("requests", 0)),
        cost if cost or not unpriced else None,
        cost / total["cost_usd"] if total.get("cost_usd") else None,
        reported.get("wasted_usd", 0.0),
        estimated.get("cost_usd", 0.0),
        unpriced,
    )


def _by_model(shown: Detail, source: Source) -> dict[Group, Numbers]:
    return {
        (str(key["stage"]), str(key["provider"]), str(key["model"])): dict(sums)
        for key, sums in shown.models
        if key["source"] == source
    }


def _seconds(call: ListedCall) -> float | None:
    if not call.ended or call.closed_at is None or call.closed_at < call.started_at:
        return None
    return call.closed_at - call.started_at


def _length(call: SessionRow) -> str:
    if not call.ended:
        return "going on"
    return written.UNKNOWN if call.seconds is None else f"{call.seconds:,.1f} s"


def _cost(call: SessionRow) -> str:
    if not call.cost_usd and call.unpriced_requests:
        return "not known, nothing that was used has a price"
    parts = [written.money(call.cost_usd)]
    if call.seconds:
        parts.append(f"{written.money(call.cost_usd / call.seconds * 60)} per minute")
    if call.wasted_usd:
        parts.append(f"{written.money(call.wasted_usd)} of it wasted")
    if call.unpriced_requests:
        parts.append(f"{written.counted(call.unpriced_requests, 'request')} without a price")
    return ", ".join(parts)


def _outside(shown: Detail) -> str:
    """Say what was used beside the session and after it; empty where nothing was."""
    parts = []
    for phase, words in (("beside", "beside the session"), ("after", "after it")):
        rows = [row for row in shown.rows.usage if row.phase == phase and row.source == "reported"]
        if rows:
            requests = written.counted(sum(row.requests for row in rows), "request")
            usd = written.money(sum(row.cost_usd or 0.0 for row in rows))
            parts.append(f"{usd} {words} ({requests})")
    return ", ".join(parts)


def _clock(seconds: float) -> str:
    """Time since the begin of a call, `1:02.3`; a clock that was set back shows."""
    minutes, rest = divmod(abs(round(seconds, 1)), 60)
    return f"{'-' if seconds < 0 else ''}{int(minutes)}:{rest:04.1f}"


def _moment(at: float, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(at, zone).replace(microsecond=0)
