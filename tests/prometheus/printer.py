"""The webhook printer as a process, for tests that send it something."""

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.prometheus.rule_files import PROMETHEUS

_PATIENCE_SECONDS: Final = 30.0


class Printer:
    """`webhook_printer.py` on a free port; what it prints goes to a file.

    Args:
        output: The file.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        with output.open("wb") as stdout:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    str(PROMETHEUS / "webhook_printer.py"),
                    "--listen-address",
                    "127.0.0.1:0",
                ],
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert self._process.stderr is not None
        self.url = self._process.stderr.readline().rpartition(" ")[2].strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate(timeout=_PATIENCE_SECONDS)

    @property
    def printed(self) -> str:
        """What it has printed."""
        return self._output.read_text("utf-8")

    def post(self, body: bytes) -> tuple[int, str]:
        """Send something; status and answer."""
        request = Request(self.url, data=body, method="POST")  # noqa: S310 - our own http
        try:
            with urlopen(request, timeout=_PATIENCE_SECONDS) as response:  # noqa: S310 - the same
                return int(response.status), response.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()
