"""Turns records into rows of the ledger, and into increments and observations of the page.

The meter reads no clock and no file.  It changes the transaction it is given, and the
rows in memory of calls that are going on.  Those are read from the ledger at start and
after a failed commit, so that a transaction that did not become durable leaves no trace.
"""

import json
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Final, TypeAlias

from livekit_exporter import contract
from livekit_exporter.calls import waste
from livekit_exporter.calls.sizes import Sizes
from livekit_exporter.calls.turns import Conversation, speech_of
from livekit_exporter.ledger.read import InstanceReader
from livekit_exporter.ledger.rows import (
    FailureRow,
    MissingRow,
    SessionRow,
    SizesKey,
    TurnRow,
    UserSums,
)
from livekit_exporter.prices import legs
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.record import (
    NOT_STARTED,
    AvailabilityChanged,
    BudgetLookupFailed,
    BudgetReached,
    CollectorReport,
    MessageAdded,
    Model,
    ModelsDeclared,
    Record,
    RequestFailed,
    RequestTraced,
    SessionClosed,
    SessionStarted,
    ToolCalled,
    TurnCommitted,
    UsageEstimated,
    UsageMissing,
    UsageReported,
)
from livekit_exporter.sidecar.billing import Billing
from livekit_exporter.sidecar.transaction import CallSeries, Transaction

_TURNS_IN_MEMORY: Final = 8
"""Turns of a call that are kept; older ones are read back when a record names them."""

_ENDED_IN_MEMORY: Final = 256

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


_Named: TypeAlias = (
    UsageReported | UsageEstimated | UsageMissing | RequestFailed | AvailabilityChanged | Model
)
"""Everything that names a provider and a model as a plugin reports them."""


class Meter:
    """Takes records in, in the order of their journal.

    Args:
        ledger: Read for rows that are not in memory.
        catalogue: Prices in force.
    """

    def __init__(self, ledger: InstanceReader, catalogue: Catalogue) -> None:
        self._ledger = ledger
        self.use(catalogue)
        self._open: dict[str, SessionRow] = {}
        self._ended: OrderedDict[str, SessionRow] = OrderedDict()
        # Calls that were over and went on: a session was started again without a job.
        self._late: set[str] = set()
        self._turns: dict[str, OrderedDict[str, TurnRow]] = {}
        # Replies that left the memory, of each call that began under this meter.  Any other
        # reply of such a call is new: a query for every turn is saved.
        self._evicted: dict[str, set[str]] = {}
        self.reload()

    def use(self, catalogue: Catalogue) -> None:
        """Price from now on with this catalogue."""
        self._catalogue = catalogue
        self._billing = Billing(catalogue, self._ledger)
        # Cleaning up a name costs as much as pricing a request; names are few.
        self._provider = lru_cache(maxsize=1024)(catalogue.provider)

    def reload(self) -> None:
        """Read the calls that are going on from the ledger, and forget what was not committed."""
        self._open = {row.session: row for row in self._ledger.open_sessions()}
        self._ended.clear()
        self._late.clear()
        self._turns.clear()
        self._evicted.clear()

    def active(self) -> dict[str, int]:
        """Return the number of calls going on by agent."""
        counted: dict[str, int] = {}
        for row in self._open.values():
            if row.closed_at is None:
                counted[row.agent] = counted.get(row.agent, 0) + 1
        return counted

    def orphans(self, journals: Iterable[str]) -> list[str]:
        """Return journals of calls going on that are not among those that exist."""
        return sorted({row.journal for row in self._open.values()} - set(journals))

    def take(self, journal: str, record: Record, transaction: Transaction) -> None:
        """Take in one record."""
        transaction.count(contract.RECORDS, (record.kind,))
        if isinstance(record, CollectorReport):
            transaction.count_reasons(contract.RECORDS_DROPPED, record.dropped)
            transaction.count_reasons(contract.RECORDS_REJECTED, record.rejected)
            transaction.count(contract.LOST_COST, (), record.lost_usd)
            return
        if isinstance(record, UsageReported | TurnCommitted | MessageAdded) and record.rejected:
            transaction.count_reasons(contract.SAMPLES_REJECTED, Counter(record.rejected))
        row = self._row(journal, record, transaction)
        row.last_at = max(row.last_at, record.at)
        row.trace = record.trace or row.trace
        transaction.rows.sessions[row.session] = row
        self._read(row, record, transaction)

    def end(self, journal: str, transaction: Transaction) -> None:
        """End the calls of a journal that is read to its end and has no writer.

        A call without a goodbye is lost: its end is the time of its last record.
        """
        for row in [row for row in self._open.values() if row.journal == journal]:
            self._settle(row, transaction)
            row.ended = True
            row.reason = row.reason or "lost"
            self._write_off_unfinished(row, transaction)
            row.closed_at = row.closed_at or row.last_at
            self._bill_legs(row, row.closed_at, transaction)
            series = transaction.call(row)
            reason = transaction.admit("reason", row.reason)
            series.count(contract.SESSIONS_CLOSED, 1, reason)
            if row.seconds is None:
                transaction.count(contract.SAMPLES_REJECTED, ("negative",))
            elif row.reason != NOT_STARTED:
                series.observe(contract.SESSION_SECONDS, row.seconds)
                self._add_length(row, row.seconds, transaction)
            if row.reason != NOT_STARTED or row.cost_usd:
                series.observe(contract.SESSION_COST, row.cost_usd)
            transaction.rows.sessions[row.session] = row
            del self._open[row.session]
            self._turns.pop(row.session, None)
            self._evicted.pop(row.session, None)
            transaction.forget(row)
            self._remember(row)
        late = [row for row in self._ended.values() if row.session in self._late]
        for row in [row for row in late if row.journal == journal]:
            self._late.discard(row.session)
            self._settle(row, transaction)
            self._write_off_unfinished(row, transaction)
            transaction.rows.sessions[row.session] = row

    def _read(self, row: SessionRow, record: Record, transaction: Transaction) -> None:
        match record:
            case UsageReported():
                self._usage(row, record, transaction)
            case UsageEstimated():
                self._estimated(row, record, transaction)
            case RequestTraced():
                self._traced(row, record, transaction)
            case MessageAdded():
                self._message(row, record, transaction)
            case TurnCommitted():
                self._committed(row, record, transaction)
            case ToolCalled():
                self._tool(row, record, transaction)
            case SessionClosed():
                self._closed(row, record, transaction)
            case _:
                self._count(row, record, transaction)

    def _count(self, row: SessionRow, record: Record, transaction: Transaction) -> None:
        """Take in a record that belongs to the call as a whole, to none of its replies."""
        match record:
            case RequestFailed():
                self._failed(row, record, transaction)
            case AvailabilityChanged(available=False):
                self._model(row, record, transaction).count(contract.FALLBACKS)
            case SessionStarted() | ModelsDeclared():
                self._declare(row, record, transaction)
            case UsageMissing():
                self._missing(row, record, transaction)
            case BudgetLookupFailed():
                transaction.call(row).count(contract.BUDGET_LOOKUPS_FAILED)
            case BudgetReached():
                series = transaction.call(row)
                family = _BUDGET_FAMILIES.get(record.threshold)
                if family is not None:
                    series.count(family, 1, record.scope)

    def _model(self, row: SessionRow, named: _Named, transaction: Transaction) -> CallSeries:
        """Return the series of a model, from the names that a plugin reports."""
        provider = self._provider(named.provider, named.label)
        return transaction.model(row, named.stage, provider, named.model)

    def _usage(self, row: SessionRow, record: UsageReported, transaction: Transaction) -> None:
        series = self._model(row, record, transaction)
        first, at = record.first_seconds, record.at
        if record.stage in _FIRST_FAMILIES:
            first = series.observe_latency(_FIRST_FAMILIES[record.stage], first, at)
        request = series.observe_latency(contract.REQUEST_SECONDS, record.request_seconds, at)
        series.observe_latency(contract.CONNECTION_ACQUIRE, record.acquire_seconds, at)
        series.observe_rate(contract.TOKENS_PER_SECOND, record.tokens_per_second)
        if first != record.first_seconds or request != record.request_seconds:
            # An impossible duration is neither stored nor billed.
            record = replace(record, first_seconds=first, request_seconds=request)
        cost = self._billing.report(row, record, series, transaction)
        if record.stage == "stt" and not record.connection:
            row.stt_provider, row.stt_model = series.model[2:]
        if record.phase != "call":
            return
        if record.speech is None:
            # It belongs to the next answer.
            row.unassigned_usd += cost
            return
        turn = self._turn(row, record.speech, record.at, transaction)
        turn.cost_usd += cost
        turn.use(record)

    def _estimated(self, row: SessionRow, record: UsageEstimated, transaction: Transaction) -> None:
        series = self._model(row, record, transaction)
        self._billing.estimate(row, record, series, transaction)
        if record.speech is not None:
            turn = self._turn(row, record.speech, record.at, transaction)
            if turn.spoken and turn.interrupted:
                # It came late: how much of the reply was heard is known.
                self._billing.write_off(row, turn, transaction)

    def _traced(self, row: SessionRow, record: RequestTraced, transaction: Transaction) -> None:
        added = Sizes.of(record)
        if added != Sizes():
            key = SizesKey(record.stage, record.provider, record.model)
            sizes = transaction.rows.sizes
            sizes[key] = sizes.get(key, Sizes()) + added
        if record.recovery_probe and record.speech is not None:
            turn = self._turn(row, record.speech, record.at, transaction)
            for used in self._billing.used(turn, transaction):
                if used.request == record.request and used.reported_provider == record.provider:
                    wasted = (used.cost_usd or 0.0, "recovery_probe")
                    self._billing.write_off_row(row, turn, used, wasted, transaction)

    def _message(self, row: SessionRow, record: MessageAdded, transaction: Transaction) -> None:
        series = transaction.call(row)
        speech = speech_of(record, row.turns)
        conversation = Conversation(row.waiting, row.answered)
        answers = conversation.hear(record)
        if record.role == "user":
            row.waiting = conversation.waiting
            return
        turn = self._turn(row, speech, record.at, transaction)
        if answers:
            if not row.ended or row.session in self._late:
                self._settle(row, transaction)
            if row.ended:
                self._late.add(row.session)
            row.waiting, row.answered = conversation.waiting, speech
            row.turns += 1
            if not turn.answered:
                transaction.rows.add_up(row, turn.at, UserSums(turns=1))
            turn.cost_usd += row.unassigned_usd
            row.unassigned_usd = 0.0
            transaction.rows.answer(row.session, speech)
            series.count(contract.TURNS)
            series.observe_latency(contract.TURN_LATENCY, turn.answer(record), record.at)
        if turn.say(record):
            row.interrupted += 1
            series.count(contract.TURNS_INTERRUPTED)

    def _committed(self, row: SessionRow, record: TurnCommitted, transaction: Transaction) -> None:
        detector = transaction.model(row, "", record.provider, record.model)
        transcriber = detector.of_model(
            row.stt_provider or contract.UNKNOWN, row.stt_model or contract.UNKNOWN
        )
        detector.observe_latency(contract.EOU_DELAY, record.eou_delay_seconds, record.at)
        transcriber.observe_latency(
            contract.TRANSCRIPTION_DELAY, record.transcription_delay_seconds, record.at
        )
        detector.observe_latency(contract.TURN_CALLBACK, record.callback_seconds, record.at)
        if record.speech is not None:
            self._turn(row, record.speech, record.at, transaction).commit(record)

    def _failed(self, row: SessionRow, record: RequestFailed, transaction: Transaction) -> None:
        series = self._model(row, record, transaction)
        series.count(contract.REQUESTS)
        series.count(contract.REQUEST_ERRORS)
        transaction.rows.failures.append(
            FailureRow(
                session=row.session,
                at=record.at,
                agent=row.agent,
                persona=record.persona,
                stage=record.stage,
                provider=series.provider,
                model=record.model,
                recoverable=record.recoverable,
                error=record.error,
            )
        )

    def _missing(self, row: SessionRow, record: UsageMissing, transaction: Transaction) -> None:
        series = self._model(row, record, transaction)
        series.count(contract.USAGE_MISSING, record.turns)
        transaction.rows.missing.append(
            MissingRow(
                session=row.session,
                at=record.at,
                agent=row.agent,
                persona=record.persona,
                stage=record.stage,
                provider=series.provider,
                model=record.model,
                turns=record.turns,
            )
        )

    def _tool(self, row: SessionRow, record: ToolCalled, transaction: Transaction) -> None:
        series = transaction.call(row)
        tool = transaction.admit("tool", record.tool)
        series.count(contract.TOOL_CALLS, 1, tool)
        series.count(contract.TOOL_ERRORS, int(record.failed), tool)
        if record.speech is not None:
            self._turn(row, record.speech, record.at, transaction).tool_calls += 1

    def _declare(
        self, row: SessionRow, record: SessionStarted | ModelsDeclared, transaction: Transaction
    ) -> None:
        series = transaction.call(row)
        if isinstance(record, SessionStarted):
            for scope in record.budgets:
                for family in _BUDGET_FAMILIES.values():
                    series.init_at_zero(family, scope)
        for model in record.models:
            declared = self._model(row, model, transaction)
            declared.init_model()
            if model.stage == "stt":
                row.stt_provider, row.stt_model = declared.model[2:]

    def _closed(self, row: SessionRow, record: SessionClosed, transaction: Transaction) -> None:
        before = row.seconds or 0.0
        row.closed_at = record.at
        row.reason = record.reason
        row.error = record.error
        if row.ended:
            # A second journal says so, after the first had come to its end.
            self._add_length(row, (row.seconds or 0.0) - before, transaction)

    def _settle(self, row: SessionRow, transaction: Transaction) -> None:
        """Observe the cost of the last answer: another one begins, or the call is over."""
        if row.answered is None:
            return
        turn = self._find(row.session, row.answered, transaction)
        if turn is not None:
            series = transaction.call(row)
            series.observe(contract.TURN_COST, turn.cost_usd)
            self._billing.write_off(row, turn, transaction)

    def _write_off_unfinished(self, row: SessionRow, transaction: Transaction) -> None:
        """Write off replies that were never spoken or answered nobody: the call is over."""
        turns = {turn.speech: turn for turn in self._ledger.unfinished(row.session)}
        turns |= {
            speech: turn
            for (session, speech), turn in transaction.rows.turns.items()
            if session == row.session
        }
        for turn in waste.unfinished(turns.values(), lost=row.incomplete):
            self._billing.write_off(row, turn, transaction)

    def _bill_legs(self, row: SessionRow, ended_at: float, transaction: Transaction) -> None:
        """Bill what the call costs by its length, which is known at its end."""
        call = legs.CallLength(
            session=row.session,
            agent=row.agent,
            labels=json.loads(row.labels),
            started_at=row.started_at,
            ended_at=ended_at,
        )
        for record in legs.usage(self._catalogue, call):
            self._usage(row, record, transaction)

    def _add_length(self, row: SessionRow, seconds: float, transaction: Transaction) -> None:
        transaction.rows.add_up(row, row.started_at, UserSums(session_seconds=seconds))

    def _row(self, journal: str, record: Record, transaction: Transaction) -> SessionRow:
        """Return the row of a record's call, a new one for a call that nobody has heard of."""
        row = self._open.get(record.session) or self._ended.get(record.session)
        if row is None:
            row = self._ledger.session(record.session)
            if row is not None:
                self._remember(row)
        if row is None:
            return self._begin(_new_row(journal, record), transaction)
        if isinstance(record, SessionStarted):
            # Its first journal was deleted under its writer, or was over before the session was
            # started again, and this is the second.
            row.journal = journal
            if not row.ended:
                row.closed_at = row.reason = None
        return row

    def _begin(self, row: SessionRow, transaction: Transaction) -> SessionRow:
        self._open[row.session] = row
        self._evicted[row.session] = set()
        series = transaction.call(row)
        series.init_call()
        series.count(contract.SESSIONS)
        transaction.rows.add_up(row, row.started_at, UserSums(sessions=1))
        return row

    def _remember(self, row: SessionRow) -> None:
        self._ended[row.session] = row
        if len(self._ended) > _ENDED_IN_MEMORY:
            self._ended.popitem(last=False)

    def _find(self, session: str, speech: str, transaction: Transaction) -> TurnRow | None:
        """Return the row of a reply: from the transaction, from memory, or from the ledger."""
        turn = transaction.rows.turns.get((session, speech))
        if turn is None and session in self._turns:
            turn = self._turns[session].get(speech)
        evicted = self._evicted.get(session)
        if turn is not None or (evicted is not None and speech not in evicted):
            return turn
        return self._ledger.turn(session, speech)

    def _turn(self, row: SessionRow, speech: str, at: float, transaction: Transaction) -> TurnRow:
        """Return the row of a reply, to be written with the transaction."""
        turn = self._find(row.session, speech, transaction)
        turn = turn or TurnRow(session=row.session, speech=speech, at=at)
        transaction.rows.turns[row.session, speech] = turn
        if row.ended:
            return turn
        turns = self._turns.setdefault(row.session, OrderedDict())
        turns[speech] = turn
        if len(turns) > _TURNS_IN_MEMORY:
            oldest, _ = turns.popitem(last=False)
            if row.session in self._evicted:
                self._evicted[row.session].add(oldest)
        return turn


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
