"""The demo as users start it: real job processes, a real sidecar."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from livekit_exporter.demo.fleet import Fleet
from livekit_exporter.demo.truth import bills, lines

DEMO = (sys.executable, "-m", "livekit_exporter", "demo", "--listen-address", "127.0.0.1:0")


def alive(pid: int) -> bool:
    """Whether there is a process of that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pids(data_dir: Path) -> list[int]:
    """Job processes that have begun a call."""
    truths = (data_dir / "truth").glob("*.jsonl")
    return [line["pid"] for truth in truths for line in lines(truth) if line["event"] == "opened"]


async def test_call_has_a_process_that_can_be_killed(tmp_path: Path) -> None:
    """A killed call is over, and the next one is not disturbed."""
    async with Fleet(tmp_path, seed=1, speed=8.0) as fleet:
        first, second = await fleet.start_call(0), await fleet.start_call(1)
        os.kill(first.pid, signal.SIGKILL)
        await asyncio.wait_for(first.done(), 30)

        await asyncio.wait_for(second.done(), 60)

    assert first.pid not in (second.pid, os.getpid())
    assert not alive(first.pid)
    assert list(bills(second.truth))


def test_demo_ends_with_agreement(tmp_path: Path) -> None:
    """Five calls meet every model; metrics and bills are the same to a billionth."""
    result = subprocess.run(
        (*DEMO, "--calls", "5", "--speed", "6", "--data-dir", tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert "5 of 5 done" in result.stdout
    assert "The metrics agree with what the providers reported." in result.stdout
    assert result.stderr == ""
    assert len(set(pids(tmp_path))) == 5


def test_demo_shows_what_calls_log_when_asked(tmp_path: Path) -> None:
    """Lines come out of the job processes with the room of their call, the block among them."""
    result = subprocess.run(
        (*DEMO, "--calls", "1", "--speed", "6", "--data-dir", tmp_path, "--log"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"^demo-\w+-0 turn 1: \d\.\d\d s, \$0\.", result.stdout, re.MULTILINE)
    assert re.search(r"^demo-\w+-0 call \w+: \d turns", result.stdout, re.MULTILINE)
    assert result.stderr == ""


def test_interrupted_demo_hangs_up_and_agrees(tmp_path: Path) -> None:
    """Ctrl-C is a normal end: no process stays, and no record is lost."""
    demo = subprocess.Popen(
        (*DEMO, "--calls", "50", "--concurrency", "3", "--data-dir", tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 60
    while len(pids(tmp_path)) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(2)

    demo.send_signal(signal.SIGINT)
    output, _ = demo.communicate(timeout=60)

    assert demo.returncode == 0, output
    assert "The metrics agree with what the providers reported." in output
    assert not any(alive(pid) for pid in pids(tmp_path))


def test_demo_says_why_its_sidecar_does_not_start(tmp_path: Path) -> None:
    """One line, with the sidecar's own reason."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = subprocess.run(
            (*DEMO[:-1], f"127.0.0.1:{port}", "--calls", "1", "--data-dir", tmp_path),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert result.returncode == 1
    assert result.stderr.startswith("livekit-exporter: the sidecar did not start: ")
    assert f"127.0.0.1:{port}" in result.stderr
    assert "Traceback" not in result.stderr
