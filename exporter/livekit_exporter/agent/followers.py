"""The parts that others play in the life of a journal, each in a protocol."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from livekit_exporter.record import Record


class Follower(Protocol):
    """Gets every record, in order, on the writer's thread.

    It gets a record after the attempt to write it, also if that failed: a full disk does not
    stop a budget.  Its exceptions are counted, and the writer goes on.
    """

    def take(self, record: Record) -> None:
        """Take the next record of the session."""
        ...

    def end(self) -> None:
        """Finish: there are no more records as far as is known.

        Should one come nevertheless, it is taken, and this is called again.
        """
        ...


class RawEvent(Protocol):
    """An event that the event loop queued unread; the writer reads it."""

    def records(self) -> Sequence[Record]:
        """Read its records.

        Raises:
            UnreadableError: It cannot be read.
        """
        ...


class Deriver(Protocol):
    """Makes further records of the records, in order, on the writer's thread."""

    def derive(self, record: Record) -> Sequence[Record]:
        """Return the records to write after this one."""
        ...

    def flush(self) -> Sequence[Record]:
        """Return the records that the end of the call produces; may be called again."""
        ...


class Losses(Protocol):
    """Adds up what was used and will be in no ledger."""

    def lose(self, item: "Record | RawEvent") -> None:
        """Take a record or an event that is not written."""
        ...

    def newly_lost(self) -> Decimal:
        """Return the list price in US dollars of what was lost since the last time."""
        ...

    def worth(self, records: Sequence[Record]) -> Decimal:
        """Return the list price in US dollars of the usage in records."""
        ...
