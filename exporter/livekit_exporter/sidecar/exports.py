"""One JSON file per call that ended, in `calls/<day>/<session>.json`.

The ledger says which calls have none yet, so a file comes after a crash, a full disk or
a call whose process was killed just the same.  A file is whole or not there.
"""

import re
import secrets
import shutil
import threading
import time
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Final

from livekit_exporter import files
from livekit_exporter.export.document import call_export
from livekit_exporter.ledger.rows import SessionRow, utc_day
from livekit_exporter.ledger.store import Ledger
from livekit_exporter.sidecar.config.settings import Export

CALLS_AT_A_TIME: Final = 50
"""Files of one pass: few enough that journals do not wait for them."""

_DAY_SECONDS: Final = 86400.0
_MAKING_KEY: Final = threading.Lock()
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Exports:
    """The files of one data directory.

    Args:
        root: The data directory.
        ledger: Where calls are read.
    """

    def __init__(self, root: Path, ledger: Ledger) -> None:
        self._root = root
        self._ledger = ledger

    def write(self, settings: Export) -> int:
        """Write files that are missing, at most `CALLS_AT_A_TIME`; how many it were.

        Raises:
            OSError: A file cannot be written.
            LedgerError: The ledger cannot be read, or the files cannot be noted there.
        """
        calls = self._ledger.to_export(CALLS_AT_A_TIME)
        written: dict[str, float] = {}
        try:
            for call in calls:
                self._write(call, settings)
                written[call.session] = time.time()
        finally:
            if written:
                self._ledger.exported(written)
        return len(written)

    def remove_old(self, settings: Export, now: float) -> None:
        """Remove the files of days that are to be kept no longer.

        Raises:
            OSError: They cannot be removed.
        """
        folder = files.calls(self._root)
        if settings.keep_days is None or not folder.is_dir():
            return
        oldest = utc_day(now - settings.keep_days * _DAY_SECONDS)
        for day in folder.iterdir():
            if _is_day(day.name) and day.name < oldest:
                shutil.rmtree(day)

    def _write(self, call: SessionRow, settings: Export) -> None:
        rows = self._ledger.rows_of(call.session)
        key = redaction_key(self._root) if settings.redaction == "hash" else b""
        export = call_export(
            call,
            rows.turns,
            rows.usage,
            rows.failures,
            redaction=settings.redaction,
            key=key,
        )
        folder = files.calls(self._root) / utc_day(call.started_at)
        files.make(folder)
        target = folder / f"{file_name(call.session)}.json"
        files.write_atomically(target, f"{export.model_dump_json(indent=1)}\n".encode())


def redaction_key(root: Path) -> bytes:
    """Secret of a data directory; made once, so that a name has one hash for good.

    Raises:
        OSError: It cannot be read or made.
    """
    path = files.redaction_key(root)
    with _MAKING_KEY:
        if not path.exists():
            files.write_atomically(path, f"{secrets.token_hex(32)}\n".encode(), mode=0o600)
    return bytes.fromhex(path.read_text(encoding="utf-8").strip())


def file_name(session: str) -> str:
    """Name of a call's file: its id, or a digest where the id is no plain file name."""
    if _PLAIN.fullmatch(session):
        return session
    return blake2b(session.encode(errors="replace"), digest_size=16).hexdigest()


def _is_day(name: str) -> bool:
    try:
        return datetime.strptime(name, "%Y-%m-%d").replace(tzinfo=UTC).strftime("%Y-%m-%d") == name
    except ValueError:
        return False
