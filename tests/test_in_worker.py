"""The sidecar as a worker's child: started, kept alive, ended, never in the way."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import pytest

from livekit_exporter import files, serve_in_worker
from livekit_exporter.agent.in_worker import WorkerSidecar
from livekit_exporter.sidecar.lock import HeldError, Lock

PATIENCE_SECONDS = 60.0

# What `serve` promises its parent, and nothing else: hold the lock, leave a line
# with the pid, end with standard input or SIGTERM.
STAND_IN = """
import fcntl, os, signal, sys
lock, log = sys.argv[1:3]
with open(log, "a") as file:
    file.write(f"started {os.getpid()}\\n")
held = open(lock, "w")
try:
    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit(1)
def end(*_):
    with open(log, "a") as file:
        file.write(f"ended {os.getpid()}\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
with open(log, "a") as file:
    file.write(f"serving {os.getpid()}\\n")
sys.stdin.read()
end()
"""


class Worker:
    """LiveKit's AgentServer as far as `serve_in_worker` knows it."""

    def __init__(self) -> None:
        self.callbacks: dict[str, list[Callable[[], None]]] = {}

    def on(self, event: str, callback: Callable[[], None]) -> None:
        """Register a callback."""
        self.callbacks.setdefault(event, []).append(callback)

    def emit(self, event: str) -> None:
        """Call what was registered."""
        for callback in self.callbacks.get(event, []):
            callback()


class Scene:
    """One data directory with the stand-in program."""

    def __init__(self, root: Path) -> None:
        self.lock = root / "sidecar.lock"
        self.log = root / "log"
        self.log.touch()
        self.program = root / "stand_in.py"
        self.program.write_text(STAND_IN)
        self.sidecars: list[WorkerSidecar] = []

    @property
    def command(self) -> list[str]:
        """The stand-in, on this directory."""
        return [sys.executable, str(self.program), str(self.lock), str(self.log)]

    def sidecar(self, command: list[str] | None = None) -> WorkerSidecar:
        """Make a sidecar that does not wait long."""
        made = WorkerSidecar(
            command or self.command, self.lock, first_pause_seconds=0.05, turn_seconds=0.05
        )
        self.sidecars.append(made)
        return made

    def pids(self, what: str) -> list[int]:
        """Process ids that the stand-ins wrote with a word."""
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return [int(pid) for word, pid in lines if word == what]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A data directory; whatever was started in it is ended."""
    made = Scene(tmp_path)
    yield made
    for sidecar in made.sidecars:
        sidecar.stop()


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait, generously, for another process."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_sidecar_starts_once(scene: Scene) -> None:
    """A worker that starts twice in one process still has one sidecar."""
    sidecar = scene.sidecar()

    sidecar.start()
    sidecar.start()
    wait_until(lambda: scene.pids("serving") != [])

    assert scene.pids("serving") == [sidecar.pid]


def test_sidecar_that_dies_is_started_again(scene: Scene) -> None:
    """Killed, as by the system when memory is short."""
    sidecar = scene.sidecar()
    sidecar.start()
    wait_until(lambda: len(scene.pids("serving")) == 1)

    os.kill(scene.pids("serving")[0], signal.SIGKILL)
    wait_until(lambda: len(scene.pids("serving")) == 2)

    assert scene.pids("serving")[1] == sidecar.pid


def test_stop_asks_waits_and_does_not_restart(scene: Scene) -> None:
    """The sidecar gets SIGTERM and the time to take in the journals."""
    sidecar = scene.sidecar()
    sidecar.start()
    wait_until(lambda: scene.pids("serving") != [])

    sidecar.stop()

    assert scene.pids("ended") == scene.pids("serving")
    assert sidecar.pid is None


def test_stopped_sidecar_can_start_again(scene: Scene) -> None:
    """A program may run one worker after another."""
    sidecar = scene.sidecar()
    sidecar.start()
    wait_until(lambda: len(scene.pids("serving")) == 1)
    sidecar.stop()

    sidecar.start()
    wait_until(lambda: len(scene.pids("serving")) == 2)

    assert sidecar.pid == scene.pids("serving")[1]


def test_second_worker_stands_by_and_takes_over(scene: Scene) -> None:
    """One sidecar serves a data directory; the next starts when it ends, and not before."""
    first, second = scene.sidecar(), scene.sidecar()
    first.start()
    wait_until(lambda: len(scene.pids("serving")) == 1)

    second.start()
    time.sleep(0.5)
    started_meanwhile = len(scene.pids("started"))
    first.stop()
    wait_until(lambda: len(scene.pids("serving")) == 2)

    assert started_meanwhile == 1
    assert scene.pids("serving")[1] == second.pid


def test_standing_by_is_said_once(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """A line per look would fill the log of every other worker."""
    caplog.set_level("INFO", "livekit_exporter")
    first, second = scene.sidecar(), scene.sidecar()
    first.start()
    wait_until(lambda: len(scene.pids("serving")) == 1)

    second.start()
    wait_until(lambda: "standing by" in caplog.text)
    time.sleep(0.3)

    assert caplog.text.count("standing by") == 1


def test_sidecar_that_cannot_start_is_tried_ever_less_often(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong configuration must not keep a processor busy."""
    sidecar = scene.sidecar([sys.executable, "-c", "raise SystemExit(1)"])

    sidecar.start()
    wait_until(lambda: caplog.text.count("sidecar ended code=1") >= 3)
    sidecar.stop()

    assert "restart_in_seconds=0.05" in caplog.text
    assert "restart_in_seconds=0.1" in caplog.text
    assert "restart_in_seconds=0.2" in caplog.text


def test_missing_program_is_no_exception(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """The worker has calls to place, whatever happened to the installation."""
    sidecar = scene.sidecar(["/nonexistent/python"])

    sidecar.start()
    wait_until(lambda: "cannot start the sidecar" in caplog.text)
    sidecar.stop()

    assert sidecar.pid is None


@pytest.mark.parametrize("how", ["killed", "exits"])
def test_sidecar_ends_with_its_worker(scene: Scene, how: str) -> None:
    """Also when the worker had no time to say goodbye."""
    worker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(f"""
                import sys
                from pathlib import Path
                from livekit_exporter.agent.in_worker import WorkerSidecar
                WorkerSidecar({scene.command!r}, Path({str(scene.lock)!r})).start()
                sys.stdin.readline()
            """),
        ],
        stdin=subprocess.PIPE,
    )
    assert worker.stdin is not None
    wait_until(lambda: scene.pids("serving") != [])

    if how == "killed":
        worker.kill()
    worker.stdin.close()
    worker.wait()
    wait_until(lambda: scene.pids("ended") != [])

    assert scene.pids("ended") == scene.pids("serving")


def test_interrupt_from_the_terminal_does_not_reach_the_sidecar(scene: Scene) -> None:
    """Ctrl-C goes to a whole process group, and the worker still has calls to end."""
    sidecar = scene.sidecar()
    sidecar.start()
    wait_until(lambda: scene.pids("serving") != [])
    assert sidecar.pid is not None

    assert os.getpgid(sidecar.pid) != os.getpgid(0)


def test_nothing_starts_before_the_worker(tmp_path: Path) -> None:
    """Job processes import the main module again; there the worker never starts."""
    worker = Worker()

    sidecar = serve_in_worker(worker, data_dir=tmp_path)

    assert list(worker.callbacks) == ["worker_started"]
    assert sidecar.pid is None
    assert list(tmp_path.iterdir()) == []


def test_jobs_write_where_the_sidecar_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A data directory given here becomes the default of `attach` in the worker's jobs."""
    monkeypatch.setenv(files.ENVIRONMENT, "/somewhere/else")

    serve_in_worker(Worker(), data_dir=tmp_path)

    assert files.resolve() == tmp_path


def test_failing_start_does_not_reach_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Out of threads: said in the log, and calls go on."""
    monkeypatch.setenv(files.ENVIRONMENT, str(tmp_path))
    worker = Worker()
    sidecar = serve_in_worker(worker)

    def no_thread() -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(sidecar, "start", no_thread)
    worker.emit("worker_started")

    assert "calls go on without metrics" in caplog.text


def test_real_sidecar_serves_and_ends_with_its_worker(tmp_path: Path) -> None:
    """The worker's own command line, on a free port, until the worker is killed."""
    lock = files.lock(tmp_path)
    code = """
        import sys
        from livekit_exporter import serve_in_worker
        class Server:
            def on(self, event, callback):
                self.started = callback
        server = Server()
        serve_in_worker(server, data_dir=sys.argv[1], listen_address="127.0.0.1:0")
        server.started()
        sys.stdin.readline()
    """
    worker = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], stdin=subprocess.PIPE
    )
    assert worker.stdin is not None

    def holder() -> dict[str, object]:
        with suppress(OSError, ValueError):
            said = json.loads(lock.read_text())
            return said if isinstance(said, dict) else {}
        return {}

    def free() -> bool:
        with suppress(HeldError):
            Lock(tmp_path).close()
            return True
        return False

    wait_until(lambda: bool(holder().get("address")))
    url = f"{holder()['address']}/-/healthy"
    with urlopen(url, timeout=PATIENCE_SECONDS) as response:  # noqa: S310 - our own sidecar
        status = response.status
    worker.kill()
    worker.stdin.close()
    worker.wait()

    assert status == 200
    wait_until(free)
