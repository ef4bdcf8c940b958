"""Feed a recorded stream of session events through the collector.

One JSON object per line: `event`, its name; `data`, the event as LiveKit dumps it.
A `close` ends a session, and the next event begins another.
"""

import json
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Final

from livekit_exporter import files
from livekit_exporter.agent.events import EVENTS, read_event
from livekit_exporter.agent.fields import Moment, UnreadableError
from livekit_exporter.agent.journal import Journal
from livekit_exporter.record import EARLIEST, LATEST, SessionStarted

_PATIENCE_SECONDS: Final = 60.0
_BATCH: Final = 1000


@dataclass(slots=True)
class Replayed:
    """Result of a replay.

    Args:
        lines: Lines read.
        records: Records written to journals.
        sessions: Sessions they belong to.
        unread: Events that could not be turned into records, by reason.
    """

    lines: int = 0
    records: int = 0
    sessions: int = 0
    unread: Counter[str] = field(default_factory=Counter)


class _RecordedStream:
    """The session that the events belong to at the moment."""

    def __init__(self, directory: Path, agent: str, result: Replayed) -> None:
        self._directory = directory
        self._agent = agent
        self._result = result
        self._journal: Journal | None = None
        self._session = ""
        self._persona: str | None = None
        self._speech: str | None = None
        self._waiting = 0
        self._now = time.time()

    def feed(self, name: str, data: object) -> None:
        at = getattr(data, "created_at", None)
        # Not every event says when it was: it was just after the one before.
        if isinstance(at, (int, float)) and EARLIEST <= at <= LATEST:
            self._now = float(at)
        now = self._now
        journal = self._journal or self._begin(now)
        self._follow(name, data)
        if name not in EVENTS:
            return
        moment = Moment(session=self._session, now=now, persona=self._persona, speech=self._speech)
        try:
            records = read_event(name, data, moment)
        except UnreadableError as error:
            self.unread(error.reason)
            return
        for record in records:
            journal.put(record)
            self._result.records += 1
            self._waiting += 1
        if name == "close":
            self.end()
        elif self._waiting >= _BATCH:
            # A file is read faster than it is written, and nothing here may be dropped.
            self._waiting = 0
            journal.flush(_PATIENCE_SECONDS)

    def unread(self, reason: str) -> None:
        self._result.unread[reason] += 1
        if self._journal is not None:
            self._journal.unread(reason)

    def end(self) -> None:
        if self._journal is not None and not self._journal.close(_PATIENCE_SECONDS):
            raise OSError(f"cannot write journals to '{self._directory}'")
        self._journal = None

    def _begin(self, now: float) -> Journal:
        self._session, self._persona, self._speech = secrets.token_hex(8), None, None
        journal = self._journal = Journal(self._directory, self._session)
        journal.put(SessionStarted(session=self._session, at=now, agent=self._agent))
        self._result.sessions += 1
        self._result.records += 1
        return journal

    def _follow(self, name: str, data: object) -> None:
        """Keep what a live session would be asked for: who speaks, and which speech."""
        if name == "metrics_collected":
            speech = getattr(getattr(data, "metrics", None), "speech_id", None)
            self._speech = speech if isinstance(speech, str) else self._speech
        item = getattr(data, "item", None)
        if getattr(item, "type", None) == "agent_handoff":
            persona = getattr(item, "new_agent_id", None)
            self._persona = persona if isinstance(persona, str) else None


def replay(path: Path, data_dir: Path, *, agent: str = "replay") -> Replayed:
    """Write the journals of a recorded stream.

    Args:
        path: The recorded stream.
        data_dir: The data directory, as `serve` uses it.
        agent: Name of the agent in the metrics.

    Raises:
        OSError: The stream cannot be read, or the journals cannot be written.
    """
    result = Replayed()
    stream = _RecordedStream(files.journals(data_dir), agent, result)
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if not line.strip():
                continue
            result.lines += 1
            event = _parse(line)
            if event is None:
                stream.unread("malformed_line")
            else:
                stream.feed(*event)
    stream.end()
    return result


def _parse(line: str) -> tuple[str, object] | None:
    try:
        recorded = json.loads(line)
        if not isinstance(recorded, dict) or not isinstance(recorded.get("event"), str):
            return None
        name, data = recorded["event"], _objects(recorded.get("data"))
    except (ValueError, RecursionError):
        return None
    if name.endswith("_availability_changed"):
        if not isinstance(data, SimpleNamespace):
            return None
        # Recorded flat; live, the component hangs on the event under its stage's name.
        setattr(data, name.split("_", 1)[0], data)
    return name, data


def _objects(value: object) -> object:
    """Mappings become objects, as live events have them; a message's report stays a mapping."""
    if isinstance(value, list):
        return [_objects(part) for part in value]
    if not isinstance(value, dict):
        return value
    is_message = value.get("type") == "message"
    return SimpleNamespace(
        **{
            str(key): part if is_message and key == "metrics" else _objects(part)
            for key, part in value.items()
        }
    )
