"""The journal reader: whole lines, once each, whatever a disk or a dying writer leaves."""

import fcntl
import os
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_exporter import files
from livekit_exporter.ledger.rows import Position
from livekit_exporter.record import MAX_LINE_BYTES
from livekit_exporter.sidecar.reader import CHUNK_BYTES, Chunk, Reader, split
from tests.records import Writer
from tests.sidecars import wait_until


class Follower:
    """Reads a data directory as the ingest loop does, and remembers what it saw.

    Args:
        data_dir: The data directory.
        positions: What an earlier run committed.
    """

    def __init__(self, data_dir: Path, positions: dict[str, Position] | None = None) -> None:
        self.reader = Reader(files.journals(data_dir))
        self.positions = positions if positions is not None else {}
        self.lines: list[bytes] = []
        self.rejected: Counter[str] = Counter()
        self.ended: list[str] = []

    def look(self) -> list[Chunk]:
        """One pass: scan, read, commit."""
        self.reader.scan()
        chunks = list(self.reader.chunks(self.positions))
        for chunk in chunks:
            self.lines += chunk.lines
            self.rejected += chunk.rejected
            self.positions[chunk.journal] = chunk.position
            if chunk.ended:
                self.ended.append(chunk.journal)
        return chunks

    def look_until_ended(self) -> None:
        """Pass until a journal is at its end."""

        def ended() -> bool:
            self.look()
            return self.ended != []

        wait_until(ended, "the journal is at its end")


def test_a_torn_last_line_waits_and_then_completes(data_dir: Path) -> None:
    """A line that is being written is no garbage."""
    follower = Follower(data_dir)
    with Writer(data_dir) as journal:
        journal.write(b"one\ntw")
        follower.look()
        assert follower.lines == [b"one"]
        assert follower.look() == []

        journal.write(b"o\nthree\n")
        follower.look()

    assert follower.lines == [b"one", b"two", b"three"]
    assert follower.rejected == {}


def test_a_torn_line_of_a_dead_writer_is_counted_once(data_dir: Path) -> None:
    """The reader skips its torn last line, and the journal is at its end."""
    with Writer(data_dir) as journal:
        journal.write(b"one\ntw")
    follower = Follower(data_dir)

    follower.look_until_ended()
    follower.look()

    assert follower.lines == [b"one"]
    assert follower.rejected == {"torn": 1}
    assert follower.ended == ["s1-aa.jsonl"]
    assert follower.reader.lag(follower.positions) == 0


def test_a_journal_ends_only_when_nobody_writes_it(data_dir: Path) -> None:
    """Silence is no end: callers think, and disks stall."""
    follower = Follower(data_dir)
    with Writer(data_dir) as journal:
        journal.write(b"one\n")
        follower.look()
        follower.look()
        assert follower.ended == []

    follower.look_until_ended()
    assert follower.lines == [b"one"]


def test_an_empty_journal_ends_without_a_line(data_dir: Path) -> None:
    """A process that was killed before its first write leaves one."""
    Writer(data_dir).close()
    follower = Follower(data_dir)

    follower.look_until_ended()

    assert (follower.lines, follower.rejected) == ([], {})


def test_an_ended_journal_is_not_read_again(data_dir: Path) -> None:
    """Also when deleting it failed, or a file system brought it back."""
    with Writer(data_dir) as journal:
        journal.write(b"one\n")
    follower = Follower(data_dir)
    follower.look_until_ended()

    assert follower.look() == []
    assert Follower(data_dir, follower.positions).look() == []
    assert follower.lines == [b"one"]


def test_empty_lines_are_nothing(data_dir: Path) -> None:
    """They say nothing and reject nothing."""
    with Writer(data_dir) as journal:
        journal.write(b"\n\none\n\n\ntwo\n\n")
    follower = Follower(data_dir)

    follower.look_until_ended()

    assert follower.lines == [b"one", b"two"]
    assert follower.rejected == {}


@pytest.mark.parametrize("over", [-1, 0, 1, CHUNK_BYTES])
def test_only_lines_within_a_mebibyte_are_taken(data_dir: Path, over: int) -> None:
    """The limit counts the newline, and the lines around a long one are taken."""
    long = b"x" * (MAX_LINE_BYTES - 1 + over)
    with Writer(data_dir) as journal:
        journal.write(b"before\n" + long + b"\nafter\n")
    follower = Follower(data_dir)

    follower.look_until_ended()

    fits = over <= 0
    assert follower.lines == [b"before", *([long] if fits else []), b"after"]
    assert follower.rejected == ({} if fits else {"too_long": 1})


@pytest.mark.parametrize("restarts", [False, True])
def test_a_long_line_that_comes_in_pieces_is_counted_once(
    data_dir: Path, *, restarts: bool
) -> None:
    """Also when the sidecar is restarted in the middle of it."""
    follower = Follower(data_dir)
    counted: Counter[str] = Counter()
    lines: list[bytes] = []
    with Writer(data_dir) as journal:
        journal.write(b"before\n")
        for _ in range(13):
            journal.write(b"x" * 200_000)
            follower.look()
            if restarts:
                counted += follower.rejected
                lines += follower.lines
                follower = Follower(data_dir, follower.positions)
        journal.write(b"\nafter\n")
    follower.look_until_ended()

    assert lines + follower.lines == [b"before", b"after"]
    assert counted + follower.rejected == {"too_long": 1}


def test_a_long_line_without_an_end_is_counted_once(data_dir: Path) -> None:
    """It is too long before it is torn."""
    with Writer(data_dir) as journal:
        journal.write(b"before\n" + b"x" * (3 * MAX_LINE_BYTES))
    follower = Follower(data_dir)

    follower.look_until_ended()

    assert follower.lines == [b"before"]
    assert follower.rejected == {"too_long": 1}
    assert follower.reader.lag(follower.positions) == 0


def test_a_long_journal_is_read_in_chunks(data_dir: Path) -> None:
    """Memory stays bounded however far the sidecar is behind."""
    line = b"y" * 1000
    with Writer(data_dir) as journal:
        journal.write((line + b"\n") * 2000)
    follower = Follower(data_dir)

    assert max(len(chunk.lines) for chunk in follower.look()) <= CHUNK_BYTES // len(line)
    follower.look_until_ended()
    assert follower.lines == [line] * 2000


def test_a_journal_whose_length_is_a_whole_chunk_ends(data_dir: Path) -> None:
    """The end is found although the last read was full."""
    with Writer(data_dir) as journal:
        journal.write((b"z" * 1023 + b"\n") * (CHUNK_BYTES // 1024))
    follower = Follower(data_dir)

    follower.look_until_ended()

    assert len(follower.lines) == CHUNK_BYTES // 1024


def test_a_shortened_journal_is_counted_once_and_read_on(data_dir: Path) -> None:
    """Committed lines stay committed; the reader takes lines that are appended later."""
    follower = Follower(data_dir)
    with Writer(data_dir) as journal:
        journal.write(b"one\ntwo\n")
        follower.look()
        os.truncate(journal.path, 6)
        follower.look()
        follower.look()
        journal.write(b"three\n")
        follower.look()

    assert follower.lines == [b"one", b"two", b"three"]
    assert follower.rejected == {"truncated_file": 1}


def test_a_shortened_journal_without_a_writer_ends(data_dir: Path) -> None:
    """It must not stay for ever."""
    with Writer(data_dir) as journal:
        journal.write(b"one\ntwo\n")
    os.truncate(journal.path, 2)
    follower = Follower(data_dir, {journal.path.name: Position(8)})

    follower.look_until_ended()

    assert follower.rejected == {"truncated_file": 1}


def test_a_journal_that_vanishes_while_it_is_read_is_no_error(data_dir: Path) -> None:
    """Somebody cleaned up between the scan and the reading."""
    follower = Follower(data_dir)
    with Writer(data_dir) as journal, Writer(data_dir, "s2-bb") as other:
        journal.write(b"one\n")
        other.write(b"two\n")
        follower.reader.scan()
        journal.path.unlink()
        chunks = list(follower.reader.chunks({}))

    assert [chunk.lines for chunk in chunks] == [[b"two"]]
    follower.reader.scan()
    assert list(follower.reader.sizes) == ["s2-bb.jsonl"]


def test_removing_a_journal_twice_is_no_error(data_dir: Path) -> None:
    """The file may be gone already."""
    follower = Follower(data_dir)
    with Writer(data_dir) as journal:
        follower.look()
        follower.reader.remove(journal.path.name)
        follower.reader.remove(journal.path.name)

    assert not journal.path.exists()


def test_a_folder_that_is_not_there_yet_holds_no_journals(data_dir: Path) -> None:
    """The sidecar may start before the first agent."""
    follower = Follower(data_dir)

    assert follower.look() == []
    assert follower.reader.sizes == {}


def test_a_folder_that_cannot_be_read_raises(data_dir: Path) -> None:
    """Not to be mistaken for one without journals."""
    data_dir.mkdir()
    files.journals(data_dir).write_text("a file")

    with pytest.raises(NotADirectoryError):
        Follower(data_dir).look()


def test_only_journals_are_read(data_dir: Path) -> None:
    """Folders, links, pipes, other files and files in the making are none."""
    folder = files.journals(data_dir)
    outside = data_dir / "outside.jsonl"
    with Writer(data_dir) as journal:
        journal.write(b"one\n")
        outside.write_bytes(b"secret\n")
        (folder / "folder.jsonl").mkdir()
        (folder / "link.jsonl").symlink_to(outside)
        os.mkfifo(folder / "pipe.jsonl")
        (folder / "notes.txt").write_text("notes\n")
        (folder / ".s9-cc.tmp").write_text("new\n")
        (folder / ".s9-cc.jsonl").write_text("hidden\n")
        follower = Follower(data_dir)
        follower.look()

    assert follower.lines == [b"one"]
    assert (folder / ".s9-cc.tmp").exists()


def test_a_file_that_was_never_named_is_cleaned_up_after_an_hour(data_dir: Path) -> None:
    """Its writer died between making and naming it; a young one may still be named."""
    folder = files.journals(data_dir)
    folder.mkdir(parents=True)
    for name, age in (("old", 7200.0), ("young", 60.0)):
        path = folder / f".{name}.tmp"
        path.touch()
        made = path.stat().st_mtime - age
        os.utime(path, (made, made))

    Follower(data_dir).look()

    assert [path.name for path in folder.iterdir()] == [".young.tmp"]


def test_reading_takes_the_lock_from_no_writer(data_dir: Path) -> None:
    """The reader's question must not leave the journal locked."""
    with Writer(data_dir) as journal:
        journal.write(b"one\n")
    follower = Follower(data_dir)
    follower.look()

    with journal.path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_lag_is_what_the_ledger_does_not_have(data_dir: Path) -> None:
    """Bytes of all journals behind the committed positions."""
    follower = Follower(data_dir)
    with Writer(data_dir) as journal, Writer(data_dir, "s2-bb") as other:
        journal.write(b"one\ntw")
        other.write(b"12345")
        follower.reader.scan()
        assert follower.reader.lag({}) == 11
        follower.look()
        assert follower.reader.lag(follower.positions) == 7


PIECES = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.just(b"\n"),
        st.just(b"x" * (MAX_LINE_BYTES - 1)),
        st.just(b"x" * MAX_LINE_BYTES),
    ),
    max_size=10,
)


@given(pieces=PIECES, seed=st.integers(0, 2**16))
def test_any_split_of_a_stream_gives_the_same_lines_and_counts(
    pieces: list[bytes], seed: int
) -> None:
    """The sizes of polls and the number of restarts change nothing."""
    stream = b"".join(pieces)
    whole, _, rest = stream.rpartition(b"\n")
    expected = [line for line in whole.split(b"\n") if line and len(line) < MAX_LINE_BYTES]
    too_long = sum(len(line) >= MAX_LINE_BYTES for line in stream.split(b"\n"))
    torn = int(0 < len(rest) < MAX_LINE_BYTES)
    chance = random.Random(seed)

    position, available = Position(), 0
    lines: list[bytes] = []
    rejected: Counter[str] = Counter()
    while position.finished_at is None:
        # As the reader does: up to one line of the longest kind, from what is committed.
        data = stream[position.committed : min(available, position.committed + MAX_LINE_BYTES)]
        at_end = position.committed + len(data) == len(stream)
        # A restart keeps nothing but the position.
        chunk = split("j", data, position, final=at_end and len(data) < MAX_LINE_BYTES)
        lines += chunk.lines
        rejected += chunk.rejected
        position = Position(
            chunk.position.committed, chunk.position.discarding, chunk.position.finished_at
        )
        available = min(len(stream), available + chance.choice((1, 7, 60, 100_000, 2_000_000)))

    assert lines == expected
    assert rejected == +Counter(too_long=too_long, torn=torn)
    assert position.committed == len(stream)
