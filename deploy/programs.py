"""Child processes: started with a log of their own, waited for, and ended."""

import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.error import URLError

START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.1
_ANSWER_SECONDS: Final = 10.0
_LAST_LINES: Final = 10


class StackError(Exception):
    """Something does not run; the message says what, and why as far as it is known."""


def found(*names: str) -> str | None:
    """Path of the first of these programs that is installed."""
    return next((path for name in names if (path := shutil.which(name))), None)


def _inherited() -> dict[str, str]:
    """The environment without settings of a developer's own exporter, worker or Grafana."""
    theirs = ("LIVEKIT_", "PROMETHEUS_", "GF_")
    return {name: value for name, value in os.environ.items() if not name.startswith(theirs)}


def answers(url: str) -> bool:
    """True if a page answers with success."""
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_SECONDS):  # noqa: S310 - our own http
            return True
    except (URLError, OSError):
        return False


class Program:
    """A child process in a session of its own, so that Ctrl-C reaches the stack alone.

    Args:
        name: What people call it.
        command: Program and arguments.
        log: File for what it prints; an earlier one goes on.
        environ: Variables beside those of this process.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the stack's own programs
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**_inherited(), **(environ or {})},
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise an error unless it runs.

        Raises:
            StackError: It has ended.
        """
        status = self._process.poll()
        if status is not None:
            raise StackError(f"{self.name} ended with status {status}: {self._last_words()}")

    def wait_until_answers(self, url: str) -> None:
        """Wait until one of its pages answers with success.

        Raises:
            StackError: It has ended, or does not answer in time.
        """
        deadline = time.monotonic() + START_SECONDS
        while not answers(url):
            self.check()
            if time.monotonic() > deadline:
                raise StackError(
                    f"{self.name} does not answer on {url} after {START_SECONDS:.0f} s:"
                    f" {self._last_words()}"
                )
            time.sleep(_POLL_SECONDS)

    def reload(self) -> None:
        """Make it read its configuration again."""
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """Ask it to end, and end it where it does not."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()

    def _last_words(self) -> str:
        lines = self.log.read_text("utf-8", errors="replace").splitlines()[-_LAST_LINES:]
        return "\n".join((f"see {self.log}", *lines))
