"""Counts what a journal does not carry: records that are dropped, events that cannot be read."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal

from livekit_exporter.agent.followers import Losses, RawEvent
from livekit_exporter.record import CollectorReport, Record


class LossReport:
    """Counts the losses of one journal since its last report.

    Args:
        losses: Adds up what they would have cost, if anybody does.
    """

    def __init__(self, losses: Losses | None) -> None:
        self._losses = losses
        # Written by the threads that put, read by the writer, never reset: no lock is
        # needed to tell how many came since the last report.
        self._refused = 0
        self._unread: Counter[str] = Counter()
        self._reported_refused = 0
        self._reported_unread: Counter[str] = Counter()
        # The writer's own.
        self._dropped: Counter[str] = Counter()
        self._misread: Counter[str] = Counter()

    def refuse(self, item: Record | RawEvent) -> None:
        """Count a record or an event that the queue did not take."""
        self._refused += 1
        self._lose(item)

    def unread(self, reason: str) -> None:
        """Count an event that could not be turned into a record."""
        self._unread[reason] += 1

    def drop(self, reason: str, record: Record | None = None) -> None:
        """Count a record that is not written; on the writer's thread."""
        self._dropped[reason] += 1
        if record is not None:
            self._lose(record)

    def misread(self, reason: str) -> None:
        """Count an event that the writer could not read."""
        self._misread[reason] += 1

    def report(self, session: str) -> CollectorReport | None:
        """Make the report of what was lost since the last one; `None` if nothing was."""
        dropped, unread, refused = self._dropped, Counter(self._unread), self._refused
        if refused > self._reported_refused:
            dropped = dropped + Counter(queue_full=refused - self._reported_refused)
        rejected: Mapping[str, int] = unread - self._reported_unread + self._misread
        if not dropped and not rejected:
            return None
        self._dropped, self._misread = Counter(), Counter()
        self._reported_refused, self._reported_unread = refused, unread
        lost = self._losses.newly_lost() if dropped and self._losses is not None else Decimal(0)
        return CollectorReport(
            session=session,
            at=time.time(),
            dropped=dict(dropped),
            rejected=dict(rejected),
            lost_usd=float(lost),
        )

    def described(self, records: Sequence[Record]) -> str:
        """Describe records with their list price."""
        usd = Decimal(0) if self._losses is None else self._losses.worth(records)
        return f"{len(records)} records with usage of {usd} USD"

    def _lose(self, item: Record | RawEvent) -> None:
        if self._losses is not None:
            self._losses.lose(item)
