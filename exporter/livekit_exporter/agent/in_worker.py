"""The sidecar as a child of a LiveKit worker, for people without a second container.

The child is a process of its own, because the worker's event loop has calls to
place and because the worker may be killed: the child learns of that from its
standard input, which only the worker holds open, takes in what is left in the
journals and ends.
"""

import atexit
import fcntl
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, Protocol

from livekit_exporter import files

_log = logging.getLogger("livekit_exporter")

_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0
_SETTLED_SECONDS: Final = 60.0
"""A sidecar that ran for so long was well; its next end is the first of a new series."""
_TURN_SECONDS: Final = 5.0
"""Pause between two looks at a data directory that another sidecar holds."""
_GRACE_SECONDS: Final = 10.0
"""What a sidecar gets to take in the journals after it was asked to end."""


class _Server(Protocol):
    # The one event: LiveKit's own type names all of its events, and takes no other text.
    def on(self, event: Literal["worker_started"], callback: Callable[[], None]) -> object: ...


class WorkerSidecar:
    """A sidecar process that is kept alive as long as this process lives.

    Args:
        command: Program and arguments; the program must end when its standard input does.
        lock: File that a running sidecar holds locked.  While another process holds it,
            nothing is started.
        first_pause_seconds: Pause before the first restart; each further one is twice as long.
        turn_seconds: Pause between two looks at a lock that is held.
    """

    def __init__(
        self,
        command: Sequence[str],
        lock: Path,
        *,
        first_pause_seconds: float = _FIRST_PAUSE_SECONDS,
        turn_seconds: float = _TURN_SECONDS,
    ) -> None:
        self._command = tuple(command)
        self._lock = lock
        self._first_pause = first_pause_seconds
        self._turn = turn_seconds
        self._guard = threading.Lock()
        self._ending = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the running sidecar, `None` while there is none."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def start(self) -> None:
        """Start the sidecar and watch over it; a second call changes nothing."""
        with self._guard:
            if self._thread is not None and self._thread.is_alive():
                return
            self._ending.clear()
            self._thread = threading.Thread(
                target=self._supervise, name="livekit-exporter-sidecar", daemon=True
            )
            self._thread.start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """Ask the sidecar to end, wait until it took in the journals, and leave it ended."""
        atexit.unregister(self.stop)
        with self._guard:
            self._ending.set()
            child, thread = self._child, self._thread
        if child is not None:
            self._end(child)
        if thread is not None and thread is not threading.current_thread():
            thread.join(_GRACE_SECONDS)

    @staticmethod
    def _end(child: subprocess.Popen[bytes]) -> None:
        child.terminate()
        try:
            child.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            _log.warning("livekit-exporter: sidecar does not end, killing it pid=%d", child.pid)
            child.kill()
            child.wait()
        finally:
            if child.stdin is not None:
                child.stdin.close()

    def _supervise(self) -> None:
        pause = self._first_pause
        while self._wait_for_turn():
            began = time.monotonic()
            try:
                child = self._spawn()
            except OSError as error:
                _log.warning("livekit-exporter: cannot start the sidecar error=%r", str(error))
            else:
                if child is None:
                    return
                code = child.wait()
                if self._ending.is_set():
                    return
                if child.stdin is not None:
                    child.stdin.close()
                if _held(self._lock):
                    # It lost a race for the data directory; the next turn reports that.
                    continue
                if time.monotonic() - began > _SETTLED_SECONDS:
                    pause = self._first_pause
                _log.warning(
                    "livekit-exporter: sidecar ended code=%d restart_in_seconds=%g", code, pause
                )
            if self._ending.wait(pause):
                return
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        with self._guard:
            if self._ending.is_set():
                return None
            # In a session of its own, so that Ctrl-C reaches the worker alone: it
            # still has calls to bring to their end, and their records are wanted.
            self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                self._command, stdin=subprocess.PIPE, start_new_session=True
            )
            return self._child

    def _wait_for_turn(self) -> bool:
        """Wait while another sidecar holds the data directory; false when the end came first."""
        if not _held(self._lock):
            return not self._ending.is_set()
        _log.info(
            "livekit-exporter: another sidecar serves this data directory, standing by lock=%s",
            self._lock,
        )
        while _held(self._lock):
            if self._ending.wait(self._turn):
                return False
        return True


def _held(lock: Path) -> bool:
    """True while a process holds this file locked; False where it cannot be read."""
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def serve_in_worker(
    server: _Server,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    listen_address: str | None = None,
    config: str | os.PathLike[str] | None = None,
) -> WorkerSidecar:
    """Serve `/metrics` from a LiveKit worker, by a sidecar process that lives as long as it.

    Call it where the server is made.  Job processes import that module again; there
    it only registers a callback that never comes.  Of several workers on one data
    directory one serves, and another takes over when it ends.

    Args:
        server: LiveKit's `AgentServer`.
        data_dir: Data directory, as for `attach`; if given, it becomes the default of
            `attach` in this worker's jobs as well.  A `data_dir` in the configuration
            file is not used, because agents do not read that file.
        listen_address: `host:port`, by default `127.0.0.1:7889`.
        config: Configuration file of the sidecar.

    Returns:
        The sidecar.  Only a program that outlives its worker needs to `stop` it.
    """
    root = files.resolve(data_dir)
    if data_dir is not None:
        os.environ[files.ENVIRONMENT] = str(root)
    command = [sys.executable, "-m", "livekit_exporter", "serve"]
    command += ["--data-dir", str(root), "--parent-fd", "0"]
    if listen_address is not None:
        command += ["--listen-address", listen_address]
    if config is not None:
        command += ["--config", str(Path(config).absolute())]
    sidecar = WorkerSidecar(command, files.lock(root))

    def started() -> None:
        try:
            sidecar.start()
        except Exception:  # noqa: BLE001
            # Whatever it is, the worker has calls to place: say so and leave it alone.
            _log.exception(
                "livekit-exporter: cannot start the sidecar, calls go on without metrics"
            )

    server.on("worker_started", started)
    return sidecar
