"""Logs the exporter's own problems in the agent's log, without flooding it."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_EVERY_SECONDS: Final = 60.0


class RateLimitedLog:
    """Logs each message at most once a minute.  Thread safe; never raises.

    The handlers of the log are the user's.  One that raises must neither end the journal's
    writer nor, through a handler of LiveKit's events, the call.

    Args:
        logger: Where messages go.
        clock: Monotonic seconds.
    """

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._lock = threading.Lock()
        self._logged_at: dict[str, float] = {}

    def warning(self, message: str, *values: object, error: BaseException | None = None) -> None:
        """Log a warning, or with `error` an error and its traceback.

        Args:
            message: Format of the text, which is what the limit is counted by: the same problem
                with another address or exception is the same message.
            values: Values for the format.
            error: The exception that was caught.
        """
        now = self._clock()
        with self._lock:
            if now - self._logged_at.get(message, float("-inf")) < _EVERY_SECONDS:
                return
            self._logged_at[message] = now
        level = logging.WARNING if error is None else logging.ERROR
        prefixed = f"livekit-exporter: {message}"
        with suppress(Exception):
            self._logger.log(level, prefixed, *values, exc_info=error, stacklevel=2)

    def reset(self) -> None:
        """Log every message again, as after a minute."""
        with self._lock:
            self._logged_at.clear()


problems: Final = RateLimitedLog(logging.getLogger("livekit_exporter"))
"""The one limiter of this process: calls that fail in the same way share a line a minute."""
