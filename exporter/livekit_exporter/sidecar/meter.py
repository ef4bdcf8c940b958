"""What a record means: rows for the ledger, increments and observations for the page.

Pure in the sense that matters: it reads no clock and no file, and changes nothing but
the batch, the staged values, and the rows of the calls that are going on.  Those are
read from the ledger at start and after a failed commit, so that a batch that did not
become durable leaves no trace.
"""

import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from livekit_exporter import contract
from livekit_exporter.calls import waste
from livekit_exporter.calls.sizes import Sizes
from livekit_exporter.calls.turns import Conversation, plausible, speech_of
from livekit_exporter.contract import Family, Kind
from livekit_exporter.ledger.rows import (
    Batch,
    FailureRow,
    SessionRow,
    SizesKey,
    TurnRow,
    UsageRow,
    UserSums,
    user_key,
)
from livekit_exporter.prices import legs
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.record import (
    AvailabilityChanged,
    BudgetLookupFailed,
    BudgetReached,
    CollectorReport,
    MessageAdded,
    ModelsDeclared,
    Record,
    RequestFailed,
    RequestTraced,
    SessionClosed,
    SessionStarted,
    ToolCalled,
    TurnCommitted,
    UsageEstimated,
    UsageReported,
)
from livekit_exporter.sidecar.billing import Billing
from livekit_exporter.sidecar.labels import CallLabels, LabelValues, project
from livekit_exporter.sidecar.registry import Labels, Staged, exemplar

_TURNS_AT_HAND: Final = 8
"""Turns of a call that are kept in memory; older ones are read back when a record names them."""

_ENDED_AT_HAND: Final = 256

_AGENT_FAMILIES: Final = tuple(
    family
    for family in contract.FAMILIES
    if family.labels == ("agent",) and family.kind is not Kind.GAUGE
)
_FIRST_FAMILIES: Final = {
    "llm": contract.LLM_TTFT,
    "tts": contract.TTS_TTFB,
    "realtime": contract.REALTIME_TTFT,
}


_BUDGET_FAMILIES: Final = {
    "warn": contract.BUDGET_WARNINGS,
    "limit": contract.BUDGET_EXCEEDED,
}
"""Requests without a price have a counter of their own."""


class Archive(Protocol):
    """Where rows are found that are not in memory."""

    def open_sessions(self) -> list[SessionRow]:
        """Calls that have not ended."""
        ...

    def session(self, session: str) -> SessionRow | None:
        """One call."""
        ...

    def turn(self, session: str, speech: str) -> TurnRow | None:
        """One turn."""
        ...

    def unfinished(self, session: str) -> list[TurnRow]:
        """Replies of a call of which no message came, or which were cut off and answer nobody."""
        ...

    def usage_of(self, session: str, speech: str) -> list[UsageRow]:
        """Usage rows of one reply."""
        ...


class Meter:
    """Takes records in, in the order of their journal.

    Args:
        archive: The ledger, to read from.
        catalogue: Prices in force.
        values: Which label values may appear.
        extra_labels: The operator's label names.
    """

    def __init__(
        self, archive: Archive, catalogue: Catalogue, values: LabelValues, extra_labels: Labels
    ) -> None:
        self._archive = archive
        self._values, self._extra_labels = values, extra_labels
        self.use(catalogue)
        self._open: dict[str, SessionRow] = {}
        self._ended: OrderedDict[str, SessionRow] = OrderedDict()
        self._turns: dict[str, OrderedDict[str, TurnRow]] = {}
        # Of calls that began under this meter: replies whose rows only the ledger has.
        # Any other is new, and asking the ledger would be a query a turn.
        self._put_away: dict[str, set[str]] = {}
        self.reload()

    def use(self, catalogue: Catalogue) -> None:
        """Price from now on with this catalogue."""
        self._catalogue = catalogue
        self._labels = CallLabels(self._values, catalogue.provider, self._extra_labels)
        self._billing = Billing(catalogue, self._labels)

    def reload(self) -> None:
        """Read the calls that are going on from the ledger, and forget what was not committed."""
        self._open = {row.session: row for row in self._archive.open_sessions()}
        self._ended.clear()
        self._turns.clear()
        self._put_away.clear()
        self._labels.forget()

    def active(self) -> dict[str, int]:
        """Calls going on by agent, as a label value."""
        counted: dict[str, int] = {}
        for row in self._open.values():
            if row.closed_at is None:
                counted[row.agent] = counted.get(row.agent, 0) + 1
        return counted

    def orphans(self, journals: Iterable[str]) -> list[str]:
        """Journals of calls going on that are not among those that exist."""
        return sorted({row.journal for row in self._open.values()} - set(journals))

    def take(self, journal: str, record: Record, batch: Batch, staged: Staged) -> None:
        """Take in one record."""
        staged.inc(contract.RECORDS, (record.kind,))
        if isinstance(record, CollectorReport):
            self._report(record, staged)
            return
        row = self._row(journal, record, batch, staged)
        row.last_at = max(row.last_at, record.at)
        row.trace = record.trace or row.trace
        batch.sessions[row.session] = row
        self._read(row, record, batch, staged)

    def _read(self, row: SessionRow, record: Record, batch: Batch, staged: Staged) -> None:
        match record:
            case UsageReported():
                self._usage(row, record, batch, staged)
            case UsageEstimated() | RequestTraced():
                self._traced(row, record, batch, staged)
            case MessageAdded():
                self._message(row, record, batch, staged)
            case TurnCommitted():
                self._committed(row, record, batch, staged)
            case RequestFailed():
                self._failed(row, record, batch, staged)
            case ToolCalled():
                self._tool(row, record, batch, staged)
            case _:
                self._read_state(row, record, batch, staged)

    def _read_state(self, row: SessionRow, record: Record, batch: Batch, staged: Staged) -> None:
        """What a record says of the call itself, and of whom it talks to."""
        match record:
            case AvailabilityChanged(available=False):
                staged.inc(contract.FALLBACKS, self._labels.request(row, record, staged))
            case SessionStarted() | ModelsDeclared():
                self._declare(row, record, staged)
            case BudgetReached() | BudgetLookupFailed():
                self._budget(row, record, staged)
            case SessionClosed():
                self._closed(row, record, batch)

    def _closed(self, row: SessionRow, record: SessionClosed, batch: Batch) -> None:
        before = row.seconds or 0.0
        row.closed_at = record.at
        row.reason = record.reason
        row.error = record.error
        if row.ended:
            # Said in a second file, after the first had come to its end.
            self._lasted(row, (row.seconds or 0.0) - before, batch)

    def end(self, journal: str, batch: Batch, staged: Staged) -> None:
        """End the calls of a journal that is read to its end and has no writer."""
        for row in [row for row in self._open.values() if row.journal == journal]:
            self._settle(row, batch, staged)
            row.ended = True
            row.reason = row.reason or "lost"
            self._unfinished(row, batch, staged)
            row.closed_at = row.closed_at or row.last_at
            self._legs(row, batch, staged)
            labels = self._labels.agent(row, staged)
            extra = self._labels.own(row, staged)
            reason = self._labels.values.admit("reason", row.reason, staged)
            staged.inc(contract.SESSIONS_CLOSED, (labels[0], reason, *extra))
            if row.seconds is None:
                staged.inc(contract.SAMPLES_REJECTED, ("negative",))
            else:
                staged.observe(contract.SESSION_SECONDS, labels, row.seconds)
                self._lasted(row, row.seconds, batch)
            staged.observe(contract.SESSION_COST, labels, row.cost_usd)
            batch.sessions[row.session] = row
            del self._open[row.session]
            self._turns.pop(row.session, None)
            self._put_away.pop(row.session, None)
            self._labels.forget(row.session)
            self._remember(row)

    def _legs(self, row: SessionRow, batch: Batch, staged: Staged) -> None:
        """Bill what the call costs by its length, now that it is known."""
        call = legs.Call(
            session=row.session,
            agent=row.agent,
            labels=json.loads(row.labels),
            started_at=row.started_at,
            ended_at=row.closed_at or row.last_at,
        )
        for record in legs.usage(self._catalogue, call):
            self._usage(row, record, batch, staged)

    def _lasted(self, row: SessionRow, seconds: float, batch: Batch) -> None:
        batch.users.append((user_key(row, row.started_at), UserSums(session_seconds=seconds)))

    def _remember(self, row: SessionRow) -> None:
        self._ended[row.session] = row
        if len(self._ended) > _ENDED_AT_HAND:
            self._ended.popitem(last=False)

    def _row(self, journal: str, record: Record, batch: Batch, staged: Staged) -> SessionRow:
        """The call that a record belongs to; a new one when nobody has heard of it."""
        row = self._open.get(record.session) or self._ended.get(record.session)
        if row is None:
            row = self._archive.session(record.session)
            if row is not None:
                self._remember(row)
        if row is None:
            row = _new_row(journal, record)
            self._open[row.session] = row
            self._put_away[row.session] = set()
            labels = self._labels.agent(row, staged)
            for family in _AGENT_FAMILIES:
                staged.init_at_zero(family, labels)
            for reason in contract.CLOSE_REASONS:
                closed = (labels[0], reason, *self._labels.own(row, staged))
                staged.init_at_zero(contract.SESSIONS_CLOSED, closed)
            staged.inc(contract.SESSIONS, labels)
            batch.users.append((user_key(row, row.started_at), UserSums(sessions=1)))
        elif isinstance(record, SessionStarted):
            # The session's first file was deleted under its writer, and this is the second.
            row.journal = journal
        return row

    def _report(self, report: CollectorReport, staged: Staged) -> None:
        for reason, count in report.dropped.items():
            if count > 0:
                value = self._labels.values.admit("reason", reason, staged)
                staged.inc(contract.RECORDS_DROPPED, (value,), count)
        for reason, count in report.rejected.items():
            if count > 0:
                value = self._labels.values.admit("reason", reason, staged)
                staged.inc(contract.RECORDS_REJECTED, (value,), count)

    def _declare(
        self, row: SessionRow, record: SessionStarted | ModelsDeclared, staged: Staged
    ) -> None:
        agent, *extra = self._labels.agent(row, staged)
        if isinstance(record, SessionStarted):
            for scope in record.budgets:
                for counted in _BUDGET_FAMILIES.values():
                    staged.init_at_zero(counted, (agent, scope, *extra))
        for model in record.models:
            base = self._labels.base(row, model, staged)
            _bear(model.stage, base, extra, staged)
            if model.stage == "stt":
                row.stt_provider, row.stt_model = base[2], base[3]

    def _budget(
        self, row: SessionRow, record: BudgetReached | BudgetLookupFailed, staged: Staged
    ) -> None:
        agent, *extra = self._labels.agent(row, staged)
        if isinstance(record, BudgetLookupFailed):
            staged.inc(contract.BUDGET_LOOKUPS_FAILED, (agent, *extra))
        elif record.threshold in _BUDGET_FAMILIES:
            staged.inc(_BUDGET_FAMILIES[record.threshold], (agent, record.scope, *extra))

    def _usage(self, row: SessionRow, record: UsageReported, batch: Batch, staged: Staged) -> None:
        base = self._labels.base(row, record, staged)
        record = self._waits(row, record, base, staged)
        cost = self._billing.take(row, record, base, batch, staged)
        if record.stage == "stt" and not record.connection:
            row.stt_provider, row.stt_model = base[2], base[3]
        self._assign(row, record, cost, batch)

    def _waits(
        self, row: SessionRow, record: UsageReported, base: Labels, staged: Staged
    ) -> UsageReported:
        """Observe what was measured; the record without what is no measurement."""
        self._count_rejected(record.rejected, staged)
        own = self._labels.own(row, staged)
        at = record.at
        first, request = record.first_seconds, record.request_seconds
        family = _FIRST_FAMILIES.get(record.stage)
        if family is not None:
            labels = (*project(family, base), *own)
            first = self._wait(row, family, labels, first, at, staged)
        request = self._wait(row, contract.REQUEST_SECONDS, (*base, *own), request, at, staged)
        acquire = (*project(contract.CONNECTION_ACQUIRE, base), *own)
        self._wait(row, contract.CONNECTION_ACQUIRE, acquire, record.acquire_seconds, at, staged)
        rate = record.tokens_per_second
        if rate is not None and 0 < rate <= contract.HIGHEST_TOKEN_RATE:
            labels = (*project(contract.TOKENS_PER_SECOND, base), *own)
            staged.observe(contract.TOKENS_PER_SECOND, labels, rate)
        elif rate is not None:
            staged.inc(contract.SAMPLES_REJECTED, ("impossible_rate",))
        if first != record.first_seconds or request != record.request_seconds:
            return replace(record, first_seconds=first, request_seconds=request)
        return record

    def _assign(self, row: SessionRow, record: UsageReported, cost: float, batch: Batch) -> None:
        """Give the cost to the reply that caused it, or keep it for the next answer."""
        if record.speech is None:
            row.unassigned_usd += cost
            return
        turn = self._turn(row, record.speech, record.at, batch)
        turn.cost_usd += cost
        turn.use(record)

    def _message(self, row: SessionRow, record: MessageAdded, batch: Batch, staged: Staged) -> None:
        self._count_rejected(record.rejected, staged)
        labels = self._labels.agent(row, staged)
        before = row.answered
        speech = speech_of(record, row.turns)
        conversation = Conversation(row.waiting, row.answered)
        answers = conversation.hear(record)
        if record.role == "user":
            row.waiting = conversation.waiting
            return
        turn = self._turn(row, speech, record.at, batch)
        if answers:
            if before is not None:
                self._settle(row, batch, staged)
            row.waiting, row.answered = conversation.waiting, speech
            row.turns += 1
            if not turn.answered:
                batch.users.append((user_key(row, turn.at), UserSums(turns=1)))
            turn.cost_usd += row.unassigned_usd
            row.unassigned_usd = 0.0
            batch.answer(row.session, speech)
            staged.inc(contract.TURNS, labels)
            seconds = turn.answer(record)
            self._wait(row, contract.TURN_LATENCY, labels, seconds, record.at, staged)
        if turn.say(record):
            row.interrupted += 1
            staged.inc(contract.TURNS_INTERRUPTED, labels)

    def _committed(
        self, row: SessionRow, record: TurnCommitted, batch: Batch, staged: Staged
    ) -> None:
        self._count_rejected(record.rejected, staged)
        extra = self._labels.own(row, staged)
        agent = self._labels.agent(row, staged)
        detector = (
            self._labels.values.admit("provider", record.provider, staged),
            self._labels.values.admit("model", record.model, staged),
        )
        transcriber = (row.stt_provider or contract.UNKNOWN, row.stt_model or contract.UNKNOWN)
        self._wait(
            row,
            contract.EOU_DELAY,
            (agent[0], *detector, *extra),
            record.eou_delay_seconds,
            record.at,
            staged,
        )
        self._wait(
            row,
            contract.TRANSCRIPTION_DELAY,
            (agent[0], *transcriber, *extra),
            record.transcription_delay_seconds,
            record.at,
            staged,
        )
        self._wait(row, contract.TURN_CALLBACK, agent, record.callback_seconds, record.at, staged)
        if record.speech is not None:
            self._turn(row, record.speech, record.at, batch).commit(record)

    def _failed(self, row: SessionRow, record: RequestFailed, batch: Batch, staged: Staged) -> None:
        labels = self._labels.request(row, record, staged)
        staged.inc(contract.REQUESTS, labels)
        staged.inc(contract.REQUEST_ERRORS, labels)
        batch.failures.append(
            FailureRow(
                session=row.session,
                at=record.at,
                agent=row.agent,
                persona=record.persona,
                stage=record.stage,
                provider=self._labels.provider(record.provider, record.label),
                model=record.model,
                recoverable=record.recoverable,
                error=record.error,
            )
        )

    def _tool(self, row: SessionRow, record: ToolCalled, batch: Batch, staged: Staged) -> None:
        agent = self._labels.agent(row, staged)[0]
        tool = self._labels.values.admit("tool", record.tool, staged)
        labels = (agent, tool, *self._labels.own(row, staged))
        staged.inc(contract.TOOL_CALLS, labels)
        staged.inc(contract.TOOL_ERRORS, labels, 1 if record.failed else 0)
        if record.speech is not None:
            self._turn(row, record.speech, record.at, batch).tool_calls += 1

    def _settle(self, row: SessionRow, batch: Batch, staged: Staged) -> None:
        """The last answer costs no more: another one begins, or the call is over."""
        if row.answered is None:
            return
        turn = self._find(row.session, row.answered, batch)
        if turn is not None:
            staged.observe(contract.TURN_COST, self._labels.agent(row, staged), turn.cost_usd)
            self._waste(row, turn, batch, staged)

    def _unfinished(self, row: SessionRow, batch: Batch, staged: Staged) -> None:
        """Count what was made and never said, or answered nobody, now that the call is over."""
        turns = {turn.speech: turn for turn in self._archive.unfinished(row.session)}
        turns |= {
            speech: turn
            for (session, speech), turn in batch.turns.items()
            if session == row.session
        }
        for turn in waste.unfinished(turns.values(), lost=row.incomplete):
            self._waste(row, turn, batch, staged)

    def _waste(self, row: SessionRow, turn: TurnRow, batch: Batch, staged: Staged) -> None:
        why = waste.reason(turn)
        if why is None:
            return
        rows = self._used(row, turn.speech, batch)
        for used, usd in zip(rows, waste.unheard(turn, rows), strict=True):
            self._write_off(row, turn, used, (usd, why), batch, staged)

    def _write_off(
        self,
        row: SessionRow,
        turn: TurnRow,
        used: UsageRow,
        unheard: tuple[float, waste.Reason],
        batch: Batch,
        staged: Staged,
    ) -> None:
        more = self._billing.write_off(row, used, *unheard, batch, staged)
        turn.wasted_usd += more
        row.wasted_usd += more
        batch.turns[row.session, turn.speech] = turn

    def _used(self, row: SessionRow, speech: str, batch: Batch) -> list[UsageRow]:
        """Usage rows of a reply, those of the ledger first."""
        return [
            *self._archive.usage_of(row.session, speech),
            *(
                used
                for used in batch.usage
                if used.speech == speech and used.session == row.session
            ),
        ]

    def _traced(
        self,
        row: SessionRow,
        record: UsageEstimated | RequestTraced,
        batch: Batch,
        staged: Staged,
    ) -> None:
        """What spans say: sizes of a finished request, or what another one is estimated to cost."""
        if isinstance(record, UsageEstimated):
            base = self._labels.base(row, record, staged)
            self._billing.estimate(row, record, base, batch, staged)
            if record.speech is not None:
                turn = self._turn(row, record.speech, record.at, batch)
                if turn.spoken and turn.interrupted:
                    # It came late: what was heard of the reply is known.
                    self._waste(row, turn, batch, staged)
            return
        key = SizesKey(record.stage, record.provider, record.model)
        added = Sizes.of(record)
        if added != Sizes():
            batch.sizes[key] = batch.sizes.get(key, Sizes()) + added
        if record.recovery_probe and record.speech is not None:
            self._probe(row, record, record.speech, batch, staged)

    def _probe(
        self, row: SessionRow, record: RequestTraced, speech: str, batch: Batch, staged: Staged
    ) -> None:
        """A request that only probed a provider was heard by nobody."""
        turn = self._turn(row, speech, record.at, batch)
        for used in self._used(row, speech, batch):
            if used.request == record.request and used.reported_provider == record.provider:
                cost = used.cost_usd or 0.0
                self._write_off(row, turn, used, (cost, "recovery_probe"), batch, staged)

    def _find(self, session: str, speech: str, batch: Batch) -> TurnRow | None:
        """The row of a speech: from this batch, from memory, or from the ledger."""
        held: Mapping[str, TurnRow] = self._turns.get(session, {})
        turn = batch.turns.get((session, speech)) or held.get(speech)
        put_away = self._put_away.get(session)
        if turn is not None or (put_away is not None and speech not in put_away):
            return turn
        return self._archive.turn(session, speech)

    def _turn(self, row: SessionRow, speech: str, at: float, batch: Batch) -> TurnRow:
        """The row of a speech, to be written with the batch."""
        turn = self._find(row.session, speech, batch)
        turn = turn or TurnRow(session=row.session, speech=speech, at=at)
        batch.turns[row.session, speech] = turn
        if row.ended:
            return turn
        turns = self._turns.setdefault(row.session, OrderedDict())
        turns[speech] = turn
        if len(turns) > _TURNS_AT_HAND:
            oldest, _ = turns.popitem(last=False)
            if row.session in self._put_away:
                self._put_away[row.session].add(oldest)
        return turn

    def _wait(
        self,
        row: SessionRow,
        family: Family,
        labels: Labels,
        seconds: float | None,
        at: float,
        staged: Staged,
    ) -> float | None:
        """Observe a latency and return it; what is none is counted instead."""
        if seconds is None:
            return None
        if plausible(seconds) is None:
            reason = "negative" if seconds < 0 else "too_long"
            staged.inc(contract.SAMPLES_REJECTED, (reason,))
            return None
        staged.observe(family, labels, seconds, exemplar(seconds, at, row.session, row.trace))
        return seconds

    def _count_rejected(self, reasons: Iterable[str], staged: Staged) -> None:
        for reason in reasons:
            value = self._labels.values.admit("reason", reason, staged)
            staged.inc(contract.SAMPLES_REJECTED, (value,))


def _bear(stage: str, base: Labels, extra: Sequence[str], staged: Staged) -> None:
    """Let the series of a declared model begin at zero."""
    for family in contract.FAMILIES:
        if stage in family.init_at_zero:
            staged.init_at_zero(family, (*project(family, base), *extra))
    for part in contract.TOKEN_PARTS.get(stage, ()):
        staged.init_at_zero(contract.TOKENS, (*base, *part, *extra))
    for reason in contract.WASTE_REASONS.get(stage, ()):
        staged.init_at_zero(contract.WASTED_COST, (*base, reason, *extra))
    for reason in contract.GAP_REASONS.get(stage, ()):
        staged.init_at_zero(contract.ESTIMATED_COST, (*base, reason, *extra))
        staged.init_at_zero(contract.ESTIMATED_REQUESTS, (*base, reason, *extra))


def _new_row(journal: str, record: Record) -> SessionRow:
    row = SessionRow(
        session=record.session,
        journal=journal,
        agent=contract.UNKNOWN,
        started_at=record.at,
        last_at=record.at,
    )
    if isinstance(record, SessionStarted):
        row.agent = record.agent or contract.UNKNOWN
        row.user = record.user
        row.labels = json.dumps(dict(record.labels), sort_keys=True)
        row.room, row.job, row.host = record.room, record.job, record.host
        row.sdk, row.exporter = record.sdk, record.exporter
    return row
