"""Logs a call in its agent's log while it goes on.

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
from livekit_exporter.agent.account import LiveAccount
from livekit_exporter.calls.account import TurnAccount
from livekit_exporter.record import Record

SLOW_TURN_SECONDS: Final = 3.5
"""Above this the shipped alerts count a turn as slow, too."""

EXTRA: Final = "livekit_exporter"
"""The one attribute of a log record that everything is in: it is nobody else's."""

_log = logging.getLogger("livekit_exporter")


class Summary:
    """Logs one session, as a `journal.Follower` behind its account.

    Args:
        session: Session id.
        account: The call's account.
        slow_turn_seconds: Turn latency above which a turn is slow; `None` for no warnings.
        has_lines: Log turns and the call; without it only slow turns, which need no prices.
    """

    def __init__(
        self,
        session: str,
        account: LiveAccount,
        slow_turn_seconds: float | None,
        *,
        has_lines: bool = True,
    ) -> None:
        self._session = session
        self._account = account
        self._slow_turn_seconds = slow_turn_seconds
        self._has_lines = has_lines
        self._answer: TurnAccount | None = None
        if has_lines:
            account.want_costs()

    @classmethod
    def wanted(
        cls, session: str, account: LiveAccount, slow_turn_seconds: float | None
    ) -> Self | None:
        """Make a summary of what the agent's log takes at present; `None` where that is nothing."""
        if _log.isEnabledFor(logging.INFO):
            return cls(session, account, slow_turn_seconds)
        if slow_turn_seconds is not None and _log.isEnabledFor(logging.WARNING):
            return cls(session, account, slow_turn_seconds, has_lines=False)
        return None

    def take(self, record: Record) -> None:  # noqa: ARG002 - the account has taken it
        """Log what is certain with the record that the account took in last."""
        before, self._answer = self._answer, self._account.sums.answer
        if self._answer is before or self._answer is None:
            return
        # A line that fails must not cost the other one.
        try:
            self._over(before)
        finally:
            self._begun(self._answer)

    def end(self) -> None:
        """Log the last turn, and the call."""
        try:
            self._over(self._answer)
        finally:
            if self._has_lines:
                sums, name = self._account.sums, self._account.prices.named
                self._say(logging.INFO, "call", *lines.of_call(self._session, sums, name))

    def _over(self, turn: TurnAccount | None) -> None:
        if self._has_lines and turn is not None:
            self._say(logging.INFO, "turn", *lines.of_turn(turn))

    def _begun(self, turn: TurnAccount) -> None:
        seconds, objective = turn.latency_seconds, self._slow_turn_seconds
        if seconds is not None and objective is not None and seconds > objective:
            self._say(logging.WARNING, "slow_turn", *lines.of_slow_turn(turn, objective))

    def _say(self, level: int, kind: str, text: str, fields: Mapping[str, object]) -> None:
        extra = {EXTRA: {"kind": kind, "session": self._session, **fields}}
        _log.log(level, "%s", text, extra=extra)
