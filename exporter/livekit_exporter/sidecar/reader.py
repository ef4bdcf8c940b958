"""Reads journals: whole lines only, from where the ledger left off.

A journal has a writer as long as somebody holds its lock.  Without one, what is
there is all there will be: then a last line without its newline is a writer's last
breath, counted and left, and the file may go once the rest is committed.
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
    """Lines that follow what is committed of a journal.

    Args:
        journal: File name.
        lines: Whole lines without their newlines.
        position: Where the journal stands after them.
        rejected: Lines that were skipped, by reason.
    """

    journal: str
    lines: list[bytes]
    position: Position
    rejected: Counter[str] = field(default_factory=Counter)

    @property
    def ended(self) -> bool:
        """Whether nothing will ever follow."""
        return self.position.finished_at is not None


class Reader:
    """Reads all journals of a folder.

    Args:
        directory: The folder; it may come later.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._asked: dict[str, float] = {}
        self.sizes: dict[str, int] = {}

    def scan(self) -> None:
        """See which journals there are and how long they are, in `sizes`.

        Raises:
            OSError: The folder is there and cannot be read.
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
        """One chunk of every journal that has something new, or has come to its end."""
        for name, size in self.sizes.items():
            position = positions.get(name, Position())
            if position.finished_at is not None:
                continue
            try:
                chunk = self._read(name, size, position)
            except OSError:
                # Deleted meanwhile, or a disk error: its bytes stay in the lag.
                continue
            if chunk is not None:
                yield chunk

    def lag(self, positions: Mapping[str, Position]) -> int:
        """Bytes that are not in the ledger."""
        return sum(
            max(0, size - positions.get(name, Position()).committed)
            for name, size in self.sizes.items()
        )

    def remove(self, name: str) -> None:
        """Delete a journal that is committed to its end."""
        (self._directory / name).unlink(missing_ok=True)
        self.sizes.pop(name, None)

    def _size(self, entry: "os.DirEntry[str]") -> int | None:
        """Bytes of a journal, `None` for anything else."""
        try:
            hidden = entry.name.startswith(".")
            if entry.name.endswith(SUFFIX) and not hidden and entry.is_file(follow_symlinks=False):
                return entry.stat(follow_symlinks=False).st_size
            if hidden and entry.name.endswith(".tmp"):
                # A writer died between making its file and naming it.
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
            # Asked before reading: whoever has no writer now does not grow any more.
            deserted = ask and _is_deserted(file.fileno())
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
            # Nobody may shorten a journal.  What is committed stays committed.
            skipped = Position(size, finished_at=time.time() if deserted else None)
            return Chunk(name, [], skipped, Counter({"truncated_file": 1}))
        chunk = split(name, data, position, final=deserted and at_end)
        if chunk.position == position:
            return None
        return chunk


def split(name: str, data: bytes, position: Position, *, final: bool) -> Chunk:
    """Cut what was read into lines.

    Args:
        name: The journal.
        data: Bytes that follow the position.
        position: What is committed.
        final: Nothing follows `data`, ever.

    Returns:
        The lines.  The rest of an unfinished line waits, unless it is too long or final.
    """
    rejected: Counter[str] = Counter()
    whole, newline, rest = data.rpartition(b"\n")
    lines = whole.split(b"\n") if newline else []
    used = len(whole) + len(newline)
    discarding = position.discarding
    if discarding and lines:
        # The end of a line whose beginning was given up.
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


def _is_deserted(descriptor: int) -> bool:
    """Whether nobody holds the lock of a journal."""
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
