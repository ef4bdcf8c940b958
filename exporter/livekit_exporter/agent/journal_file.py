"""The file of one journal, and the size of all of them."""

import fcntl
import os
import secrets
from pathlib import Path

from livekit_exporter import files


class JournalFile:
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
        """Give up the lock: nothing more comes."""
        os.close(self._descriptor)


def size(directory: Path) -> int:
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
