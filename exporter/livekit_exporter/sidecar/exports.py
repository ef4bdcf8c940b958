"""Writes one JSON file per call that ended, `calls/<day>/<session>.json`.

The ledger says which calls have no file yet, so a call gets its file after a crash, after
a full disk, and when its process was killed.  A file is whole or not there.
"""

import logging
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Final

from livekit_exporter import contract, files
from livekit_exporter.export.document import CallExport, Redaction, call_export
from livekit_exporter.ledger.rows import CallRows, SessionRow, utc_day
from livekit_exporter.ledger.store import Ledger
from livekit_exporter.sidecar.config.settings import Config
from livekit_exporter.sidecar.page import Page

_log = logging.getLogger("livekit_exporter")

_CALLS_PER_PASS: Final = 50
"""Files of one pass: few enough that journals do not wait for them."""

_RETRY_SECONDS: Final = 10.0
_DAY_SECONDS: Final = 86400.0
_MAKING_KEY: Final = threading.Lock()
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Exports:
    """Writes and removes the files of one data directory.

    Args:
        ledger: Where calls are read.
        page: Where files and failures are counted.
        config: Gives the settings in force.
    """

    def __init__(self, ledger: Ledger, page: Page, config: Callable[[], Config]) -> None:
        self._ledger = ledger
        self._page = page
        self._config = config
        self._call_ended = True

    @property
    def pending(self) -> bool:
        """True while calls may be without the file that they are to have."""
        return self._config().export.enabled and self._call_ended

    def call_ended(self) -> None:
        """Look for calls without a file in the next pass."""
        self._call_ended = True

    def run(self) -> float | None:
        """Write files that are missing, at most as many as fit into a pass.

        Returns:
            Seconds until the next attempt, when a file cannot be written.

        Raises:
            LedgerError: The ledger cannot be read, or the files cannot be noted there.
        """
        if not self.pending:
            return None
        written, failed = 0, False
        try:
            written = self._write_missing()
        except OSError as error:
            failed = True
            _log.error(
                "cannot write the export of a call: '%s': %s; the ledger has it, trying again",
                error.filename,
                error.strerror or error,
            )
        else:
            self._call_ended = written == _CALLS_PER_PASS
        self._page.count(contract.CALLS_EXPORTED, written)
        self._page.count(contract.EXPORT_ERRORS, failed)
        return _RETRY_SECONDS if failed else None

    def remove_old(self) -> None:
        """Remove the folders of days that are older than exports are kept."""
        days = self._config().export.keep_days
        folder = files.calls(self._config().data_dir)
        if days is None or not folder.is_dir():
            return
        oldest = utc_day(time.time() - days * _DAY_SECONDS)
        try:
            for day in folder.iterdir():
                if _is_day(day.name) and day.name < oldest:
                    shutil.rmtree(day)
        except OSError as error:
            _log.warning("cannot remove old exports: '%s': %s", error.filename, error.strerror)

    def _write_missing(self) -> int:
        written: dict[str, float] = {}
        try:
            for call in self._ledger.to_export(_CALLS_PER_PASS):
                self._write(call)
                written[call.session] = time.time()
        finally:
            if written:
                self._ledger.exported(written)
        return len(written)

    def _write(self, call: SessionRow) -> None:
        config = self._config()
        rows = self._ledger.rows_of(call.session)
        export = document(call, rows, config.export.redaction, config.data_dir)
        folder = files.calls(config.data_dir) / utc_day(call.started_at)
        files.make(folder)
        target = folder / f"{file_name(call.session)}.json"
        files.write_atomically(target, f"{export.model_dump_json(indent=1)}\n".encode())


def document(call: SessionRow, rows: CallRows, redaction: Redaction, root: Path) -> CallExport:
    """Make the document of a call, with names of people as the operator wants them.

    Args:
        call: The call.
        rows: Everything that belongs to it.
        redaction: What becomes of names of people.
        root: The data directory, which has the key that names are hashed with.

    Raises:
        OSError: The key cannot be read or made.
    """
    key = _redaction_key(root) if redaction == "hash" else b""
    return call_export(call, rows.turns, rows.usage, rows.failures, redaction=redaction, key=key)


def _redaction_key(root: Path) -> bytes:
    """Read the secret of a data directory; it is made once, so that a name keeps its hash.

    Raises:
        OSError: It cannot be read or made.
    """
    path = files.redaction_key(root)
    with _MAKING_KEY:
        if not path.exists():
            files.write_atomically(path, f"{secrets.token_hex(32)}\n".encode(), mode=0o600)
    return bytes.fromhex(path.read_text(encoding="utf-8").strip())


def file_name(session: str) -> str:
    """Return the name of a call's file: its id, or a digest where the id is no file name."""
    if _PLAIN.fullmatch(session):
        return session
    return blake2b(session.encode(errors="replace"), digest_size=16).hexdigest()


def _is_day(name: str) -> bool:
    try:
        return datetime.strptime(name, "%Y-%m-%d").replace(tzinfo=UTC).strftime("%Y-%m-%d") == name
    except ValueError:
        return False
