"""The receiver that works out of the box."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.prometheus.printer import Printer
from tests.prometheus.rule_files import PROMETHEUS

ALERT = {
    "status": "firing",
    "labels": {"alertname": "LivekitAgentLlmSlow", "severity": "ticket", "agent": "support"},
    "annotations": {"summary": "The language model makes callers wait.", "description": "980ms"},
}


@pytest.fixture
def printer(tmp_path: Path) -> Iterator[Printer]:
    """A printer that ends with the test."""
    with Printer(tmp_path / "printed") as running:
        yield running


def test_alert_is_printed_with_labels_and_annotations(printer: Printer) -> None:
    """One line says which alert, the lines below it what the annotations say."""
    assert printer.post(json.dumps({"version": "4", "alerts": [ALERT]}).encode())[0] == 200
    assert printer.printed == (
        "firing LivekitAgentLlmSlow ticket agent=support\n"
        "  description: 980ms\n"
        "  summary: The language model makes callers wait.\n"
    )


def test_alert_without_severity_is_printed_all_the_same(printer: Printer) -> None:
    """A strange alert is better than a lost one."""
    printer.post(json.dumps({"alerts": [{"labels": {"alertname": "Odd"}}]}).encode())

    assert printer.printed == "unknown Odd -\n"


def test_control_characters_do_not_reach_the_terminal(printer: Printer) -> None:
    """Labels hold what agents are called, and anybody can call one anything."""
    alert = {**ALERT, "labels": {"alertname": "A", "agent": "\x1b[2J\nfiring Fake page"}}
    printer.post(json.dumps({"alerts": [alert]}).encode())

    assert printer.printed.startswith("firing A - agent=?[2J?firing Fake page\n")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"alerts": 3}', b'{"alerts": [3]}', b"\xff", b"[" * 100_000],
    ids=["empty", "torn", "no object", "no list", "no alert", "no text", "deep"],
)
def test_anything_else_is_refused_and_the_printer_goes_on(printer: Printer, body: bytes) -> None:
    """A mistake is answered with 400 and a reason."""
    status, answer = printer.post(body)

    assert status == 400
    assert answer.strip()
    assert printer.post(json.dumps({"alerts": [ALERT]}).encode()) == (200, "printed\n")


def test_health_check_is_answered(printer: Printer) -> None:
    """A GET says that it is there."""
    with urlopen(printer.url, timeout=30) as response:  # noqa: S310 - our own http
        assert response.status == 200


@pytest.mark.parametrize("address", ["7891", ":7891", "localhost", "localhost:x"])
def test_address_without_a_host_is_refused(address: str) -> None:
    """No host would mean every interface, which nobody asked for."""
    result = subprocess.run(
        [sys.executable, str(PROMETHEUS / "webhook_printer.py"), "--listen-address", address],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 2
    assert f"'{address}' is no host:port" in result.stderr
