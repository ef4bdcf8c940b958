"""A call's journal: a bounded queue, one writer thread, one append-only file.

`put` never waits.  It wakes a thread, which encodes the records in the queue and appends
them with one `os.write`.  So a stalled disk stalls that thread and not the call, and a
killed process loses at most the records in its queue.  Records that cannot be written are
counted, and the count is written as soon as writing works again.

The writer holds an exclusive `flock` on the file while more may come.  The lock, never a
pid, tells the sidecar so.  A call ends when its job does, so a journal takes records until
the process ends.  Where no job says when that is, `release` gives the file to the sidecar; a
record that comes later begins another file.  `docs/journal.md` describes the format.
"""

import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import util as processes
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias

from livekit_exporter.agent.fields import UnreadableError
from livekit_exporter.agent.followers import Deriver, Follower, Losses, RawEvent
from livekit_exporter.agent.journal_file import JournalFile, size
from livekit_exporter.agent.losses import LossReport
from livekit_exporter.agent.rate_limited_log import problems
from livekit_exporter.record import MAX_LINE_BYTES, Record, to_line

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


_Item: TypeAlias = "Record | RawEvent | _Flush | None"


class _Flush:
    """Makes the writer tell when everything that was put before it is on file.

    Args:
        settle: Tell derivers and followers that the call is over.
        last: Nothing comes after it.
    """

    def __init__(self, *, settle: bool = False, last: bool = False) -> None:
        self.settle = settle
        self.last = last
        self.tried = threading.Event()
        """Writing was tried, with or without success."""
        self.done = threading.Event()


class Journal:
    """Writes one session's records to one file of its own.

    Args:
        directory: Folder of the journals; made when it is missing.
        session: Session id, the first part of the file's name.
        queue_limit: Records that may wait; more are dropped and counted.
        directory_limit: Bytes of all journals at which records are dropped and counted.
        followers: Get the records too, in this order.
        derivers: Make further records of them.
        losses: Adds up the records that are not written.
    """

    def __init__(
        self,
        directory: Path,
        session: str,
        *,
        queue_limit: int = QUEUE_LIMIT,
        directory_limit: int = DIRECTORY_LIMIT_BYTES,
        followers: Sequence[Follower] = (),
        derivers: Sequence[Deriver] = (),
        losses: Losses | None = None,
    ) -> None:
        self._directory = directory
        self._session = session
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        self._queue_limit = queue_limit
        self._directory_limit = directory_limit
        self._followers = tuple(followers)
        self._derivers = tuple(derivers)
        self._losses = LossReport(losses)
        self._pending = bytearray()
        self._waiting: list[_Flush] = []
        self._noted: list[Record] = []
        self._last = _Flush(settle=True, last=True)
        self._closing = False
        self._idle_seconds: float | None = None
        self._taken_at = time.monotonic()
        self._resting = False
        self._resuming = threading.Lock()
        self._settled = False
        self._unwritten: list[Record] = []
        self._file: JournalFile | None = None
        self._opened = False
        self._head = b""
        self._torn = False
        self._measured_at = float("-inf")
        self._directory_full = False
        self._start_writer()
        _open_journals.add(self)
        _close_at_exit()

    def follow(self, follower: Follower) -> None:
        """Add a follower, the last in order, for the records that are put from now on."""
        self._followers = (*self._followers, follower)

    def note(self, record: Record) -> None:
        """Write a record that a follower makes of the records it got.

        For the writer's thread only; unlike `put` it also works after the last record.
        """
        self._noted.append(record)

    @property
    def closed(self) -> bool:
        """True once it takes no more records: the process ends."""
        return self._closing

    def put(self, record: Record | RawEvent) -> bool:
        """Queue a record, or an event for the writer to read; `False` if it was dropped.

        Never waits.
        """
        if self._closing or self._queue.qsize() >= self._queue_limit:
            self._losses.refuse(record)
            return False
        self._queue.put(record)
        # Asked here, too: every event comes this way.
        if self._resting:
            self._wake()
        return True

    def unread(self, reason: str) -> None:
        """Count an event that could not be turned into a record."""
        self._losses.unread(reason)
        if self._queue.qsize() < self._queue_limit:
            self._queue.put(None)
            self._wake()

    def flush(self, timeout: float) -> bool:
        """Wait until the records so far are on file; `False` after `timeout` seconds."""
        flush = _Flush()
        self._queue.put(flush)
        self._wake()
        return flush.done.wait(timeout)

    def settle(self, timeout: float) -> bool:
        """Tell followers that the call is over, and wait until everything is on file.

        It goes on taking records.

        Returns:
            `False` after `timeout` seconds, and at once where the file cannot be written:
            the end of a job does not wait for a disk.
        """
        flush = _Flush(settle=True)
        self._queue.put(flush)
        self._wake()
        flush.tried.wait(timeout)
        return flush.done.is_set()

    def release(self, idle_seconds: float) -> None:
        """Give the file to the sidecar when nothing comes for some seconds.  Never waits.

        The writer ends then.  A record that comes later wakes it, and begins another file.
        """
        self._idle_seconds = idle_seconds
        self._queue.put(None)
        self._wake()

    def keep(self) -> None:
        """Take back `release`: the call goes on."""
        self._idle_seconds = None

    def close(self, timeout: float = 1.0) -> bool:
        """Take no more records, and wait until everything is on file.

        Returns:
            `False` after `timeout` seconds; the writer keeps retrying while the process lives.
        """
        self._finish()
        return self._last.done.wait(timeout)

    def close_at_exit(self, timeout: float) -> None:
        """Close without waiting for a file that cannot be written."""
        self._finish()
        self._last.tried.wait(timeout)

    def _finish(self) -> None:
        with self._resuming:
            if not self._closing:
                self._closing = True
                if self._resting and self._queue.empty():
                    self._last.done.set()
                    self._last.tried.set()
                else:
                    self._queue.put(self._last)
        self._wake()

    def _start_writer(self) -> None:
        threading.Thread(target=self._run, name="livekit-exporter-journal", daemon=True).start()

    def _wake(self) -> None:
        """Start the writer again if it rests and there is something to do."""
        if self._resting:
            with self._resuming:
                self._resume()

    def _resume(self) -> None:
        # Asked again, with the lock: another thread may have been quicker.
        if self._resting and not self._queue.empty():
            self._resting = False
            self._start_writer()

    def _rest(self) -> bool:
        """End the writer, unless something came meanwhile."""
        # In this order: who puts looks at `_resting` afterwards, so one of the two sees the other.
        self._resting = True
        if self._queue.empty():
            return True
        with self._resuming:
            resumed_by_me, self._resting = self._resting, False
        # Somebody else has started another writer already.
        return not resumed_by_me

    def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._last.done.is_set():
            # Nothing to write: sleep until a put.  Something that could not be written:
            # try again after a pause, whether or not more comes.
            taken = self._take(pause if self._pending else self._idle_seconds)
            rest = self._is_idle(taken)
            if not self._work(taken, rest=rest):
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                continue
            pause = _FIRST_PAUSE_SECONDS
            if rest and self._rest():
                return

    def _is_idle(self, taken: "list[_Item]") -> bool:
        """Return true once a released journal has got nothing for as long as it waits."""
        now = time.monotonic()
        if taken:
            self._taken_at = now
        idle = self._idle_seconds
        return idle is not None and not taken and now - self._taken_at >= idle

    def _work(self, taken: "list[_Item]", *, rest: bool) -> bool:
        """Write what was taken; `False` if some of it must be tried again.

        Args:
            taken: Items of the queue.
            rest: The file is to be given to the sidecar.
        """
        self._waiting += [item for item in taken if isinstance(item, _Flush)]
        last = any(flush.last for flush in self._waiting)
        settle = last or rest or any(flush.settle for flush in self._waiting)
        records = [
            record
            for item in taken
            for said in self._records(item)
            for record in (said, *self._derived(said))
        ]
        if settle:
            records += self._flushed()
        self._encode(records)
        written = self._write()
        self._tell(records, settle=settle)
        if self._noted:
            noted, self._noted = self._noted, []
            self._encode(noted)
            written = self._write()
        if written and (last or not self._directory_full):
            self._pending += self._report()
            written = self._write()
        if written:
            self._unwritten.clear()
            if last or rest:
                self._leave_file()
        elif settle:
            self._say_unwritten()
        for flush in self._waiting:
            flush.tried.set()
            if written:
                flush.done.set()
        if written:
            self._waiting.clear()
        return written

    def _leave_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _take(self, timeout: float | None) -> list[_Item]:
        if len(self._pending) > _PENDING_LIMIT_BYTES:
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

    def _encode(self, records: list[Record]) -> None:
        full = bool(records) and self._is_directory_full()
        for record in records:
            if full:
                self._losses.drop("directory_full", record)
                continue
            try:
                line = to_line(record)
            except (TypeError, ValueError):
                self._losses.drop("not_encodable", record)
                continue
            if len(line) > MAX_LINE_BYTES:
                self._losses.drop("too_long", record)
                continue
            self._head = self._head or line
            self._unwritten.append(record)
            self._pending += line

    def _records(self, item: _Item) -> Sequence[Record]:
        if item is None or isinstance(item, _Flush):
            return ()
        if isinstance(item, Record):
            return (item,)
        return self._guarded(item.records)

    def _derived(self, record: Record) -> Sequence[Record]:
        return [
            further
            for deriver in self._derivers
            for further in self._guarded(partial(deriver.derive, record))
        ]

    def _flushed(self) -> list[Record]:
        return [record for deriver in self._derivers for record in self._guarded(deriver.flush)]

    def _guarded(self, read: Callable[[], Sequence[Record]]) -> Sequence[Record]:
        """Read records, or count that they cannot be read."""
        try:
            return read()
        except UnreadableError as error:
            self._losses.misread(error.reason)
        except Exception as error:  # noqa: BLE001 - one event must not end the writer
            self._losses.misread("internal_error")
            self._warn("an event could not be read, the call goes on: %r", error)
        return ()

    def _tell(self, records: list[Record], *, settle: bool) -> None:
        self._settled = self._settled and not records
        # Record by record: a follower may read what the followers before it made of the record.
        for record in records:
            for follower in self._followers:
                self._attempt(partial(follower.take, record))
        if settle and not self._settled:
            self._settled = True
            for follower in self._followers:
                self._attempt(follower.end)

    def _attempt(self, told: Callable[[], None]) -> None:
        try:
            told()
        except Exception as error:  # noqa: BLE001 - a follower must not end the writer
            self._losses.misread("follower_failed")
            self._warn(
                "a record could not be logged or counted for the budget, the call goes on: %r",
                error,
            )

    def _say_unwritten(self) -> None:
        """Log what is lost with this process, unless the journal can be written before it ends."""
        self._warn(
            "the call is over and its journal cannot be written: %s are lost with this process",
            self._losses.described(self._unwritten),
        )

    def _report(self) -> bytes:
        """Encode a report of the losses since the last one; empty if there are none."""
        report = self._losses.report(self._session)
        if report is None:
            return b""
        if report.dropped:
            reasons = ", ".join(f"{count} {reason}" for reason, count in report.dropped.items())
            self._warn(
                "records of a call are lost: %s", f"{reasons}; usage of {report.lost_usd:g} USD"
            )
        return to_line(report)

    def _is_directory_full(self) -> bool:
        now = time.monotonic()
        if now - self._measured_at >= _MEASURE_EVERY_SECONDS:
            self._measured_at = now
            self._directory_full = size(self._directory) >= self._directory_limit
            if self._directory_full:
                self._warn(
                    "journals fill %d bytes, records are dropped;"
                    " is the sidecar running on this data directory?",
                    self._directory_limit,
                )
        return self._directory_full

    def _write(self) -> bool:
        """Append the pending lines; `False` if some must be tried again."""
        pending = self._pending
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

    def _open(self, pending: bytearray) -> JournalFile:
        """Open a file for the session: its first, or one in place of a deleted one."""
        if self._file is not None:
            # Somebody deleted a journal in use.  How much of it the sidecar had not read yet
            # is unknown, so count only that it happened.
            self._file.close()
            self._file = None
            self._losses.drop("journal_deleted")
            if self._torn:
                del pending[: pending.index(b"\n") + 1]
                self._torn = False
        self._file = JournalFile(self._directory, self._session)
        if self._opened:
            pending[:0] = self._head
        self._opened = True
        return self._file

    def _warn(self, message: str, value: object) -> None:
        problems.warning(f"{message} (data directory %s)", value, self._directory.parent)


def close_all(timeout: float = 1.0) -> None:
    """Close every journal of this process, within `timeout` seconds in all."""
    deadline = time.monotonic() + timeout
    for journal in list(_open_journals):
        journal.close_at_exit(max(0.0, deadline - time.monotonic()))


_closes_in = 0
"""Process id in which the end of the process closes journals."""


def _close_at_exit() -> None:
    """Close all journals when this process ends.

    A job process of LiveKit skips `atexit`.  It runs the finalizers of `multiprocessing`, after
    the job's last shutdown callback; a fork forgets those that its parent registered.
    """
    global _closes_in  # noqa: PLW0603 - a process ends once
    if _closes_in != os.getpid():
        _closes_in = os.getpid()
        processes.Finalize(None, close_all, exitpriority=0)
