"""Passes delivery attempts from the webhook sender to ingest, each in its own thread.

Only ingest writes the ledger.  The sender leaves the result of an attempt here, and does
not send the call again before ingest has committed it.
"""

import threading
from collections.abc import Callable, Iterable, Sequence

from livekit_exporter.ledger.rows import Backlog, DeliveryRow


class AttemptLog:
    """Attempts that are not in the ledger yet, and a way to wake the sender."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: list[DeliveryRow] = []
        self._on_wake: Callable[[], object] | None = None
        self.backlog = Backlog()
        """Deliveries that the sender last found pending; empty while there is no webhook."""

    def on_wake(self, callback: Callable[[], object] | None) -> None:
        """Set what wakes the sender, from any thread; `None` once it has ended."""
        with self._lock:
            self._on_wake = callback

    def wake(self) -> None:
        """Tell the sender that there is something new."""
        with self._lock:
            if self._on_wake is not None:
                self._on_wake()

    def add(self, delivery: DeliveryRow) -> None:
        """Leave a delivery as it is after an attempt."""
        with self._lock:
            self._pending.append(delivery)

    def pending(self) -> Sequence[DeliveryRow]:
        """Return the attempts that are not in the ledger yet."""
        with self._lock:
            return tuple(self._pending)

    def committed(self, deliveries: Iterable[DeliveryRow]) -> None:
        """Drop attempts that are in the ledger now."""
        gone = set(deliveries)
        if not gone:
            return
        with self._lock:
            self._pending = [row for row in self._pending if row not in gone]
        self.wake()
