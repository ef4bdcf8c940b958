"""A sidecar of one version: gives it journals, and collects all that it makes of them."""

import fcntl
import json
import os
import re
import sqlite3
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from bench.same import journals
from bench.same.version import AT, Version

_PATIENCE_SECONDS: Final = 120.0
_CALLS: Final = 100
_GROWING: Final = 4
_LATER_SECONDS: Final = 600.0
"""Time between the two runs: what was put off is due in the second."""

VOLATILE_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "instances": ("commits",),  # how often the loop happened to commit
    "usage": ("id",),  # journals are taken in the order that the file system lists them
    "failures": ("id",),
}
VOLATILE_FAMILIES: Final = (
    "livekit_exporter_ledger_commit_seconds",
    "livekit_exporter_ledger_bytes",  # of SQLite's pages, which follow the number of commits
    "process_",
    "python_",
)
_UPTIME: Final = re.compile(rb"(?<=<dt>Running for</dt><dd>)[^<]*")

_CONFIG: Final = """\
timezone: Europe/Berlin
metrics:
  labels: [tenant]
  label_values_of: {{tenant: 3}}
prices:
  file: {prices}
budget: {{day_usd: 2.5, month_usd: 40}}
platform:
  legs:
    livekit/agent-session: all
    twilio/us-inbound-local: channel=phone
export: {{redaction: {redaction}, keep_days: 300}}
webhook:
  url: http://127.0.0.1:{port}/hook
  secret: whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD
  redaction: hash
"""

OWN_PRICES: Final = """\
schema: 1
currency: USD
entries:
  - id: openai/gpt-4.1-mini
    prices:
      - {per_1m: {input: 0.5, cached_input: 0.2, output: 2}, source: ours, checked: 2026-11-01}
"""

_PAGES: Final = (
    "/",
    "/-/ready",
    "/-/healthy",
    "/api/v1/spend",
    "/api/v1/spend?user=user-1",
    "/api/v1/spend?label=tenant=acme&agent=support",
    "/api/v1/spend?exclude_session=call0100",
    "/api/v1/spend?nobody=1",
    "/calls/call0000",
    "/calls/call0003",
    "/calls/call0004",
    "/calls/call0009",
    "/calls/call0035",
    "/calls/call0100",
    "/calls/nobody",
)


class _Receiver:
    """A webhook's receiver: keeps what comes."""

    def __init__(self) -> None:
        self.received: dict[str, bytes] = {}
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                """Take a delivery."""
                body = self.rfile.read(int(self.headers["content-length"]))
                heads = sorted(
                    f"{name.lower()}: {value}\n".encode()
                    for name, value in self.headers.items()
                    if name.lower() != "host"
                )
                received[self.headers["webhook-id"]] = b"".join(heads) + b"\n" + body
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])

    @contextmanager
    def up(self) -> Iterator[None]:
        """Listen for the length of the block."""
        serving = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield
        finally:
            self._server.shutdown()
            serving.join()
            self._server.server_close()


class _Running:
    """A sidecar that runs."""

    def __init__(self, version: Version, data_dir: Path, config: Path, at: float = AT) -> None:
        self._version = version
        self._data_dir = data_dir
        self._log = version.place / "sidecar.log"
        self.process = version.serve(data_dir, config, self._log, at)
        self.url = self._address()

    def _address(self) -> str:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            found = re.search(r"serves (http://\S+)/metrics", self._log.read_text())
            if found is not None:
                return found[1]
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self._version.name}: {self._log.read_text()}")
            time.sleep(0.05)

    def get(self, path: str, accept: str = "text/plain") -> bytes:
        """Status and body."""
        request = urllib.request.Request(  # noqa: S310 - our own http
            self.url + urllib.parse.quote(path, "/?=&:"), headers={"Accept": accept}
        )
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS) as response:  # noqa: S310
                return self._version.neutral(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return f"HTTP {error.code}\n".encode() + self._version.neutral(error.read())

    def settled(
        self, left: int, exported: int, receiver: _Receiver, delivered: int, pending: int = 0
    ) -> None:
        """Wait until all is read, exported and delivered.

        Args:
            left: Journals that somebody still writes.
            exported: Files of calls.
            receiver: Where deliveries go.
            delivered: How many of them are to come.
            pending: Deliveries that stay, because the clock does not come to their time.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            names = list((self._data_dir / "journal").glob("*.jsonl"))
            written = list((self._data_dir / "calls").glob("*/*.json"))
            if (
                len(names) == left
                and len(written) == exported
                and len(receiver.received) >= delivered
                and f"livekit_exporter_webhook_pending {pending}.0" in self.get("/metrics").decode()
            ):
                time.sleep(1.0)  # what follows from the last delivery is committed a pass later
                return
            time.sleep(0.1)
        raise RuntimeError(
            f"{self._version.name}: {len(names)} journals, {len(written)} exports and"
            f" {len(receiver.received)} deliveries after {_PATIENCE_SECONDS:.0f} s, expected"
            f" {left}, {exported} and {delivered}: {self._log.read_text()[-2000:]}"
        )

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self.process.terminate()
        self.process.wait(_PATIENCE_SECONDS)


def _page(text: bytes) -> bytes:
    """A page of metrics without the families that depend on timing."""
    return b"".join(
        line
        for line in text.splitlines(keepends=True)
        if not line.removeprefix(b"# HELP ")
        .removeprefix(b"# TYPE ")
        .removeprefix(b"# UNIT ")
        .decode()
        .startswith(VOLATILE_FAMILIES)
    )


def _tables(file: Path) -> Mapping[str, bytes]:
    """Every table of a ledger as text, rows sorted."""
    found = {}
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as ledger:
        ledger.row_factory = sqlite3.Row
        names = [
            row[0] for row in ledger.execute("select name from sqlite_master where type='table'")
        ]
        for name in sorted(names):
            left_out = VOLATILE_COLUMNS.get(name, ())
            rows = []
            for row in ledger.execute(f'select * from "{name}"'):  # noqa: S608 - our own ledger
                values = {key: row[key] for key in row.keys() if key not in left_out}  # noqa: SIM118
                if name == "series" and str(values["family"]).startswith(VOLATILE_FAMILIES):
                    continue
                rows.append(json.dumps(values, sort_keys=True))
            found[f"ledger/{name}"] = "".join(f"{row}\n" for row in sorted(rows)).encode()
    return found


def _write(folder: Path, name: str, content: bytes) -> int:
    """A journal as its writer holds it: locked until the descriptor is closed."""
    folder.mkdir(mode=0o700, exist_ok=True)
    hidden = folder / f".{name}.tmp"
    descriptor = os.open(hidden, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.write(descriptor, content)
    hidden.rename(folder / f"{name}.jsonl")
    return descriptor


def _pages(running: _Running, when: str) -> Iterator[tuple[str, bytes]]:
    for path in _PAGES:
        yield f"{when}{path}", _UPTIME.sub(b"(some time)", running.get(path))
    for form, accept in (
        ("text", "text/plain"),
        ("openmetrics", "application/openmetrics-text; version=1.0.0"),
    ):
        yield f"{when}/metrics ({form})", _page(running.get("/metrics", accept))


def served(version: Version, data_dir: Path, config: Path) -> Iterator[tuple[str, bytes]]:
    """Everything that a sidecar writes and shows, by name.

    Args:
        version: Whose sidecar.
        data_dir: An empty directory, which holds the ledger afterwards.
        config: File to write its configuration to, which commands then read.
    """
    folder = data_dir / "journal"
    data_dir.mkdir(mode=0o700)
    prices = version.place / "own-prices.yaml"
    prices.write_text(OWN_PRICES)
    receiver = _Receiver()
    config.write_text(_CONFIG.format(port=receiver.port, redaction="none", prices=prices))
    for name, content in journals.finished(_CALLS):
        os.close(_write(folder, name, content))
    open_journals = [
        (_write(folder, name, first), rest)
        for name, first, rest in journals.growing(_CALLS, _GROWING)
    ]
    with receiver.up():
        running = _Running(version, data_dir, config)
        try:
            running.settled(_GROWING, _CALLS, receiver, _CALLS)
            yield from _pages(running, "during calls: ")
            for descriptor, rest in open_journals:
                os.write(descriptor, rest)
                os.close(descriptor)
            calls = _CALLS + _GROWING
            running.settled(0, calls, receiver, calls)
            name, content = journals.late()
            os.close(_write(folder, name, content))
            late = len(journals.LATE)
            running.settled(0, calls, receiver, calls, pending=late)
            yield from _pages(running, "after calls: ")
            running.stop()
            running = _Running(version, data_dir, config, AT + _LATER_SECONDS)
            running.settled(0, calls, receiver, calls + late)
            yield from _pages(running, "after a restart: ")
        finally:
            running.stop()
    yield from _tables(data_dir / "ledger.db").items()
    yield from _files(data_dir)
    for delivery, received in sorted(receiver.received.items()):
        yield f"webhook/{delivery}", version.neutral(received)


def _files(data_dir: Path) -> Iterator[tuple[str, bytes]]:
    calls: Sequence[Path] = sorted((data_dir / "calls").rglob("*.json"))
    for path in calls:
        yield f"files/{path.relative_to(data_dir)}", path.read_bytes()
    for name in ("prices.json", "calibration.json", "instance"):
        path = data_dir / name
        yield f"files/{name}", path.read_bytes() if path.exists() else b"(missing)"
