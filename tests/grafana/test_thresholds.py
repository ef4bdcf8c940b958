"""Lines in panels are the lines at which alerts fire."""

import re
from typing import Final

import pytest
import yaml

from grafana.src.thresholds import LIMITS, Limit
from tests.grafana.boards import BOARDS, RULES, panels

_NUMBER = r"\d+(?:\.\d+)?(?:e\d+)?"
COMPARED: Final = re.compile(rf"(?:>=|>|==)\s*\(?({_NUMBER})(?: \* ({_NUMBER}))?")


def _alerts() -> dict[str, list[tuple[str, str]]]:
    """Severity and expression of the alerts, by name."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path in RULES:
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    one = (rule["labels"]["severity"], rule["expr"])
                    found.setdefault(rule["alert"], []).append(one)
    return found


ALERTS: Final = _alerts()


def _numbers(expression: str) -> set[float]:
    """Numbers that an expression compares with, and the factors of those that are products."""
    numbers = set()
    for first, second in COMPARED.findall(expression):
        numbers.add(float(first))
        if second:
            numbers |= {float(second), float(first) * float(second)}
    return numbers


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.alert)
def test_limit_is_that_of_its_alert(limit: Limit) -> None:
    """Changing one without the other would draw a line that means nothing."""
    assert limit.alert in ALERTS
    for severity, value in (("ticket", limit.ticket), ("page", limit.page)):
        compared = [
            _numbers(expression) for level, expression in ALERTS[limit.alert] if level == severity
        ]
        assert value is None or any(value in numbers for numbers in compared)


def test_numbers_of_an_expression_are_found() -> None:
    """A pattern that finds nothing, or anything, would prove nothing."""
    assert _numbers('a{le="1.5"} > (14.4 * 0.05) and increase(b[1h]) >= 50') == {
        14.4,
        0.05,
        14.4 * 0.05,
        50,
    }


def test_dashed_lines_lead_to_their_runbook() -> None:
    """Whoever sees a line crossed finds out what to do."""
    without = [
        (board["uid"], panel["title"])
        for board in BOARDS
        for panel in panels(board)
        if "thresholdsStyle" in panel["fieldConfig"]["defaults"].get("custom", {})
        and not any("runbooks.md#" in link["url"] for link in panel.get("links") or [])
    ]

    assert not without
