"""The whole stack from the repository's own configuration, with short intervals."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from deploy.configuration import ROOT
from deploy.programs import found
from tests.sidecars import PATIENCE_SECONDS, wait_until
from tests.stacks import QUICK, RunStack

pytest.importorskip("livekit.agents", reason="needs livekit-agents: pip install -e '.[agent]'")
pytestmark = pytest.mark.skipif(
    not (found("prometheus") and found("alertmanager", "prometheus-alertmanager")),
    reason="needs prometheus and alertmanager; Debian: prometheus prometheus-alertmanager",
)

RULES = [
    rule
    for path in sorted((ROOT / "prometheus" / "rules").glob("*.yml"))
    for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
    for rule in group["rules"]
]


def test_everything_is_scraped_recorded_and_loaded(run_stack: RunStack) -> None:
    """All targets up, every recording rule with a result, every alert rule without an error."""
    with run_stack("--speed", "4") as stack:
        stack.wait_until_up()
        jobs = {"livekit-exporter", "livekit-worker"}
        # A scrape may fail on a busy machine; the next one does not.
        wait_until(
            lambda: {sample["metric"]["job"] for sample in stack.query("up == 1")} >= jobs,
            "both jobs are scraped",
        )
        for name in ("lk_agents_worker_load", "lk_agents_active_job_count"):
            wait_until(lambda name=name: bool(stack.query(name)), f"LiveKit's {name}")

        recorded = {rule["record"] for rule in RULES if "record" in rule}
        wait_until(
            lambda: all(stack.query(name) for name in recorded), "every recording rule produces"
        )
        loaded = [rule for group in stack.prometheus("rules")["groups"] for rule in group["rules"]]
        assert {rule["health"] for rule in loaded} == {"ok"}
        assert sorted(rule["name"] for rule in loaded) == sorted(
            rule.get("record") or rule["alert"] for rule in RULES
        )
        (alertmanager,) = stack.prometheus("alertmanagers")["activeAlertmanagers"]
        assert alertmanager["url"].startswith(stack.alertmanager_url)
        assert stack.prometheus("status/flags")["enable-feature"] == "exemplar-storage"


def test_alert_arrives_with_its_annotations_and_resolves(run_stack: RunStack) -> None:
    """A budget of a cent is spent at once; with a greater one the alert is over."""
    with run_stack("--speed", "4", exporter={"budget": {"day_usd": 0.01}}) as stack:

        def arrived(status: str) -> bool:
            return any(
                alert.status == status and alert.name == "LivekitAgentDayBudget"
                for alert in stack.received()
            )

        wait_until(lambda: arrived("firing"), "the budget alert arrives")
        alert = next(each for each in stack.received() if each.name == "LivekitAgentDayBudget")
        assert alert.labels["job"] == "livekit-exporter"
        assert set(alert.annotations) == {"summary", "description", "runbook_url", "dashboard_url"}
        assert "{{" not in "".join(alert.annotations.values())

        stack.reconfigure_exporter({"budget": {"day_usd": 1_000}})
        wait_until(lambda: arrived("resolved"), "the budget alert resolves")


def test_slow_language_model_pages_somebody_until_it_is_quick_again(run_stack: RunStack) -> None:
    """The page says how slow, for which agent, and where to look; then it resolves."""
    slow = ("--speed", "8", "--concurrency", "16", "--llm-delay", "30")
    pace = replace(QUICK, ranges={"5m": "40s"})
    with run_stack(*slow, pace=pace) as stack:

        def arrived(status: str) -> bool:
            return any(
                alert.status == status
                and alert.name == "LivekitAgentTurnLatencyHigh"
                and alert.severity == "page"
                for alert in stack.received()
            )

        wait_until(lambda: arrived("firing"), "the page arrives", seconds=180)
        alert = next(
            each for each in stack.received() if each.name == "LivekitAgentTurnLatencyHigh"
        )
        assert "{{" not in "".join(alert.annotations.values())
        assert alert.labels["agent"] in alert.annotations["description"]
        assert "livekit-latency" in alert.annotations["dashboard_url"]

        stack.restart_demo("--duration", "inf", "--speed", "8", "--concurrency", "2")
        wait_until(lambda: arrived("resolved"), "the page resolves", seconds=180)


def test_interrupted_stack_leaves_nothing_running(tmp_path: Path) -> None:
    """What `make stack` runs: it says where everything is, and Ctrl-C ends it all."""
    stack = subprocess.Popen(
        [
            *(sys.executable, "-m", "deploy.stack", "--ports", "auto"),
            *("--scrape-interval", "1s", "--data-dir", tmp_path),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )
    assert stack.stdout is not None
    said = []
    for line in stack.stdout:
        said.append(line)
        if line.startswith("Ctrl-C"):
            break
    children = _children(stack.pid)

    stack.send_signal(signal.SIGINT)
    rest, _ = stack.communicate(timeout=PATIENCE_SECONDS)

    assert stack.returncode == 0, "".join(said) + rest
    assert rest == ""
    assert len(children) >= 5
    assert not any(_alive(pid) for pid in children)
    assert any(line.startswith("Prometheus:") for line in said)
    assert (tmp_path / "log" / "exporter.log").exists()


def test_missing_program_is_named(tmp_path: Path) -> None:
    """One line that says what to install, and nothing is left running."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "deploy.stack", "--ports", "auto"),
            *("--data-dir", tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PATH": str(tmp_path)},
        timeout=PATIENCE_SECONDS,
    )

    assert result.returncode == 1
    assert result.stderr.startswith("stack: alertmanager is not installed; Debian: apt-get install")
    assert "Traceback" not in result.stderr


def _children(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(pid) for pid in children.read_text().split()]


def _alive(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True
