"""Says how a call ended where LiveKit says nothing: its session never started, or it has none."""

import time
from collections.abc import Sequence

from livekit_exporter.record import (
    NOT_STARTED,
    MessageAdded,
    ModelsDeclared,
    Record,
    RequestFailed,
    SessionClosed,
    SessionStarted,
    ToolCalled,
    TurnCommitted,
    UsageReported,
)

_LIFE = (ModelsDeclared, TurnCommitted, MessageAdded, ToolCalled, RequestFailed, SessionClosed)
"""Records that only a session makes which was started."""


class Ending:
    """Watches the records of one call, as a `journal.Deriver`.

    Args:
        reason: Close reason of a call whose session, if any, did not say one.
    """

    def __init__(self, reason: str = NOT_STARTED) -> None:
        self._reason = reason
        self._session = ""
        self._lived = False

    def derive(self, record: Record) -> Sequence[Record]:
        """Notice a sign of life; make nothing of it."""
        if isinstance(record, SessionStarted):
            self._session = record.session
        elif isinstance(record, _LIFE) or _is_of_session(record):
            self._lived = True
        return ()

    def flush(self) -> Sequence[Record]:
        """Close a call whose session was never started.

        One that was started and did not close is not closed here: its process died.
        """
        if self._lived or not self._session:
            return ()
        self._lived = True
        return (SessionClosed(session=self._session, at=time.time(), reason=self._reason),)


def _is_of_session(record: Record) -> bool:
    # Only a plugin has a class path; what an author records by hand has none.
    return isinstance(record, UsageReported) and record.phase == "call" and bool(record.label)
