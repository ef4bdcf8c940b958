"""What `make stack` is made of: ports, rewritten configuration, and what the receiver printed."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy.configuration import PORTS, ROOT, Pace, addressed, paced
from deploy.ports import LOOPBACK, PortError, Ports
from deploy.prometheus_rule import RULES
from deploy.received import received

NEW = {name: f"{LOOPBACK}:{50_000 + place}" for place, name in enumerate(PORTS)}
CONFIGURATION = sorted([*(ROOT / "prometheus").glob("*.yml"), *RULES.glob("*.yml")])
every_file = pytest.mark.parametrize("path", CONFIGURATION, ids=lambda path: path.name)
QUICK = Pace(scrape_interval="1s", rule_interval="2s", rule_for="3s", notify="4s")


def expressions(text: str) -> list[str]:
    """Every rule's expression, and all else that a duration must not be replaced in."""
    document = yaml.safe_load(text)
    return [
        f"{rule['expr']} {rule.get('labels')} {rule.get('annotations')}"
        for group in document.get("groups", ())
        for rule in group["rules"]
    ]


def test_held_port_is_given_to_nobody_else_but_can_be_listened_on() -> None:
    """As a server does it: with SO_REUSEADDR, which Python's and Go's set."""
    with Ports() as ports:
        port = ports.hold("prometheus")
        with socket.create_server((LOOPBACK, port)):
            pass
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind((LOOPBACK, port))


def test_taken_port_is_named_with_what_wants_it() -> None:
    """Somebody's own Prometheus on 9090 is the most likely reason."""
    with socket.create_server((LOOPBACK, 0)) as taken, Ports() as ports:
        port = taken.getsockname()[1]

        with pytest.raises(PortError, match=rf"port {port} for grafana is taken: .*--ports auto"):
            ports.hold("grafana", port)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("targets: [exporter:7889]", "targets: [127.0.0.1:50000]"),
        ("targets: [127.0.0.1:7889, 'demo:7890']", "targets: [127.0.0.1:50000, '127.0.0.1:50001']"),
        ("url: http://receiver:7891/page", "url: http://127.0.0.1:50002/page"),
        ("http://localhost:3000/d/x", "http://127.0.0.1:50005/d/x"),
        ("exporter: 7889", "exporter: 7889"),
        ("livekit-exporter:7889", "livekit-exporter:7889"),
        ("exporter:78891", "exporter:78891"),
        ("smtp.example.com:587", "smtp.example.com:587"),
    ],
)
def test_usual_addresses_are_replaced_and_no_others(text: str, expected: str) -> None:
    """By service name or loopback, with the usual port."""
    assert addressed(text, NEW) == expected


def test_addresses_may_be_exchanged() -> None:
    """The new port of one program can be the usual one of another."""
    swapped = {"exporter": "127.0.0.1:7890", "demo": "127.0.0.1:7889"}

    assert addressed("exporter:7889 demo:7890", swapped) == "127.0.0.1:7890 127.0.0.1:7889"


def test_configuration_was_found() -> None:
    """A glob that matches nothing would pass the tests below."""
    assert {"prometheus.yml", "alertmanager.yml"} < {path.name for path in CONFIGURATION}


@every_file
def test_no_usual_address_is_left(path: Path) -> None:
    """A stack on free ports must not talk to another stack's programs."""
    text = addressed(path.read_text("utf-8"), NEW)

    for name, port in PORTS.items():
        assert f"{name}:{port}" not in text
        assert f"{LOOPBACK}:{port}" not in text


@every_file
def test_pace_changes_no_expression(path: Path) -> None:
    """Only how often and how long; what is measured and against what stays."""
    text = path.read_text("utf-8")

    assert expressions(paced(text, QUICK)) == expressions(text)


def test_pace_shortens_what_people_wait_for() -> None:
    rules = """\
groups:
  - name: a
    interval: 1m
    rules:
      - alert: A
        expr: rate(x[5m]) > 1
        for: 10m
        keep_firing_for: 5m
"""

    assert yaml.safe_load(paced(rules, QUICK))["groups"] == [
        {
            "name": "a",
            "interval": "2s",
            "rules": [
                {"alert": "A", "expr": "rate(x[5m]) > 1", "for": "3s", "keep_firing_for": "3s"}
            ],
        }
    ]
    assert paced(rules, Pace()) == rules
    assert "rate(x[40s]) > 1" in paced(rules, Pace(ranges={"5m": "40s"}))


def test_received_alerts_are_read_from_what_was_printed() -> None:
    """As the webhook printer prints a notification, labels with spaces included."""
    notification = {
        "alerts": [
            {
                "status": status,
                "labels": {"alertname": "Slow", "severity": "page", "agent": "a b", "job": "x"},
                "annotations": {"summary": "Too slow: 2 s.", "runbook_url": "http://r/slow"},
            }
            for status in ("firing", "resolved")
        ]
    }
    printed = subprocess.run(
        [
            sys.executable,
            "-Bc",
            (
                "import json, sys, webhook_printer; n = json.load(sys.stdin);"
                " print(*webhook_printer.lines(n), sep='#')"
            ),
        ],
        input=json.dumps(notification),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT / "prometheus",
    ).stdout.replace("#", "\n")

    firing, resolved = received(f"prints alerts posted to http://x/\n{printed}")

    assert (firing.status, resolved.status) == ("firing", "resolved")
    assert (firing.name, firing.severity) == ("Slow", "page")
    assert firing.labels == {"agent": "a b", "job": "x"}
    assert firing.annotations == {"summary": "Too slow: 2 s.", "runbook_url": "http://r/slow"}
