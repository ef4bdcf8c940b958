"""Log handlers of a user who has other ideas about logging."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

EXPORTER = logging.getLogger("livekit_exporter")


class _Raising(logging.Handler):
    """Raises what LiveKit would let through to the call."""

    def handle(self, record: logging.LogRecord) -> bool:
        raise TypeError(f"no '{record.getMessage()}' for you")


@contextmanager
def raising_handler(level: int = logging.INFO) -> Iterator[None]:
    """Let every line of the exporter raise."""
    handler, before = _Raising(), EXPORTER.level
    EXPORTER.addHandler(handler)
    EXPORTER.setLevel(level)
    try:
        yield
    finally:
        EXPORTER.removeHandler(handler)
        EXPORTER.setLevel(before)
