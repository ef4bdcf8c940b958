"""The rule files keep to the contract and to the conventions, and their tests show all of it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from livekit_exporter import contract
from tests.prometheus import rule_files
from tests.prometheus.rule_files import Alert, problems, unknown_names, untested

ALERTS = rule_files.alerts()
RECORDED = rule_files.recorded()
CHECKS = rule_files.checks()
TESTED = set(re.findall(r"[\w:]+", rule_files.tested_expressions()))
RUNBOOKS = rule_files.anchors(rule_files.RUNBOOKS.read_text("utf-8"))
DASHBOARDS = {
    json.loads(path.read_text("utf-8"))["uid"]
    for path in (rule_files.ROOT / "grafana" / "dashboards").rglob("*.json")
}
CONSUMERS = [
    *rule_files.RULE_FILES,
    *rule_files.TEST_FILES,
    rule_files.RUNBOOKS,
    rule_files.ROOT / "docs" / "promql.md",
]


@pytest.mark.parametrize("path", CONSUMERS, ids=lambda path: path.name)
def test_every_metric_name_exists(path: Path) -> None:
    """A name is a series of the contract, or one that a rule records."""
    assert not unknown_names(path.read_text("utf-8"), RECORDED)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: "-".join(filter(None, alert.key)))
def test_alert_keeps_to_the_conventions(alert: Alert) -> None:
    """Duration, severity, wording, links, floor, bounds: see `problems`."""
    assert not problems(alert, RUNBOOKS, DASHBOARDS)


def test_files_and_rules_were_found() -> None:
    """A glob that matches nothing would pass everything above."""
    assert len(rule_files.RULE_FILES) >= 4
    assert len(rule_files.TEST_FILES) >= 6
    assert len(ALERTS) >= 30
    assert len(RECORDED) >= 30
    assert sum(alert.is_ratio for alert in ALERTS) >= 15


def test_rules_of_one_name_are_told_apart_by_their_labels() -> None:
    """Two rules with the same labels would resolve each other's alerts."""
    assert len({alert.key for alert in ALERTS}) == len(ALERTS)


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_name_says_level_metric_and_operations(name: str) -> None:
    """`level:metric:operations`, and the level keeps the job."""
    assert re.fullmatch(r"job(_[a-z]+)*:livekit_agent_[a-z0-9_]+:[a-z]+[a-z0-9_]*", name)
    assert "_total" not in name


@pytest.mark.parametrize("expr", [*RECORDED.values(), *(alert.expr for alert in ALERTS)])
def test_bounds_are_written_as_the_page_writes_them(expr: str) -> None:
    """`le="1"` would match nothing: the exporter writes `1.0`."""
    assert not rule_files.strange_bounds(expr)


def test_every_runbook_section_is_about_an_alert() -> None:
    """A section whose alert is gone would lead astray."""
    assert sorted(RUNBOOKS) == sorted({alert.name.lower() for alert in ALERTS})


def test_runbooks_answer_the_same_questions() -> None:
    """Who notices, what to look at, what usually causes it, what to do; with a query each."""
    sections = rule_files.RUNBOOKS.read_text("utf-8").split("\n## ")[1:]

    assert len(sections) == len(RUNBOOKS)
    for section in sections:
        places = [section.find(f"**{part}") for part in ("Look at**", "Usual causes**", "Do**")]
        assert 0 < places[0] < places[1] < places[2], section[:40]
        assert re.search(r"\n\n\*\*(Callers|Payers|Nobody|Everybody)\b", section), section[:40]
        assert "```promql" in section, section[:40]


def test_promtool_tests_show_everything_about_every_alert() -> None:
    """It fires with its annotations, not one step earlier, and a ratio not on thin traffic."""
    assert not untested(ALERTS, CHECKS)


@pytest.mark.parametrize("name", RECORDED)
def test_every_recorded_series_has_an_expected_value(name: str) -> None:
    """A promtool test evaluates the recording rule and knows the result."""
    assert name in TESTED


# That the checks above would find something.

GOOD = next(alert for alert in ALERTS if alert.key == ("LivekitAgentTurnsSlow", "page", "1h"))
QUANTILE = next(alert for alert in ALERTS if alert.name == "LivekitAgentLlmSlow")


@pytest.mark.parametrize(
    ("alert", "problem"),
    [
        (replace(GOOD, name="AgentSlow"), "name"),
        (replace(GOOD, duration=None), "for"),
        (replace(GOOD, duration="0s"), "for"),
        (replace(GOOD, labels={"severity": "warning", "window": "1h"}), "severity"),
        (replace(GOOD, labels={"severity": "page", "window": "2h"}), "burn rate"),
        (replace(GOOD, expr=GOOD.expr.replace("0.05", "0.07")), "burn rate"),
        (replace(GOOD, expr=GOOD.expr.replace(" >= 50", " > 50")), "traffic floor"),
        (replace(QUANTILE, expr=QUANTILE.expr.replace("0.8", "0.9")), "bucket bound"),
        (replace(GOOD, expr='x_bucket{le="1.5"} > 0'), "bucket bound"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_rule_is_noticed(alert: Alert, problem: str) -> None:
    """Each convention is really looked at."""
    assert not problems(GOOD, RUNBOOKS, {"livekit-latency"})
    assert problem in problems(alert, RUNBOOKS, DASHBOARDS)


@pytest.mark.parametrize(
    ("annotation", "text", "problem"),
    [
        ("summary", "Slow for {{ $labels.agent }}.", "summary"),
        ("description", "Slow; the limit is 1.5 s.", "value in description"),
        ("description", "Slow: {{ $value }}.", "threshold in description"),
        ("runbook_url", rule_files.RUNBOOK_URL + "livekitagentllmslow", "runbook_url"),
        ("dashboard_url", "http://localhost:3000/d/no-such-uid?var-job=x", "dashboard_url"),
        ("dashboard_url", "http://localhost:3000/d/livekit-latency", "dashboard variables"),
    ],
)
def test_a_broken_annotation_is_noticed(annotation: str, text: str, problem: str) -> None:
    """Each annotation is really read."""
    broken = replace(GOOD, annotations={**GOOD.annotations, annotation: text})

    assert problem in problems(broken, RUNBOOKS, {"livekit-latency"})


def test_a_missing_runbook_is_noticed() -> None:
    """An alert without a section breaks the build."""
    assert "runbook section" in problems(GOOD, RUNBOOKS[1:], {"livekit-latency"})


@pytest.mark.parametrize("family", contract.FAMILIES, ids=lambda family: family.name)
def test_a_metric_renamed_in_the_contract_alone_is_noticed(family: contract.Family) -> None:
    """What the rules and documents use of a family is missed when the contract lacks it."""
    series = rule_files.SERIES - set(family.series())
    used = set(family.series())
    for path in CONSUMERS:
        text = path.read_text("utf-8")
        named = set(re.findall(r"(?<!:)\blivekit_\w+\b(?!:)", text)) & used

        assert unknown_names(text, RECORDED, series) == named


def test_most_of_the_contract_is_used() -> None:
    """The test above would say nothing if rules and documents named nothing."""
    text = "\n".join(path.read_text("utf-8") for path in CONSUMERS)
    used = [family for family in contract.FAMILIES if any(name in text for name in family.series())]

    assert len(used) > 40


def test_a_missing_promtool_test_is_noticed() -> None:
    """Without its checks, an alert is reported three times."""
    said = [check for check in CHECKS if check.alertname != GOOD.name]

    assert [line.partition(": ")[2] for line in untested([GOOD], said)] == [
        "fires with all annotations",
        "does not fire one step earlier",
        "does not fire on thin traffic",
    ]


def test_a_check_at_the_wrong_step_is_noticed() -> None:
    """Two steps earlier is not one step earlier."""
    said = [
        replace(check, at=check.at - check.step) if not check.fired else check for check in CHECKS
    ]

    assert len([line for line in untested(ALERTS, said) if "one step" in line]) == len(ALERTS)
