"""Prometheus's own tools accept the configuration, the rules and the rules' tests."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.prometheus import rule_files
from tests.prometheus.documented import queries

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="promtool is not installed (Debian: apt-get install prometheus)",
)

ALERTS = rule_files.alerts()
CHECKS = rule_files.checks()

each_test_file = pytest.mark.parametrize("path", rule_files.TEST_FILES, ids=lambda path: path.stem)
each_test_of_alerts = pytest.mark.parametrize(
    "path",
    [path for path in rule_files.TEST_FILES if any(check.file == path.name for check in CHECKS)],
    ids=lambda path: path.stem,
)


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool and return what it said."""
    return subprocess.run(
        ["promtool", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        # It lives for a second: collecting its garbage costs more than keeping it.
        env={**os.environ, "GOGC": "400"},
    )


def test_configuration_is_accepted() -> None:
    """`promtool check config` reads the rule files with it."""
    result = promtool("check", "config", rule_files.PROMETHEUS / "prometheus.yml")

    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(rule_files.RULE_FILES)} rule files found" in result.stdout


def test_rules_are_accepted() -> None:
    """No mistake, and no rule twice."""
    result = promtool("check", "rules", "--lint=all", "--lint-fatal", *rule_files.RULE_FILES)

    assert result.returncode == 0, result.stdout + result.stderr


def test_configuration_scrapes_the_jobs_that_the_rules_name() -> None:
    """The rules know the exporter by its job; LiveKit's worker is scraped beside it."""
    config = rule_files.document(rule_files.PROMETHEUS / "prometheus.yml")
    jobs = {job["job_name"] for job in config["scrape_configs"]}
    text = "".join(path.read_text("utf-8") for path in rule_files.RULE_FILES)

    assert jobs == {"livekit-exporter", "livekit-worker"}
    assert set(re.findall(r'\bjob="([^"]+)"', text)) == {"livekit-exporter"}


@each_test_file
def test_rules_behave_as_their_tests_say(path: Path) -> None:
    """`promtool test rules`."""
    result = promtool("test", "rules", path)

    assert result.returncode == 0, result.stdout + result.stderr


@each_test_file
def test_groups_are_evaluated_in_the_order_of_their_file(path: Path) -> None:
    """Left alone, promtool takes them in any order, and alerts see what was recorded a step ago."""
    said = rule_files.document(path)
    groups = [
        group["name"]
        for file in said["rule_files"]
        for group in rule_files.document((path.parent / file).resolve())["groups"]
    ]

    assert said["group_eval_order"] == groups


def broken(path: Path, change: Callable[[str], str], directory: Path) -> str:
    """What promtool says of a test whose rules were changed."""
    for source in rule_files.RULE_FILES:
        target = directory / "rules" / source.name
        target.parent.mkdir(exist_ok=True)
        target.write_text(change(source.read_text("utf-8")), "utf-8")
    copy = directory / "tests" / path.name
    copy.parent.mkdir()
    shutil.copy(path, copy)
    result = promtool("test", "rules", copy)
    return result.stdout + result.stderr


def got(said: str, *, thin: bool) -> set[tuple[str, str, str]]:
    """Name, severity and window of alerts that fired where a test expected none."""
    fired = set()
    for failure in re.split(r"\n\s+name: ", said)[1:]:
        if failure.startswith("thin traffic") != thin:
            continue
        for labels in re.findall(r"Labels:\{(.*)\}", failure.partition("got:[")[2]):
            named = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            fired.add((named["alertname"], named["severity"], named.get("window", "")))
    return fired


@each_test_of_alerts
def test_tests_notice_an_alert_that_does_not_wait(path: Path, tmp_path: Path) -> None:
    """Without `for`, every alert fires one step too early for its test."""
    tested = {key for check in CHECKS if check.file == path.name for key in check.fired}

    assert got(broken(path, rule_files.without_duration, tmp_path), thin=False) >= tested


@each_test_of_alerts
def test_tests_notice_an_alert_without_a_floor(path: Path, tmp_path: Path) -> None:
    """Without its floor, every ratio fires on thin traffic."""
    tested = {key for check in CHECKS if check.file == path.name for key in check.fired}
    ratios = {alert.key for alert in ALERTS if alert.is_ratio} & tested

    assert got(broken(path, rule_files.without_floors, tmp_path), thin=True) >= ratios


@pytest.mark.parametrize("document", ["promql.md", "runbooks.md"])
def test_documented_queries_parse(document: str, tmp_path: Path) -> None:
    """Every query that people copy is PromQL."""
    rules = [
        {"record": f"q:{number}", "expr": query.expr}
        for number, query in enumerate(queries(document))
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}), "utf-8")
    result = promtool("check", "rules", file)

    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(rules)} rules found" in result.stdout
