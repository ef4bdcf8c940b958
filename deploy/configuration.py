"""The repository's configuration files with other addresses, paths and durations, nothing else.

In the files, programs find one another by the names of `docker-compose.yml` or on the loopback
interface, always by the ports below.  Where they run without Docker, a copy of the files says
where each of them listens.  Tests also
shorten the durations that only make people wait: how often is scraped and evaluated, how long a
condition must hold, how long notifications are gathered and, where they say so, over how long a
range is measured.  Thresholds, labels, routes and annotations are never touched.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PORTS: Final[Mapping[str, int]] = {
    "exporter": 7889,
    "demo": 7890,
    "receiver": 7891,
    "prometheus": 9090,
    "alertmanager": 9093,
    "grafana": 3000,
}
"""Where each service of docker-compose.yml listens; its worker's metrics, for the demo."""

ROOT: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Durations in Prometheus's notation, such as `1s`; what is `None` stays as it is written."""

    scrape_interval: str | None = None
    """How often targets are scraped; a `scrape_timeout` becomes the same."""
    rule_interval: str | None = None
    """How often rules are evaluated, whatever their group says."""
    rule_for: str | None = None
    """How long the condition of an alert must hold, and how long it goes on firing after it."""
    notify: str | None = None
    """How long Alertmanager gathers alerts before it notifies, at first and later."""

    ranges: Mapping[str, str] = field(default_factory=dict)
    """Ranges in the expressions of rules by what is written: `{"5m": "40s"}` lets alerts over
    five minutes resolve 40 seconds after their cause.  Names keep saying five minutes."""

    def durations(self) -> Mapping[str, str]:
        """New values by the keys that carry them in the files."""
        new = {
            "scrape_interval": self.scrape_interval,
            "scrape_timeout": self.scrape_interval,
            "evaluation_interval": self.rule_interval,
            "interval": self.rule_interval,
            "for": self.rule_for,
            "keep_firing_for": self.rule_for,
            "group_wait": self.notify,
            "group_interval": self.notify,
        }
        return {key: value for key, value in new.items() if value is not None}


def addressed(text: str, addresses: Mapping[str, str]) -> str:
    """Replace the usual addresses of programs by those where they listen.

    Args:
        text: A configuration file.
        addresses: `host:port` by the name of the service.
    """
    names = {str(PORTS[name]): name for name in addresses}
    usual = "|".join(rf"(?:{name}|localhost|127\.0\.0\.1):{port}" for port, name in names.items())

    def new(found: re.Match[str]) -> str:
        return addresses[names[found[0].rpartition(":")[2]]]

    return re.sub(rf"(?<![\w.-])(?:{usual})(?!\d)", new, text)


def paced(text: str, pace: Pace) -> str:
    """Replace durations in whole lines of the form `key: duration`, and ranges in brackets."""
    for key, value in pace.durations().items():
        text = re.sub(rf"(?m)^(\s*(?:- )?{key}:[ ]+)\w+(?=\s|$)", rf"\g<1>{value}", text)
    for written, new in pace.ranges.items():
        text = text.replace(f"[{written}]", f"[{new}]")
    return text


def write_copy(target: Path, addresses: Mapping[str, str], pace: Pace) -> None:
    """Write the configuration of Prometheus and Alertmanager, and the rules, to a folder."""
    source = ROOT / "prometheus"
    for path in (*source.glob("*.yml"), *source.glob("rules/*.yml")):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(paced(addressed(path.read_text("utf-8"), addresses), pace), "utf-8")
