"""The rule files and their tests as data, and what is wrong with them.

What is checked is checked by functions that return what they found, so that a test can
also hand them something broken and see that they find it.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from livekit_exporter.contract import FAMILIES

ROOT: Final = Path(__file__).resolve().parents[2]
PROMETHEUS: Final = ROOT / "prometheus"
RULE_FILES: Final = sorted((PROMETHEUS / "rules").glob("*.yml"))
TEST_FILES: Final = sorted((PROMETHEUS / "tests").glob("*.yml"))
RUNBOOKS: Final = ROOT / "docs" / "runbooks.md"
RUNBOOK_URL: Final = (
    "https://github.com/livekit-exporter/livekit-exporter/blob/main/docs/runbooks.md#"
)
DASHBOARD_URL: Final = "http://localhost:3000/d/"
SERIES: Final = frozenset(name for family in FAMILIES for name in family.series())

_NAME = re.compile(r"\blivekit_(?:agent|exporter)_[a-z0-9_]+")
_RECORDED = re.compile(r"\b[a-z_]+:livekit_(?:agent|exporter)_[a-z0-9_]+:[a-z0-9_]+")
_FLOOR = re.compile(r" >= \d+$", re.MULTILINE)
_RATIO = re.compile(r":(?:ratio_rate|rate|mean|p\d)\w*")
_BURN = re.compile(r":ratio_rate(\w+) > \(([\d.]+) \* ([\d.]+)\)")
_QUANTILE_LIMIT = re.compile(r":(\w+):p\d+_\w+ > ([\d.]+)")
_BOUND = re.compile(r'(\w+)_bucket\{[^}]*\ble="([^"]+)"')
_TIME = re.compile(r"(\d+)([dhms])")
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True, slots=True)
class Alert:
    """One alerting rule."""

    name: str
    expr: str
    duration: str | None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells rules of one name apart: name, severity, window."""
        return self.name, self.labels.get("severity", ""), self.labels.get("window", "")

    @property
    def is_ratio(self) -> bool:
        """Whether a single event can make its value large."""
        return _RATIO.search(self.expr) is not None


@dataclass(frozen=True, slots=True)
class Check:
    """What one promtool test says about one alert at one time."""

    file: str
    test: str
    alertname: str
    at: int
    step: int
    fired: Mapping[tuple[str, str, str], Mapping[str, str]]


@cache
def document(path: Path) -> Mapping[str, Any]:
    """A YAML file, read once; not to be changed."""
    loaded: Mapping[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return loaded


def _rules() -> Iterator[Mapping[str, Any]]:
    for path in RULE_FILES:
        for group in document(path)["groups"]:
            yield from group["rules"]


def alerts() -> tuple[Alert, ...]:
    """Every alerting rule, in the order of the files."""
    return tuple(
        Alert(
            rule["alert"],
            rule["expr"],
            rule.get("for"),
            rule.get("labels", {}),
            rule.get("annotations", {}),
        )
        for rule in _rules()
        if "alert" in rule
    )


def recorded() -> Mapping[str, str]:
    """Recorded names with their expressions."""
    return {rule["record"]: rule["expr"] for rule in _rules() if "record" in rule}


def checks() -> tuple[Check, ...]:
    """Every statement about an alert in the promtool tests."""
    found = []
    for path in TEST_FILES:
        step = seconds(document(path)["evaluation_interval"])
        for test in document(path)["tests"]:
            for check in test.get("alert_rule_test", ()):
                name = check["alertname"]
                fired = {
                    (
                        name,
                        alert["exp_labels"].get("severity", ""),
                        alert["exp_labels"].get("window", ""),
                    ): alert.get("exp_annotations", {})
                    for alert in check.get("exp_alerts", ())
                }
                at = seconds(check["eval_time"])
                found.append(Check(path.name, test["name"], name, at, step, fired))
    return tuple(found)


def tested_expressions() -> str:
    """All expressions whose value a promtool test expects, as one text."""
    return "\n".join(
        expression["expr"]
        for path in TEST_FILES
        for test in document(path)["tests"]
        for expression in test.get("promql_expr_test", ())
        if expression.get("exp_samples")
    )


def seconds(text: str) -> int:
    """A duration in Prometheus's notation, `7d12h30m`, in seconds."""
    return sum(int(amount) * _SECONDS[unit] for amount, unit in _TIME.findall(text))


def anchors(markdown: str) -> Sequence[str]:
    """Anchors of the headings of a page, as GitHub makes them of one word."""
    return re.findall(r"^## (\w+)$", markdown.lower(), re.MULTILINE)


def unknown_names(
    text: str, known_recorded: Collection[str], series: Collection[str] = SERIES
) -> set[str]:
    """Metric names in a text that neither the contract nor a recording rule has."""
    strange = set(_RECORDED.findall(text)) - set(known_recorded)
    return strange | (set(_NAME.findall(_RECORDED.sub("", text))) - set(series))


def strange_bounds(expr: str) -> set[str]:
    """Values of `le` that are no bucket bound, or are not written as the page writes them."""
    bounds = {family.name: {str(bound) for bound in family.buckets} for family in FAMILIES}
    return {f"{name} {le}" for name, le in _BOUND.findall(expr) if le not in bounds.get(name, ())}


def problems(alert: Alert, runbooks: Collection[str], dashboards: Collection[str]) -> list[str]:
    """Everything by which an alert breaks the conventions, in words."""
    annotations = alert.annotations
    wording = re.sub(r"\{\{.*?\}\}", "", annotations.get("description", ""))
    url = annotations.get("dashboard_url", "")
    uid = url.removeprefix(DASHBOARD_URL).partition("?")[0]
    variables = set(re.findall(r"[?&]var-(\w+)=", url))
    rules = {
        "name": re.fullmatch(r"Livekit(Agent|Exporter)([A-Z][a-z]+)+", alert.name),
        "for": alert.duration and seconds(alert.duration) > 0,
        "severity": alert.labels.get("severity") in {"page", "ticket"},
        "summary": annotations.get("summary") and "{{" not in annotations["summary"],
        "value in description": "$value" in annotations.get("description", ""),
        "threshold in description": re.search(r"\d|twice", wording),
        "runbook_url": annotations.get("runbook_url") == RUNBOOK_URL + alert.name.lower(),
        "runbook section": alert.name.lower() in runbooks,
        "dashboard_url": url.startswith(DASHBOARD_URL) and uid in dashboards,
        "dashboard variables": "job" in variables
        and variables <= {"job", "agent", "provider", "model"},
        "traffic floor": not alert.is_ratio or _FLOOR.search(alert.expr),
        "bucket bound": not _not_a_bound(alert.expr) and not strange_bounds(alert.expr),
        "burn rate": not _unreachable(alert),
    }
    return [name for name, kept in rules.items() if not kept]


def _not_a_bound(expr: str) -> list[str]:
    """Limits of latency quantiles that are no bucket bound of their histogram."""
    buckets = {family.name: family.buckets for family in FAMILIES}
    return [
        limit for name, limit in _QUANTILE_LIMIT.findall(expr) if float(limit) not in buckets[name]
    ]


def _unreachable(alert: Alert) -> list[str]:
    """Burn rates that no share of slow turns can reach, or whose windows do not belong together."""
    found = _BURN.findall(alert.expr)
    if not found:
        return []
    wrong = [factor for _, factor, allowed in found if float(factor) * float(allowed) >= 1]
    windows = [window for window, _, _ in found]
    pairs = {"1h": ["1h", "5m"], "6h": ["6h", "30m"], "1d": ["1d", "2h"], "3d": ["3d", "6h"]}
    long = alert.labels.get("window", "")
    if windows != pairs.get(long) or f"_count[{long}])) >= " not in alert.expr:
        wrong.append(f"windows {windows}")
    if len({(factor, allowed) for _, factor, allowed in found}) != 1:
        wrong.append("factors differ")
    return wrong


def untested(every: Sequence[Alert], said: Sequence[Check]) -> list[str]:
    """What the promtool tests do not show of the alerts."""
    missing = []
    for alert in every:
        mine = [check for check in said if check.alertname == alert.name]
        firing = [check for check in mine if alert.key in check.fired]
        if not any(_complete(check.fired[alert.key], alert) for check in firing):
            missing.append(f"{alert.key}: fires with all annotations")
        if not any(
            earlier.at == check.at - check.step and alert.key not in earlier.fired
            for check in firing
            for earlier in mine
            if (earlier.file, earlier.test) == (check.file, check.test)
        ):
            missing.append(f"{alert.key}: does not fire one step earlier")
        thin = [check for check in mine if check.test.startswith("thin traffic")]
        if alert.is_ratio and not (thin and not any(check.fired for check in thin)):
            missing.append(f"{alert.key}: does not fire on thin traffic")
    return missing


def _complete(expected: Mapping[str, str], alert: Alert) -> bool:
    return set(expected) == set(alert.annotations) and all(expected.values())


def without_duration(text: str) -> str:
    """A rule file whose alerts fire at once."""
    return re.sub(r"^(\s+for: )\w+$", r"\g<1>0s", text, flags=re.MULTILINE)


def without_floors(text: str) -> str:
    """A rule file whose alerts need no traffic."""
    return _FLOOR.sub(" >= 0", text)
