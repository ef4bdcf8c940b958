"""What goes wrong in the collector, said in the agent's log.

The log's handlers are the user's.  One that raises must neither end the writer nor,
through a handler of LiveKit's events, the call.
"""

import logging
import time
from contextlib import suppress
from typing import Final

_EVERY_SECONDS: Final = 60.0

_log = logging.getLogger("livekit_exporter")


class Complaints:
    """Says at most once a minute what went wrong.  Never raises."""

    def __init__(self) -> None:
        self._said_at = float("-inf")

    def say(self, what: str, *, error: BaseException | None = None) -> None:
        """Log a warning, or with `error` an error and its traceback."""
        now = time.monotonic()
        if now - self._said_at < _EVERY_SECONDS:
            return
        self._said_at = now
        level = logging.WARNING if error is None else logging.ERROR
        with suppress(Exception):
            _log.log(level, "livekit-exporter: %s", what, exc_info=error, stacklevel=2)
