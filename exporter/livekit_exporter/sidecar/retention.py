"""Deletes calls from the ledger that are older than the operator keeps them."""

import time
from collections.abc import Callable
from typing import Final

from livekit_exporter.ledger.store import Ledger
from livekit_exporter.sidecar.config.settings import Config
from livekit_exporter.sidecar.exports import Exports
from livekit_exporter.sidecar.spend import period_start

_CALLS_PER_STEP: Final = 50
"""One step takes some ten milliseconds."""

_PAUSE_SECONDS: Final = 3600.0
_DAY_SECONDS: Final = 86400.0


class Retention:
    """Deletes old calls in small steps, so that journals do not wait.

    Args:
        ledger: Where the calls are.
        exports: Files of calls; a call is not deleted before it has its file.
        config: Gives the settings in force.
    """

    def __init__(self, ledger: Ledger, exports: Exports, config: Callable[[], Config]) -> None:
        self._ledger = ledger
        self._exports = exports
        self._config = config

    def step(self) -> float | None:
        """Delete some calls, or give their space back to the file system.

        Returns:
            Seconds to pause when there is nothing old any more.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        config = self._config()
        days = config.ledger.keep_days
        if days is None or self._exports.pending:
            return None
        now = time.time()
        # The month's spend is exact in every time zone because its first day is there in full.
        before = min(now - days * _DAY_SECONDS, period_start("month", now, config.zone))
        deleted = self._ledger.forget_calls(
            before, _CALLS_PER_STEP, deliver=config.webhook.url is not None
        )
        more = self._ledger.shrink() or deleted == _CALLS_PER_STEP
        return None if more else _PAUSE_SECONDS
