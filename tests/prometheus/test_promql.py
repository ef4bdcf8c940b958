"""docs/promql.md asks its questions, and its figures are those of a promtool test."""

import re

from tests.prometheus import rule_files
from tests.prometheus.documented import queries

DOCUMENT = (rule_files.ROOT / "docs" / "promql.md").read_text("utf-8")


def test_every_question_has_a_query() -> None:
    """Numbered from 1, every heading a question, one query and an answer below it."""
    headings = [query.heading for query in queries("promql.md")]

    assert headings == re.findall(r"^### (.+)$", DOCUMENT, re.MULTILINE)
    assert [heading.partition(". ")[0] for heading in headings] == [str(n + 1) for n in range(24)]
    assert all(heading.endswith("?") for heading in headings)
    assert len(re.findall(r"^```\n\n[A-Z`]", DOCUMENT, re.MULTILINE)) == 24


def test_cases_in_which_increase_is_wrong_are_those_of_the_promtool_test() -> None:
    """The table shows what promtool computed, and the gauge is right in every case."""
    rows = re.findall(r"^\| (.+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", DOCUMENT, re.MULTILINE)
    path = rule_files.PROMETHEUS / "tests" / "increase.test.yml"
    tests = {test["name"]: test for test in rule_files.document(path)["tests"]}

    assert [row[0] for row in rows] == list(tests)
    assert len(rows) == 4
    for case, spent, increase, gauge in rows:
        counted, exact = tests[case]["promql_expr_test"]
        assert "increase(" in counted["expr"]
        assert "livekit_agent_period_cost_usd" in exact["expr"]
        assert float(increase) == counted["exp_samples"][0]["value"] != float(spent)
        assert float(gauge) == exact["exp_samples"][0]["value"] == float(spent)


def test_the_alerts_read_the_exact_gauge() -> None:
    """What the section advises is what the budget alerts do."""
    budgets = [alert for alert in rule_files.alerts() if alert.name == "LivekitAgentDayBudget"]

    assert len(budgets) == 2
    for alert in budgets:
        assert "livekit_agent_period_cost_usd" in alert.expr
        assert not re.search(r"\b(increase|rate|delta)\(", alert.expr)
