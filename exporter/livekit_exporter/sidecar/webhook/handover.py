"""What ingest and courier tell one another, each from its own thread.

Only ingest writes the ledger, so the courier leaves here what became of its attempts, and
takes nothing up again before ingest has noted it.
"""

import threading
from collections.abc import Callable, Iterable, Sequence

from livekit_exporter.ledger.rows import Backlog, DeliveryRow


class Handover:
    """Attempts to be noted, and a bell for the courier."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tried: list[DeliveryRow] = []
        self._bell: Callable[[], object] | None = None
        self.backlog = Backlog()
        """What the courier last found to be delivered; empty while there is no webhook."""

    def answer_bell(self, bell: Callable[[], object] | None) -> None:
        """Say what rings at the courier, from any thread; `None` for nothing any more."""
        with self._lock:
            self._bell = bell

    def ring(self) -> None:
        """Tell the courier that there is something new."""
        with self._lock:
            if self._bell is not None:
                self._bell()

    def put(self, tried: DeliveryRow) -> None:
        """Leave a delivery as it is after an attempt."""
        with self._lock:
            self._tried.append(tried)

    def tried(self) -> Sequence[DeliveryRow]:
        """Attempts that are not noted yet."""
        with self._lock:
            return tuple(self._tried)

    def noted(self, tried: Iterable[DeliveryRow]) -> None:
        """These attempts are in the ledger."""
        gone = set(tried)
        if not gone:
            return
        with self._lock:
            self._tried = [row for row in self._tried if row not in gone]
        self.ring()
