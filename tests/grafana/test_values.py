"""Numbers that panels show: known series go in, and each query gives the number they make."""

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest
import yaml

from deploy.programs import found
from tests.grafana import boards

pytestmark = pytest.mark.skipif(not found("promtool"), reason="needs promtool; Debian: prometheus")

LABELS: Final = 'job="j",instance="i",agent="a"'
A_MINUTE: Final = {
    "turns_total{%s}": 8,
    "turns_interrupted_total{%s}": 2,
    "sessions_total{%s}": 4,
    'sessions_closed_total{%s,reason="error"}': 1,
    'sessions_closed_total{%s,reason="lost"}': 2,
    'sessions_closed_total{%s,reason="user_initiated"}': 5,
    'tool_calls_total{%s,tool="lookup"}': 8,
    'tool_errors_total{%s,tool="lookup"}': 1,
    'requests_total{%s,stage="llm",provider="p",model="m"}': 16,
    'request_errors_total{%s,stage="llm",provider="p",model="m"}': 2,
    'requests_cancelled_total{%s,stage="llm",provider="p",model="m"}': 4,
    'fallbacks_total{%s,stage="llm",provider="p",model="m"}': 2,
    'cost_usd_total{%s,stage="llm",provider="p",model="m"}': 8,
    'wasted_cost_usd_total{%s,stage="llm",provider="p",model="m",reason="interrupted"}': 2,
    "session_cost_usd_sum{%s}": 8,
    "session_cost_usd_count{%s}": 4,
    "session_seconds_sum{%s}": 240,
    "session_seconds_count{%s}": 4,
    "turn_cost_usd_sum{%s}": 8,
    "turn_cost_usd_count{%s}": 16,
    'turn_latency_seconds_bucket{%s,le="1.5"}': 6,
    "turn_latency_seconds_count{%s}": 8,
    "turn_callback_seconds_sum{%s}": 2,
    "turn_callback_seconds_count{%s}": 8,
}
"""Growth of each series in a minute; different enough that no share equals its reciprocal."""

STEADY: Final = {
    'period_cost_usd{job="j",instance="i",agent="a",period="day",source="reported"}': 5,
    'budget_usd{job="j",instance="i",period="day"}': 20,
}

SHOWN: Final = {
    "livekit-overview 103": ("{}", 0.75),
    "livekit-overview 104": ("{}", 0.25),
    "livekit-overview 105": ("{}", 0.125),
    "livekit-overview 106": ("{}", 0.25),
    "livekit-overview 109": ('{stage="llm"}', 0.125),
    "livekit-overview 111": ('{tool="lookup"}', 0.125),
    "livekit-overview 202": ("{}", 0.25),
    "livekit-overview 204": ("{}", 2),
    "livekit-overview 205": ("{}", 2),
    "livekit-overview 206": ("{}", 0.25),
    "livekit-cost 102": ("{}", 0.25),
    "livekit-cost 304": ("{}", 2),
    "livekit-cost 306": ("{}", 60),
    "livekit-cost 301": ('{agent="a"}', 2),
    "livekit-cost 302": ('{agent="a"}', 0.5),
    "livekit-cost 308": ('{agent="a"}', 2),
    "livekit-cost 402": ('{agent="a"}', 0.25),
    "livekit-latency 104": ("{}", 0.75),
    "livekit-latency 502": ('{agent="a"}', 0.25),
    "livekit-models 501": ('{model="m", provider="p"}', 0.125),
    "livekit-models 502": ('{model="m", provider="p"}', 0.25),
    "livekit-models 503": ('{model="m", provider="p"}', 0.5),
}
"""Labels and value of the first query of each panel that divides one figure by another."""


def filled(expression: str) -> str:
    """A query with everything chosen."""
    for name, value in (("__rate_interval", "5m"), ("__range", "15m")):
        expression = expression.replace(f"${{{name}}}", value).replace(f"${name}", value)
    return re.sub(r"\$\{?\w+\}?", ".+", expression)


def queries() -> dict[str, str]:
    """The first query of each panel, by board and number."""
    asked: dict[str, str] = {}
    for board in boards.BOARDS:
        for panel in boards.panels(board):
            where = f"{board['uid']} {panel['id']}"
            asked.setdefault(where, filled(panel["targets"][0]["expr"]))
    return asked


def test_shares_and_averages_have_the_value_that_the_series_make(tmp_path: Path) -> None:
    """A share upside down, or of the wrong whole, is a dashboard that is quietly wrong."""
    asked = queries()
    series = [
        {"series": f"livekit_agent_{name % LABELS}", "values": f"0+{growth}x60"}
        for name, growth in A_MINUTE.items()
    ] + [
        {"series": f"livekit_agent_{name}", "values": f"{value}+0x60"}
        for name, value in STEADY.items()
    ]
    tests = [
        {
            "expr": asked[where],
            "eval_time": "30m",
            "exp_samples": [{"labels": labels, "value": value}],
        }
        for where, (labels, value) in SHOWN.items()
    ]
    file = tmp_path / "values.yml"
    file.write_text(
        yaml.safe_dump(
            {
                "evaluation_interval": "1m",
                "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": tests}],
            }
        )
    )

    result = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stdout + result.stderr
