"""The journal: never waits, loses nothing silently, survives its process."""

import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from livekit_exporter.agent.journal import Journal
from livekit_exporter.record import BudgetReached, MessageAdded, Record, SessionStarted, Threshold
from tests.agent.logs import raising_handler


def message(number: int) -> MessageAdded:
    return MessageAdded(session="s1", at=1_795_000_000.0 + number, role="user", characters=number)


def written(directory: Path) -> list[dict[str, object]]:
    """Every record in every journal of a folder, in the order of the files' ages."""
    files = sorted(directory.glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(line) for path in files for line in path.read_bytes().splitlines()]


def is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_records_arrive_in_order_and_the_file_is_locked_while_the_writer_lives(
    tmp_path: Path,
) -> None:
    """The lock, not a pid, tells the sidecar that more may come."""
    journal = Journal(tmp_path / "journal", "s1")
    for number in range(500):
        assert journal.put(message(number))
    assert journal.flush(10)

    (path,) = (tmp_path / "journal").iterdir()
    assert path.name.startswith("s1-")
    assert path.suffix == ".jsonl"
    assert is_locked(path)
    assert journal.close(10)
    assert not is_locked(path)
    assert [record.get("characters", 0) for record in written(tmp_path / "journal")] == list(
        range(500)
    )


def test_a_full_queue_drops_at_once_and_says_so_in_the_journal(tmp_path: Path) -> None:
    """What does not fit is counted, and the count is journalled."""
    journal = Journal(tmp_path / "journal", "s1", queue_limit=0)

    assert not journal.put(message(1))
    assert not journal.put(message(2))
    assert journal.close(10)

    (report,) = written(tmp_path / "journal")
    assert report["kind"] == "collector"
    assert report["dropped"] == {"queue_full": 2}


def test_an_event_that_could_not_be_read_is_journalled_as_a_count(tmp_path: Path) -> None:
    """The sidecar counts what the agent could not understand."""
    journal = Journal(tmp_path / "journal", "s1")
    journal.unread("unknown_metrics")
    journal.unread("unknown_metrics")
    assert journal.close(10)

    counts = [record["rejected"] for record in written(tmp_path / "journal")]
    assert sum(count["unknown_metrics"] for count in counts) == 2  # type: ignore[index]


def test_a_full_directory_drops_and_counts(tmp_path: Path) -> None:
    """Without a sidecar the journals stop growing at their bound."""
    journal = Journal(tmp_path / "journal", "s1", directory_limit=0)
    journal.put(message(1))
    journal.put(message(2))
    assert journal.close(10)

    (report,) = written(tmp_path / "journal")
    assert report["dropped"] == {"directory_full": 2}


def test_a_deleted_directory_is_made_again_with_the_session_at_its_head(tmp_path: Path) -> None:
    """Writes to an unlinked file would succeed and reach nobody."""
    start = SessionStarted(session="s1", at=1_795_000_000.0, agent="support")
    journal = Journal(tmp_path / "journal", "s1")
    journal.put(start)
    assert journal.flush(10)
    for path in (tmp_path / "journal").iterdir():
        path.unlink()
    (tmp_path / "journal").rmdir()

    journal.put(message(1))
    assert journal.close(10)

    kinds = [record["kind"] for record in written(tmp_path / "journal")]
    assert kinds == ["session_started", "message", "collector"]
    assert written(tmp_path / "journal")[2]["dropped"] == {"journal_deleted": 1}


def test_a_directory_that_cannot_be_made_neither_waits_nor_raises(tmp_path: Path) -> None:
    """A call must not notice that its data directory is a file."""
    (tmp_path / "data").write_text("not a directory")
    journal = Journal(tmp_path / "data" / "journal", "s1")

    begun = time.monotonic()
    assert journal.put(message(1))
    assert not journal.flush(0.2)
    assert time.monotonic() - begun < 5

    (tmp_path / "data").unlink()
    assert journal.close(20)
    assert [record["kind"] for record in written(tmp_path / "data" / "journal")] == ["message"]


class Follower:
    """Notes what it is told, and how much was on file then."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.told: list[Record] = []
        self.on_file: list[int] = []
        self.ends = 0

    def take(self, record: Record) -> None:
        self.told.append(record)
        self.on_file.append(len(written(self._directory)))

    def end(self) -> None:
        self.ends += 1


def test_a_follower_is_told_every_record_in_order_once_it_is_on_file(tmp_path: Path) -> None:
    """What it does with them keeps no record waiting."""
    follower = Follower(tmp_path / "journal")
    journal = Journal(tmp_path / "journal", "s1", followers=[follower])
    records = [message(number) for number in range(200)]
    for record in records:
        journal.put(record)
    assert journal.close(10)

    assert follower.told == records
    assert all(count > number for number, count in enumerate(follower.on_file))
    assert follower.ends == 1


def test_a_follower_is_told_while_nothing_can_be_written(tmp_path: Path) -> None:
    """Once: not again when the disk is back."""
    (tmp_path / "data").write_text("not a directory")
    follower = Follower(tmp_path / "data" / "journal")
    journal = Journal(tmp_path / "data" / "journal", "s1", followers=[follower])
    journal.put(message(1))
    assert not journal.close(0.5)
    assert (follower.told, follower.ends) == ([message(1)], 1)

    (tmp_path / "data").unlink()
    assert journal.close(20)
    assert (follower.told, follower.ends) == ([message(1)], 1)


def test_a_log_handler_that_raises_does_not_end_the_writer(tmp_path: Path) -> None:
    """It is asked to say that the directory cannot be made."""
    (tmp_path / "data").write_text("not a directory")
    with raising_handler():
        journal = Journal(tmp_path / "data" / "journal", "s1")
        journal.put(message(1))
        assert not journal.flush(0.2)

        (tmp_path / "data").unlink()
        assert journal.close(20)

    assert [record["kind"] for record in written(tmp_path / "data" / "journal")] == ["message"]


@pytest.mark.parametrize(
    ("directory_mode", "file_mode"),
    [pytest.param(0o700, 0o600, id="private"), pytest.param(0o2770, 0o660, id="group")],
)
def test_the_file_mode_follows_the_directory(
    tmp_path: Path, directory_mode: int, file_mode: int
) -> None:
    """Private to its owner, or shared with the group of a setgid directory."""
    root = tmp_path / "data"
    root.mkdir()
    root.chmod(directory_mode)
    before = os.umask(0o077)
    try:
        journal = Journal(root / "journal", "s1")
        journal.put(message(1))
        assert journal.close(10)
    finally:
        os.umask(before)

    (path,) = (root / "journal").iterdir()
    assert path.stat().st_mode & 0o7777 == file_mode
    assert (root / "journal").stat().st_mode & 0o7777 == directory_mode


def run(code: str, *arguments: str, limit: int | None = None) -> "subprocess.Popen[bytes]":
    """Start a Python program that may append no more than `limit` bytes to a file."""

    def confine() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdout=subprocess.PIPE,
        preexec_fn=confine,  # noqa: PLW1509 - no threads in the child yet
    )


def test_a_disk_that_is_full_for_a_while_costs_nothing(tmp_path: Path) -> None:
    """A short write goes on in the middle of its line once there is room."""
    program = """
        import resource, sys, time
        from pathlib import Path
        from livekit_exporter.agent.journal import Journal
        from livekit_exporter.record import MessageAdded
        journal = Journal(Path(sys.argv[1]), "s1")
        for number in range(200):
            journal.put(MessageAdded(session="s1", at=1.8e9, role="user", characters=number))
            time.sleep(0.001)
        assert not journal.flush(0.3)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        assert journal.close(20)
    """
    with run(program, str(tmp_path / "journal"), limit=5000) as process:
        assert process.wait(60) == 0

    records = written(tmp_path / "journal")
    assert [record.get("characters", 0) for record in records] == list(range(200))


def test_sigkill_takes_at_most_what_was_still_queued(tmp_path: Path) -> None:
    """Everything put 100 ms before the kill is on file, and every line but the last is whole."""
    program = """
        import sys, time
        from pathlib import Path
        from livekit_exporter.agent.journal import Journal
        from livekit_exporter.record import MessageAdded
        journal = Journal(Path(sys.argv[1]), "s1")
        number = 0
        while True:
            journal.put(MessageAdded(session="s1", at=time.time(), role="user", characters=number))
            number += 1
            sys.stdout.write(f"{number} {time.time()}\\n")
            sys.stdout.flush()
            time.sleep(0.002)
    """
    with run(program, str(tmp_path / "journal")) as process:
        assert process.stdout is not None
        for _ in range(300):
            process.stdout.readline()
        killed_at = time.time()
        process.send_signal(signal.SIGKILL)
        said = process.stdout.read().decode().splitlines()
    early = [int(line.split()[0]) for line in said if float(line.split()[1]) < killed_at - 0.1]

    (path,) = (tmp_path / "journal").glob("*.jsonl")
    lines = path.read_bytes().splitlines()
    assert len(lines) >= max(early, default=300 - 50)
    assert not is_locked(path)


def test_a_record_that_is_too_long_is_dropped_and_counted(tmp_path: Path) -> None:
    """A reader would refuse the line, so it is not written."""
    journal = Journal(tmp_path / "journal", "s1")
    huge: Record = SessionStarted(
        session="s1", at=1_795_000_000.0, agent="a", labels={"note": "x" * 2_000_000}
    )
    journal.put(huge)
    journal.put(message(1))
    assert journal.close(10)

    first, second = written(tmp_path / "journal")
    assert first["kind"] == "message"
    assert second["dropped"] == {"too_long": 1}


class Echo:
    """A follower that makes a record of each message."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def take(self, record: Record) -> None:
        """Note that it came."""
        if isinstance(record, MessageAdded):
            self._journal.note(
                BudgetReached(session="s1", at=record.at, scope="day", threshold="warn")
            )

    def end(self) -> None:
        """Note the end."""
        self._note("limit", NOTED_AT)

    def _note(self, threshold: Threshold, at: float) -> None:
        self._journal.note(BudgetReached(session="s1", at=at, scope="day", threshold=threshold))


NOTED_AT = 1_795_000_099.0


def test_what_a_follower_makes_of_the_last_records_is_written(tmp_path: Path) -> None:
    """The journal takes nothing more by then, and still it is no loss."""
    journal = Journal(tmp_path / "journal", "s1")
    journal.follow(Echo(journal))
    for number in range(3):
        journal.put(message(number))
    assert journal.close(10)
    assert journal.closed

    records = written(tmp_path / "journal")
    made = [(record["threshold"], record["at"]) for record in records if "threshold" in record]
    assert made == [
        *(("warn", message(number).at) for number in range(3)),
        ("limit", NOTED_AT),
    ]
    assert len(records) == 7
