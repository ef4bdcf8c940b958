"""Starts the real sidecar on a data directory, and asks it for its page."""

import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from livekit_exporter import contract, files

TEXT: Final = "text/plain;version=0.0.4"
OPENMETRICS: Final = "application/openmetrics-text;version=1.0.0"

_START_SECONDS: Final = 60.0
_END_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02


class Scraper:
    """Asks for a page over one connection, compressed, as Prometheus does."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=120)

    def get(self, accept: str = TEXT, encoding: str = "gzip") -> tuple[float, bytes]:
        """Seconds of one scrape, and its body as it came.

        Raises:
            RuntimeError: The answer is none.
        """
        begun = time.perf_counter()
        self._connection.request(
            "GET", "/metrics", headers={"Accept": accept, "Accept-Encoding": encoding}
        )
        response = self._connection.getresponse()
        body = response.read()
        spent = time.perf_counter() - begun
        if response.status != http.client.OK:
            raise RuntimeError(f"/metrics answered {response.status}")
        return spent, body

    def records(self) -> int:
        """Records that the sidecar took in, by the page that scrapes of `TEXT` do not share."""
        _, body = self.get(OPENMETRICS, "identity")
        pattern = rf"^{contract.RECORDS.full_name}{{[^}}]*}} (\S+)"
        return round(sum(map(float, re.findall(pattern, body.decode(), re.MULTILINE))))

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


class Sidecar:
    """A sidecar that runs."""

    def __init__(self, root: Path, process: "subprocess.Popen[bytes]") -> None:
        self.root = root
        self._process = process

    def peak_bytes(self) -> int:
        """Largest resident size so far.

        Read from the kernel while the process lives: what `getrusage` tells a parent of
        its children includes the parent's own size, from before the child's `exec`.
        """
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
        return int(found[1]) * 1024 if found else 0

    def address(self) -> str:
        """Address on which it listens.

        Raises:
            RuntimeError: It does not come up.
        """
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                said = json.loads(files.lock(self.root).read_text())
            except (OSError, ValueError):
                said = {}
            if said.get("pid") == self._process.pid and said.get("address"):
                return str(said["address"])
            time.sleep(_POLL_SECONDS)
        raise RuntimeError(f"the sidecar of '{self.root}' did not come up, see above")

    def wait_until_read(self, limit: float) -> None:
        """Wait until every journal is in the ledger and deleted.

        Raises:
            TimeoutError: `limit` seconds were not enough.
        """
        deadline = time.monotonic() + limit
        directory = files.journals(self.root)
        while any(directory.glob("*.jsonl")):
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise TimeoutError(f"journals of '{self.root}' were not read in {limit:.0f} s")
            time.sleep(_POLL_SECONDS)


@contextmanager
def serving(root: Path) -> Iterator[Sidecar]:
    """Run `livekit-exporter serve` on a data directory."""
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith("LIVEKIT_EXPORTER")
    }
    command = [
        *(sys.executable, "-m", "livekit_exporter", "serve", "--data-dir", str(root)),
        *("--listen-address", "127.0.0.1:0", "--log-level", "warning"),
    ]
    with subprocess.Popen(command, env=environ) as process:
        try:
            yield Sidecar(root, process)
        finally:
            process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
