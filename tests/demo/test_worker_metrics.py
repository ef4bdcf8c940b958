"""The demo as the agents of another's sidecar, with LiveKit's own worker metrics."""

import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from deploy.ports import Ports
from tests.conftest import Serve
from tests.sidecars import parse, total, wait_until

DEMO = (sys.executable, "-m", "livekit_exporter", "demo")


def test_calls_are_held_for_another_sidecar(tmp_path: Path, data_dir: Path, serve: Serve) -> None:
    """The sidecar that runs already counts them, and the worker's own page shows the jobs."""
    sidecar = serve()
    sidecar.wait_ready()
    with Ports() as ports, (tmp_path / "demo.log").open("w") as log:
        address = f"127.0.0.1:{ports.hold('demo')}"
        arguments = ("--no-sidecar", "--data-dir", str(data_dir), "--calls", "3", "--speed", "4")
        demo = subprocess.Popen(
            [*DEMO, *arguments, "--worker-metrics-address", address], stdout=log, stderr=log
        )

        def jobs_run() -> bool:
            assert demo.poll() is None, (tmp_path / "demo.log").read_text()
            try:
                with urlopen(f"http://{address}/metrics", timeout=10) as page:
                    samples = parse(page.read().decode())
            except OSError:
                return False
            return total(samples, "lk_agents_active_job_count") > 0 and (
                "lk_agents_worker_load" in {name for name, _ in samples}
            )

        wait_until(jobs_run, "the worker's page shows a job")
        assert demo.wait(120) == 0, (tmp_path / "demo.log").read_text()

    closed = "livekit_agent_sessions_closed_total"
    wait_until(lambda: total(sidecar.samples(), closed) == 3, "all calls are closed")
    assert not list((data_dir / "truth").iterdir()), "nobody compares, so nothing is kept"


def test_delay_of_language_models_is_what_callers_wait_for(tmp_path: Path) -> None:
    """Simulated seconds: at six times the speed, a sixth of them."""
    arguments = ("--listen-address", "127.0.0.1:0", "--data-dir", str(tmp_path), "--calls", "1")
    result = subprocess.run(
        [*DEMO, *arguments, "--speed", "6", "--llm-delay", "12"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    median = float(result.stdout.partition("turn latency p50 ")[2].partition(" ")[0])
    assert median > 1.5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--worker-metrics-address", "127.0.0.1:0"), "port 0 is any port, state one"),
        (("--worker-metrics-address", "7890"), "the port is missing, write 'host:port'"),
        (("--no-sidecar", "--listen-address", "127.0.0.1:0"), "leave it out with --no-sidecar"),
    ],
)
def test_impossible_options_are_refused(arguments: tuple[str, ...], said: str) -> None:
    result = subprocess.run([*DEMO, *arguments], capture_output=True, text=True, check=False)

    assert result.returncode == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr
