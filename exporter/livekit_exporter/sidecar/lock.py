"""Locks a data directory for one sidecar: two would each count half, or all twice."""

import fcntl
import json
import os
import platform
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from livekit_exporter import files

_GLANCE_SECONDS: Final = 0.2


class HeldError(Exception):
    """Another sidecar serves this data directory; the message says which."""


class Lock:
    """Locks a data directory until `close`, or the end of the process.

    Args:
        root: The data directory; created when it is missing.

    Raises:
        HeldError: Another process holds it.
        OSError: The lock file cannot be made.
    """

    def __init__(self, root: Path) -> None:
        files.make(root)
        self._path = files.lock(root)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # A process that only looks if it is locked holds it for an instant: try once more.
        if not _take(self._descriptor) and not _take_later(self._descriptor):
            holder = _holder(self._path)
            os.close(self._descriptor)
            raise HeldError(
                f"data directory '{root}' is served by {holder}; stop that one or choose"
                " another directory with --data-dir"
            )
        # A full disk does not undo the lock; the file then does not name its holder.
        with suppress(OSError):
            os.fchmod(self._descriptor, files.file_mode(root))
            self.tell("")

    def tell(self, address: str) -> None:
        """Write this process and its address into the lock file.

        Raises:
            OSError: The file cannot be written.
        """
        holder = {
            "pid": os.getpid(),
            "host": platform.node(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "address": address,
        }
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(holder).encode() + b"\n", 0)

    def close(self) -> None:
        """Unlock the directory."""
        os.close(self._descriptor)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _take_later(descriptor: int) -> bool:
    time.sleep(_GLANCE_SECONDS)
    return _take(descriptor)


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        address = f", listening on {holder['address']}" if holder["address"] else ""
        return (
            f"process {holder['pid']} on host '{holder['host']}' since {holder['since']}{address}"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "another sidecar"
