"""Reads whole lines of journals, from the position that the ledger keeps.

A journal has a writer as long as a process holds its lock.  A journal without a writer
does not grow any more: the reader counts a last line without its newline as torn and
skips it, and the file may be deleted once the rest is committed.
"""

import fcntl
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from livekit_exporter.ledger.rows import Position
from livekit_exporter.record import MAX_LINE_BYTES

SUFFIX: Final = ".jsonl"
CHUNK_BYTES: Final = 256 * 1024

_ASK_EVERY_SECONDS: Final = 1.0
_ABANDONED_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines of a journal that follow the committed ones.

    Args:
        journal: File name.
        lines: Whole lines without their newlines.
        position: Position in the journal after them.
        rejected: Numbers of lines that were skipped, by reason.
    """

    journal: str
    lines: list[bytes]
    position: Position
    rejected: Counter[str] = field(default_factory=Counter)

    @property
    def ended(self) -> bool:
        """True for the last chunk of a journal without a writer."""
        return self.position.finished_at is not None


class Reader:
    """Reads all journals of a folder.

    Args:
        directory: The folder; it need not exist yet.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._asked: dict[str, float] = {}
        self.sizes: dict[str, int] = {}

    def scan(self) -> None:
        """List the journals and their lengths in `sizes`.

        Raises:
            OSError: The folder exists and cannot be read.
        """
        sizes: dict[str, int] = {}
        try:
            with os.scandir(self._directory) as entries:
                for entry in entries:
                    size = self._size(entry)
                    if size is not None:
                        sizes[entry.name] = size
        except FileNotFoundError:
            pass
        self.sizes = sizes
        self._asked = {name: at for name, at in self._asked.items() if name in sizes}

    def chunks(self, positions: Mapping[str, Position]) -> Iterator[Chunk]:
        """Yield one chunk of every journal that has new lines or has come to its end."""
        for name, size in self.sizes.items():
            position = positions.get(name, Position())
            if position.finished_at is not None:
                continue
            try:
                chunk = self._read(name, size, position)
            except OSError:
                # The file was deleted meanwhile, or the disk failed: its bytes stay in the lag.
                continue
            if chunk is not None:
                yield chunk

    def ask_again(self) -> None:
        """Ask every journal with the next read if it has a writer, however lately it was asked."""
        self._asked.clear()

    def lag(self, positions: Mapping[str, Position]) -> int:
        """Return how many bytes are not in the ledger."""
        return sum(
            max(0, size - positions.get(name, Position()).committed)
            for name, size in self.sizes.items()
        )

    def unfinished(self, positions: Mapping[str, Position]) -> int:
        """Return how many journals may have a writer, as far as was asked."""
        return sum(positions.get(name, Position()).finished_at is None for name in self.sizes)

    def remove(self, name: str) -> None:
        """Delete a journal that is committed to its end."""
        (self._directory / name).unlink(missing_ok=True)
        self.sizes.pop(name, None)

    def _size(self, entry: "os.DirEntry[str]") -> int | None:
        """Return the bytes of a journal, `None` for any other file."""
        try:
            hidden = entry.name.startswith(".")
            if entry.name.endswith(SUFFIX) and not hidden and entry.is_file(follow_symlinks=False):
                return entry.stat(follow_symlinks=False).st_size
            if hidden and entry.name.endswith(".tmp"):
                # Its writer died between creating the file and renaming it.
                age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                if age > _ABANDONED_SECONDS:
                    Path(entry.path).unlink(missing_ok=True)
        except OSError:
            return None
        return None

    def _read(self, name: str, size: int, position: Position) -> Chunk | None:
        grown = size != position.committed
        now = time.monotonic()
        ask = now - self._asked.get(name, float("-inf")) >= _ASK_EVERY_SECONDS
        if not grown and not ask:
            return None
        with (self._directory / name).open("rb", buffering=0) as file:
            # Ask before reading: a file without a writer does not grow after that.
            abandoned = ask and _has_no_writer(file.fileno())
            if ask:
                self._asked[name] = now
            file.seek(position.committed)
            data = _read_fully(file.fileno(), CHUNK_BYTES)
            at_end = len(data) < CHUNK_BYTES
            if not at_end and b"\n" not in data:
                more = _read_fully(file.fileno(), MAX_LINE_BYTES - CHUNK_BYTES)
                at_end = len(more) < MAX_LINE_BYTES - CHUNK_BYTES
                data += more
        if size < position.committed:
            # Nobody may shorten a journal.  Its committed records stay in the ledger.
            skipped = Position(size, finished_at=time.time() if abandoned else None)
            return Chunk(name, [], skipped, Counter({"truncated_file": 1}))
        chunk = split(name, data, position, final=abandoned and at_end)
        if chunk.position == position:
            return None
        return chunk


def split(name: str, data: bytes, position: Position, *, final: bool) -> Chunk:
    """Split bytes into lines.

    Args:
        name: The journal.
        data: Bytes that follow the position.
        position: Committed position.
        final: The journal ends with `data`.

    Returns:
        The lines.  An unfinished line waits for its rest, unless it is too long or final.
    """
    rejected: Counter[str] = Counter()
    whole, newline, rest = data.rpartition(b"\n")
    lines = whole.split(b"\n") if newline else []
    used = len(whole) + len(newline)
    discarding = position.discarding
    if discarding and lines:
        # The rest of a line that was too long.
        lines = lines[1:]
        discarding = False
    short = [line for line in lines if len(line) < MAX_LINE_BYTES]
    rejected["too_long"] += len(lines) - len(short)
    if final:
        if rest and not discarding:
            rejected["torn"] += 1
        used += len(rest)
    elif discarding or len(rest) >= MAX_LINE_BYTES:
        rejected["too_long"] += 0 if discarding else 1
        discarding = True
        used += len(rest)
    finished_at = time.time() if final else None
    return Chunk(
        name,
        [line for line in short if line],
        Position(position.committed + used, discarding, finished_at),
        +rejected,
    )


def _has_no_writer(descriptor: int) -> bool:
    """Return `True` when no process holds the lock of a journal."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_fully(descriptor: int, limit: int) -> bytes:
    parts: list[bytes] = []
    wanted = limit
    while wanted > 0:
        part = os.read(descriptor, wanted)
        if not part:
            break
        parts.append(part)
        wanted -= len(part)
    return b"".join(parts)
