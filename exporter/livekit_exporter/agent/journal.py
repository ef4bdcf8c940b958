"""A call's journal: a bounded queue, one writer thread, one append-only file.

`put` never waits.  It wakes a thread, which encodes the records in the queue and appends
them with one `os.write`.  So a stalled disk stalls that thread and not the call, and a
killed process loses at most the records in its queue.  Records that cannot be written are
counted, and the count is written as soon as writing works again.

The writer holds an exclusive `flock` on the file while it lives.  The lock, never a pid,
tells the sidecar that more may come.  `docs/journal.md` describes the format.
"""

import atexit
import fcntl
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, Protocol, TypeAlias

from livekit_exporter import files
from livekit_exporter.agent.fields import UnreadableError
from livekit_exporter.agent.rate_limited_log import problems
from livekit_exporter.record import MAX_LINE_BYTES, CollectorReport, Record, to_line

QUEUE_LIMIT: Final = 10_000
"""Records that may wait for the writer: over an hour of a busy call."""

DIRECTORY_LIMIT_BYTES: Final = 1024**3
"""Size of all journals together at which writing stops.

The sidecar deletes finished journals as soon as it has read them, so a directory that large
means that no sidecar runs.  Its journals must stay: none of their costs is in the ledger yet.
"""

_PENDING_LIMIT_BYTES: Final = 4 * 1024 * 1024
_MEASURE_EVERY_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 5.0

_open_journals: "weakref.WeakSet[Journal]" = weakref.WeakSet()


class Follower(Protocol):
    """Gets every record, in order, on the writer's thread.

    It gets a record after the attempt to write it, also if that failed: a full disk does not
    stop a budget.  Its exceptions are counted, and the writer goes on.
    """

    def take(self, record: Record) -> None:
        """Take the next record of the session."""
        ...

    def end(self) -> None:
        """Finish: there are no more records."""
        ...


class RawEvent(Protocol):
    """An event that the event loop queued unread; the writer reads it."""

    def records(self) -> Sequence[Record]:
        """Read its records.

        Raises:
            UnreadableError: It cannot be read.
        """
        ...


class Deriver(Protocol):
    """Makes further records of the records, in order, on the writer's thread."""

    def derive(self, record: Record) -> Sequence[Record]:
        """Return the records to write after this one."""
        ...

    def flush(self) -> Sequence[Record]:
        """Return the records that the end of the session produces."""
        ...


_Item: TypeAlias = "Record | RawEvent | _Flush | None"


class _Flush:
    """Makes the writer tell when everything that was put before it is on file."""

    def __init__(self, *, last: bool) -> None:
        self.last = last
        self.done = threading.Event()


class Journal:
    """Writes one session's records to one file of its own.

    Args:
        directory: Folder of the journals; made when it is missing.
        session: Session id, the first part of the file's name.
        queue_limit: Records that may wait; more are dropped and counted.
        directory_limit: Bytes of all journals at which records are dropped and counted.
        followers: Get the records too, in this order.
        deriver: Makes further records of them.
    """

    def __init__(
        self,
        directory: Path,
        session: str,
        *,
        queue_limit: int = QUEUE_LIMIT,
        directory_limit: int = DIRECTORY_LIMIT_BYTES,
        followers: Sequence[Follower] = (),
        deriver: Deriver | None = None,
    ) -> None:
        self._directory = directory
        self._session = session
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        self._queue_limit = queue_limit
        self._directory_limit = directory_limit
        self._followers = tuple(followers)
        self._deriver = deriver
        self._noted: list[Record] = []
        self._last = _Flush(last=True)
        self._closing = False
        # Written by the threads that put, read by the writer, never reset: no lock is
        # needed to tell how many came since the last report.
        self._refused = 0
        self._unread: dict[str, int] = {}
        self._reported_refused = 0
        self._reported_unread: dict[str, int] = {}
        self._losses: dict[str, int] = {}
        self._misread: dict[str, int] = {}
        self._file: _File | None = None
        self._opened = False
        self._head = b""
        self._torn = False
        self._measured_at = float("-inf")
        self._directory_full = False
        self._thread = threading.Thread(
            target=self._run, name="livekit-exporter-journal", daemon=True
        )
        self._thread.start()
        _open_journals.add(self)

    def follow(self, follower: Follower) -> None:
        """Add a follower, the last in order, for the records that are put from now on."""
        self._followers = (*self._followers, follower)

    def note(self, record: Record) -> None:
        """Write a record that a follower makes of the records it got.

        For the writer's thread only; unlike `put` it also works after the last record.
        """
        self._noted.append(record)

    @property
    def closing(self) -> bool:
        """True once it takes no more records."""
        return self._closing

    def put(self, record: Record | RawEvent) -> bool:
        """Queue a record, or an event for the writer to read; `False` if it was dropped.

        Never waits.
        """
        if self._closing or self._queue.qsize() >= self._queue_limit:
            self._refused += 1
            return False
        self._queue.put(record)
        return True

    def unread(self, reason: str) -> None:
        """Count an event that could not be turned into a record."""
        self._unread[reason] = self._unread.get(reason, 0) + 1
        if self._queue.qsize() < self._queue_limit:
            self._queue.put(None)

    def flush(self, timeout: float) -> bool:
        """Wait until the records so far are on file; `False` after `timeout` seconds."""
        flush = _Flush(last=False)
        self._queue.put(flush)
        return flush.done.wait(timeout)

    def finish(self) -> None:
        """Take no more records; the writer ends once the queue is on file.  Never waits."""
        if not self._closing:
            self._closing = True
            self._queue.put(self._last)

    def close(self, timeout: float = 1.0) -> bool:
        """Finish, and wait until everything is on file.

        Returns:
            `False` after `timeout` seconds; the writer keeps retrying while the process lives.
        """
        self.finish()
        return self._last.done.wait(timeout)

    def _run(self) -> None:
        pending = bytearray()
        waiting: list[_Flush] = []
        pause = _FIRST_PAUSE_SECONDS
        while not self._last.done.is_set():
            # Nothing to write: sleep until a put.  Something that could not be written:
            # try again after a pause, whether or not more comes.
            taken = self._take(pause if pending else None, len(pending))
            waiting += [item for item in taken if isinstance(item, _Flush)]
            last = any(flush.last for flush in waiting)
            records = [
                record
                for item in taken
                for said in self._records(item)
                for record in (said, *self._derived(said))
            ]
            if last:
                records += self._flushed()
            self._encode(records, pending)
            written = self._write(pending)
            self._tell(records, last=last)
            if self._noted:
                noted, self._noted = self._noted, []
                self._encode(noted, pending)
                written = self._write(pending)
            if written and (last or not self._directory_full):
                pending += self._report()
                written = self._write(pending)
            if not written:
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                continue
            pause = _FIRST_PAUSE_SECONDS
            if last and self._file is not None:
                self._file.close()
            for flush in waiting:
                flush.done.set()
            waiting.clear()

    def _take(self, timeout: float | None, pending: int) -> list[_Item]:
        if pending > _PENDING_LIMIT_BYTES:
            # The disk is away: leave the rest in the bounded queue, which counts what overflows.
            time.sleep(timeout or 0)
            return []
        try:
            taken = [self._queue.get(timeout=timeout)]
        except Empty:
            return []
        try:
            while len(taken) < self._queue_limit:
                taken.append(self._queue.get_nowait())
        except Empty:
            pass
        return taken

    def _encode(self, records: list[Record], pending: bytearray) -> None:
        full = bool(records) and self._is_directory_full()
        for record in records:
            if full:
                self._lose("directory_full")
                continue
            try:
                line = to_line(record)
            except (TypeError, ValueError):
                self._lose("not_encodable")
                continue
            if len(line) > MAX_LINE_BYTES:
                self._lose("too_long")
                continue
            self._head = self._head or line
            pending += line

    def _records(self, item: _Item) -> Sequence[Record]:
        if item is None or isinstance(item, _Flush):
            return ()
        if isinstance(item, Record):
            return (item,)
        return self._guarded(item.records)

    def _derived(self, record: Record) -> Sequence[Record]:
        if self._deriver is None:
            return ()
        return self._guarded(partial(self._deriver.derive, record))

    def _flushed(self) -> Sequence[Record]:
        deriver, self._deriver = self._deriver, None
        return () if deriver is None else self._guarded(deriver.flush)

    def _guarded(self, read: Callable[[], Sequence[Record]]) -> Sequence[Record]:
        """Read records, or count that they cannot be read."""
        try:
            return read()
        except UnreadableError as error:
            self._misread[error.reason] = self._misread.get(error.reason, 0) + 1
        except Exception as error:  # noqa: BLE001 - one event must not end the writer
            self._misread["internal_error"] = self._misread.get("internal_error", 0) + 1
            self._warn("an event could not be read, the call goes on: %r", error)
        return ()

    def _tell(self, records: list[Record], *, last: bool) -> None:
        # Record by record: a follower may read what the followers before it made of the record.
        for record in records:
            for follower in self._followers:
                self._attempt(partial(follower.take, record))
        if last:
            for follower in self._followers:
                self._attempt(follower.end)
            self._followers = ()

    def _attempt(self, told: Callable[[], None]) -> None:
        try:
            told()
        except Exception as error:  # noqa: BLE001 - a follower must not end the writer
            self._misread["follower_failed"] = self._misread.get("follower_failed", 0) + 1
            self._warn(
                "a record could not be logged or counted for the budget, the call goes on: %r",
                error,
            )

    def _lose(self, reason: str) -> None:
        self._losses[reason] = self._losses.get(reason, 0) + 1

    def _report(self) -> bytes:
        """Encode a report of the losses since the last one; empty if there are none."""
        dropped, unread, refused = self._losses, dict(self._unread), self._refused
        if refused > self._reported_refused:
            dropped = {**dropped, "queue_full": refused - self._reported_refused}
        rejected = {
            reason: count - self._reported_unread.get(reason, 0)
            for reason, count in unread.items()
            if count > self._reported_unread.get(reason, 0)
        }
        for reason, count in self._misread.items():
            rejected[reason] = rejected.get(reason, 0) + count
        if not dropped and not rejected:
            return b""
        self._misread = {}
        self._losses, self._reported_refused, self._reported_unread = {}, refused, unread
        return to_line(
            CollectorReport(
                session=self._session, at=time.time(), dropped=dropped, rejected=rejected
            )
        )

    def _is_directory_full(self) -> bool:
        now = time.monotonic()
        if now - self._measured_at >= _MEASURE_EVERY_SECONDS:
            self._measured_at = now
            self._directory_full = _size(self._directory) >= self._directory_limit
            if self._directory_full:
                self._warn(
                    "journals fill %d bytes, records are dropped;"
                    " is the sidecar running on this data directory?",
                    self._directory_limit,
                )
        return self._directory_full

    def _write(self, pending: bytearray) -> bool:
        """Append the pending lines; `False` if some must be tried again."""
        try:
            while pending:
                file = self._file
                if file is None or file.gone():
                    file = self._open(pending)
                taken = file.append(pending)
                # After a short write the rest continues the line in the next round.
                self._torn = pending[taken - 1 : taken] != b"\n"
                del pending[:taken]
        except OSError as error:
            self._warn("cannot write the journal, trying again: %s", error)
            return False
        return True

    def _open(self, pending: bytearray) -> "_File":
        """Open a file for the session: its first, or one in place of a deleted one."""
        if self._file is not None:
            # Somebody deleted a journal in use.  How much of it the sidecar had not read yet
            # is unknown, so count only that it happened.
            self._file.close()
            self._file = None
            self._lose("journal_deleted")
            if self._torn:
                del pending[: pending.index(b"\n") + 1]
                self._torn = False
        self._file = _File(self._directory, self._session)
        if self._opened:
            pending[:0] = self._head
        self._opened = True
        return self._file

    def _warn(self, message: str, value: object) -> None:
        problems.warning(f"{message} (data directory %s)", value, self._directory.parent)


class _File:
    """The file of one journal, locked while it is open.

    Raises:
        OSError: It cannot be created.
    """

    def __init__(self, directory: Path, session: str) -> None:
        files.make(directory)
        name = f"{session}-{secrets.token_hex(4)}"
        hidden = directory / f".{name}.tmp"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(hidden, flags, 0o600)
        try:
            os.fchmod(self._descriptor, files.file_mode(directory))
            # Locked before it gets its name: an empty unlocked file would look like a finished
            # journal to the sidecar.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            hidden.rename(directory / f"{name}.jsonl")
        except OSError:
            self.close()
            hidden.unlink(missing_ok=True)
            raise

    def append(self, pending: bytearray) -> int:
        """Append with one write; return the number of bytes written."""
        return os.write(self._descriptor, pending)

    def gone(self) -> bool:
        """Return true if somebody deleted the file: nobody would read what is written to it."""
        return os.fstat(self._descriptor).st_nlink == 0

    def close(self) -> None:
        os.close(self._descriptor)


def _size(directory: Path) -> int:
    """Sum up the bytes of all files in a folder; 0 if it cannot be read."""
    try:
        with os.scandir(directory) as entries:
            return sum(_entry_size(entry) for entry in entries)
    except OSError:
        return 0


def _entry_size(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        return 0


def close_all(timeout: float = 1.0) -> None:
    """Close every journal of this process, within `timeout` seconds in all."""
    deadline = time.monotonic() + timeout
    for journal in list(_open_journals):
        journal.close(max(0.0, deadline - time.monotonic()))


# For programs that are no LiveKit job: job processes skip `atexit`, and `attach` registers a
# shutdown callback with them instead.
atexit.register(close_all)
