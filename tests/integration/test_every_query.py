"""Every panel of every dashboard and every documented query answers, on the running stack."""

import json
import re
import time
from typing import Final

import pytest

from deploy.programs import found
from deploy.stack import Stack
from tests.grafana import boards
from tests.prometheus import documented
from tests.sidecars import PATIENCE_SECONDS
from tests.stacks import RunStack

pytest.importorskip("livekit.agents", reason="needs livekit-agents: pip install -e '.[agent]'")
pytestmark = pytest.mark.skipif(
    not (found("prometheus") and found("alertmanager", "prometheus-alertmanager")),
    reason="needs prometheus and alertmanager; Debian: prometheus prometheus-alertmanager",
)

EMPTY: Final = {
    "livekit-cost 501": "no simulated model is billed by the time of its connection",
    "livekit-overview 307": "nothing to list while no alert fires",
}
"""Panels of which a query may stay without an answer, and why."""

SETTINGS: Final = {
    "budget": {"day_usd": 1_000, "month_usd": 30_000},
    # Nobody listens there, so that there is something to say of deliveries that wait.
    "webhook": {"url": "http://127.0.0.1:1/", "secret": "nobody will check it"},
}


def as_grafana_asks(expression: str) -> str:
    """Fill in the variables: everything chosen, a scrape every second, the last 15 minutes."""
    filled = expression
    for name, value in (
        ("__rate_interval", "5s"),
        ("__interval", "5s"),
        ("__range", "15m"),
        ("datasource", "prometheus"),
    ):
        filled = filled.replace(f"${{{name}}}", value).replace(f"${name}", value)
    return re.sub(r"\$\{?\w+\}?", ".+", filled)


def asked() -> dict[str, str]:
    """Every query by where it stands."""
    panels = {
        query.where: as_grafana_asks(query.expression)
        for path in boards.FILES
        for query in boards.panel_queries(boards.read(path))
        if not query.where.startswith(tuple(EMPTY))
    }
    return panels | {f"promql.md: {q.heading}": q.expr for q in documented.queries("promql.md")}


def unanswered(stack: Stack, queries: dict[str, str]) -> dict[str, str]:
    """Those that Prometheus answers with nothing now."""
    return {where: query for where, query in queries.items() if not stack.query(query)}


def test_every_panel_and_every_documented_query_has_an_answer(run_stack: RunStack) -> None:
    """Whatever is empty has its reason written down above."""
    queries = asked()
    assert len(queries) > 150

    with run_stack("--speed", "4", "--concurrency", "4", exporter=SETTINGS) as stack:
        stack.wait_until_up()
        deadline = time.monotonic() + 3 * PATIENCE_SECONDS
        while queries := unanswered(stack, queries):
            assert time.monotonic() < deadline, json.dumps(queries, indent=2)
            time.sleep(1)


def test_the_panels_that_may_be_empty_exist() -> None:
    """A reason for a panel that is gone would hide the next one with its number."""
    wheres = [
        query.where for path in boards.FILES for query in boards.panel_queries(boards.read(path))
    ]

    assert all(any(where.startswith(panel) for where in wheres) for panel in EMPTY)
