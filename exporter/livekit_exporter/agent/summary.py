"""What a call says of itself in its agent's log, and when.

A line for every answer and a block at the end, and a warning for a turn that was too
slow: text for people, and the same as `extra` for programs (`docs/logs.md`).  It
follows the journal on the writer's thread, so neither the event loop nor a record
waits for it.

The line of a turn comes when the next answer begins or the call is over.  Until then
the turn may cost more; after it, the line says what the ledger says.  The warning is
about waiting, which is over when the answer was spoken, and comes then.
"""

import logging
from collections.abc import Mapping
from typing import Final, Self

from livekit_exporter.agent import lines
from livekit_exporter.agent.account import Account, Turn
from livekit_exporter.agent.prices import Prices
from livekit_exporter.record import MessageAdded, Record

SLOW_TURN_SECONDS: Final = 3.5
"""Above this the shipped alerts count a turn as slow, too."""

EXTRA: Final = "livekit_exporter"
"""The one attribute of a log record that everything is in: it is nobody else's."""

_log = logging.getLogger("livekit_exporter")


class Summary:
    """Logs one session, as a `journal.Follower`.

    Args:
        session: Session id.
        prices: Prices in force; without them nothing but slow turns is logged.
        slow_turn_seconds: Turn latency above which a turn is slow; `None` for no warnings.
    """

    def __init__(
        self, session: str, prices: Prices | None, slow_turn_seconds: float | None
    ) -> None:
        self._session = session
        self._account = Account(prices)
        self._has_lines = prices is not None
        self._slow_turn_seconds = slow_turn_seconds

    @classmethod
    def wanted(cls, session: str, prices: Prices, slow_turn_seconds: float | None) -> Self | None:
        """A summary of what the agent's log takes at present, `None` where that is nothing."""
        if _log.isEnabledFor(logging.INFO):
            return cls(session, prices, slow_turn_seconds)
        if slow_turn_seconds is not None and _log.isEnabledFor(logging.WARNING):
            return cls(session, None, slow_turn_seconds)
        return None

    def take(self, record: Record) -> None:
        """Take in the next record, and log what is certain with it."""
        before = self._account.answer
        self._account.take(record)
        answer = self._account.answer
        if answer is before or answer is None or not isinstance(record, MessageAdded):
            return
        # A line that fails must not cost the other one.
        try:
            self._over(before)
        finally:
            self._begun(answer, record)

    def end(self) -> None:
        """Log the last turn, and the call."""
        try:
            self._over(self._account.answer)
        finally:
            if self._has_lines:
                self._account.end()
                text, fields = lines.of_call(self._session, self._account)
                self._say(logging.INFO, "call", text, fields)

    def _over(self, turn: Turn | None) -> None:
        if self._has_lines and turn is not None:
            self._say(logging.INFO, "turn", *lines.of_turn(turn))

    def _begun(self, turn: Turn, message: MessageAdded) -> None:
        seconds, objective = turn.latency_seconds, self._slow_turn_seconds
        if seconds is not None and objective is not None and seconds > objective:
            self._say(logging.WARNING, "slow_turn", *lines.of_slow_turn(turn, message, objective))

    def _say(self, level: int, kind: str, text: str, fields: Mapping[str, object]) -> None:
        extra = {EXTRA: {"kind": kind, "session": self._session, **fields}}
        _log.log(level, "%s", text, extra=extra)
