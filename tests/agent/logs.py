"""The exporter's lines in an agent's log, and users who have other ideas about logging."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

EXPORTER = logging.getLogger("livekit_exporter")


class Lines(logging.Handler):
    """Keeps what was logged, from any thread."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def texts(self, level: int = logging.NOTSET) -> list[str]:
        """What people read, from this level on."""
        return [record.getMessage() for record in self.records if record.levelno >= level]

    def fields(self, kind: str, session: str | None = None) -> list[dict[str, Any]]:
        """What programs read, as it comes out of JSON."""
        told = [getattr(record, "livekit_exporter", {}) for record in self.records]
        return [
            json.loads(json.dumps(fields, allow_nan=False))
            for fields in told
            if fields.get("kind") == kind and session in (None, fields["session"])
        ]


class _Raising(logging.Handler):
    """Raises what LiveKit would let through to the call."""

    def handle(self, record: logging.LogRecord) -> bool:
        raise TypeError(f"no '{record.getMessage()}' for you")


@contextmanager
def _attached(handler: logging.Handler, level: int) -> Iterator[None]:
    before = EXPORTER.level
    EXPORTER.addHandler(handler)
    EXPORTER.setLevel(level)
    try:
        yield
    finally:
        EXPORTER.removeHandler(handler)
        EXPORTER.setLevel(before)


@contextmanager
def logged(level: int = logging.INFO) -> Iterator[Lines]:
    """What the exporter logs meanwhile."""
    lines = Lines()
    with _attached(lines, level):
        yield lines


@contextmanager
def raising_handler() -> Iterator[None]:
    """Let every line of the exporter raise."""
    with _attached(_Raising(), logging.INFO):
        yield
