"""Alertmanager accepts its configuration, routes by severity, inhibits, and delivers."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

import pytest
import yaml

from tests.prometheus.printer import Printer
from tests.prometheus.rule_files import PROMETHEUS, alerts
from tests.sidecars import wait_until

CONFIG: Final = PROMETHEUS / "alertmanager.yml"
TEXT: Final = CONFIG.read_text("utf-8")
PROGRAM: Final = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")

with_amtool = pytest.mark.skipif(
    shutil.which("amtool") is None,
    reason="amtool is not installed (Debian: apt-get install prometheus-alertmanager)",
)
with_alertmanager = pytest.mark.skipif(
    PROGRAM is None,
    reason="alertmanager is not installed (Debian: apt-get install prometheus-alertmanager)",
)


def amtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run amtool and return what it said."""
    return subprocess.run(["amtool", *arguments], capture_output=True, text=True, check=False)


@with_amtool
def test_configuration_is_accepted() -> None:
    """`amtool check-config`."""
    result = amtool("check-config", str(CONFIG))

    assert result.returncode == 0, result.stdout + result.stderr


@with_amtool
def test_receivers_in_comments_are_accepted(tmp_path: Path) -> None:
    """Who takes the `#` away finds e-mail, Slack and PagerDuty with secrets from files."""
    uncommented = re.sub(r"(?m)^(\s*)#(?! )", r"\1", TEXT)
    file = tmp_path / "alertmanager.yml"
    file.write_text(uncommented, "utf-8")
    result = amtool("check-config", str(file))
    settings = yaml.safe_load(uncommented)
    kinds = {kind for receiver in settings["receivers"] for kind in receiver}

    assert result.returncode == 0, result.stdout + result.stderr
    assert kinds >= {"email_configs", "slack_configs", "pagerduty_configs", "webhook_configs"}
    assert "smtp_auth_password_file" in settings["global"]
    assert not re.search(r"(?m)^\s*(smtp_auth_password|api_url|routing_key|service_key):", TEXT)


@with_amtool
@pytest.mark.parametrize("severity", sorted({alert.labels["severity"] for alert in alerts()}))
def test_severity_has_a_receiver_of_its_own(severity: str) -> None:
    """A page goes to `page`, a ticket to `ticket`."""
    result = amtool(
        *("config", "routes", "test", "--config.file", str(CONFIG)),
        *(f"--verify.receivers={severity}", f"severity={severity}", "job=livekit-exporter"),
    )

    assert result.returncode == 0, result.stdout + result.stderr


@with_amtool
@pytest.mark.parametrize("labels", [["severity=critical"], ["alertname=SomebodyElses"]])
def test_anything_else_still_arrives(labels: Sequence[str]) -> None:
    """Another severity, or none, goes to the receiver at the top."""
    result = amtool(
        *("config", "routes", "test", "--config.file", str(CONFIG)),
        *("--verify.receivers=unrouted", *labels),
    )

    assert result.returncode == 0, result.stdout + result.stderr


@with_amtool
def test_a_wrong_route_would_be_noticed() -> None:
    """`--verify.receivers` fails when the receiver is another."""
    result = amtool(
        *("config", "routes", "test", "--config.file", str(CONFIG)),
        *("--verify.receivers=ticket", "severity=page"),
    )

    assert result.returncode != 0


class Alertmanager:
    """Alertmanager with the repository's configuration, which notifies a printer at once.

    Args:
        directory: For its data, its configuration and its log.
        printer: Takes the place of the one in the configuration.
    """

    def __init__(self, directory: Path, printer: Printer) -> None:
        config = TEXT.replace("http://receiver:7891/", printer.url)
        (directory / "alertmanager.yml").write_text(
            config.replace("group_wait: 30s", "group_wait: 0s"), "utf-8"
        )
        self._log = directory / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    str(PROGRAM),
                    f"--config.file={directory / 'alertmanager.yml'}",
                    f"--storage.path={directory / 'data'}",
                    "--web.listen-address=127.0.0.1:0",
                    "--cluster.listen-address=",
                ],
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: self._address() is not None, "alertmanager listens")
        self._api = f"http://{self._address()}/api/v2/alerts"

    def _address(self) -> str | None:
        log = self._log.read_text()
        assert self.process.poll() is None, log
        found = re.search(r"Listening on.*?address=\"?([\d.]+:\d+)", log)
        return found[1] if found else None

    def post(self, **labels: str) -> None:
        """Send a firing alert."""
        body = json.dumps([{"labels": labels, "annotations": {"summary": "S"}}]).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(self._api, data=body, headers=headers)  # noqa: S310 - our own http
        with urlopen(request, timeout=30) as response:  # noqa: S310 - the same
            assert response.status == 200

    def states(self) -> Mapping[tuple[str, str], str]:
        """Whether it would notify of an alert, by alertname and the label `case`."""
        with urlopen(self._api, timeout=30) as response:  # noqa: S310 - our own http
            known: list[dict[str, Any]] = json.load(response)
        return {
            (alert["labels"]["alertname"], alert["labels"]["case"]): alert["status"]["state"]
            for alert in known
        }


@pytest.fixture
def printer(tmp_path: Path) -> Iterator[Printer]:
    """A printer that ends with the test."""
    with Printer(tmp_path / "printed") as running:
        yield running


@pytest.fixture
def alertmanager(tmp_path: Path, printer: Printer) -> Iterator[Alertmanager]:
    """An Alertmanager that ends with the test."""
    running = Alertmanager(tmp_path, printer)
    yield running
    running.process.kill()
    running.process.wait(30)


@with_alertmanager
def test_alerts_are_printed_and_the_lesser_ones_inhibited(
    alertmanager: Alertmanager, printer: Printer
) -> None:
    """A page silences the ticket of the same alert only, `Down` all other alerts of its job."""
    agents = {"job": "j", "agent": "a"}
    alertmanager.post(alertname="Slow", severity="page", case="page", **agents)
    wait_until(lambda: "firing Slow page" in printer.printed, "the page is printed")
    alertmanager.post(alertname="Slow", severity="ticket", case="same", **agents)
    alertmanager.post(alertname="Slow", severity="ticket", case="agent", job="j", agent="b")
    alertmanager.post(alertname="Other", severity="ticket", case="name", **agents)

    assert alertmanager.states() == {
        ("Slow", "page"): "active",
        ("Slow", "same"): "suppressed",
        ("Slow", "agent"): "active",
        ("Other", "name"): "active",
    }

    alertmanager.post(alertname="LivekitExporterDown", severity="page", case="down", job="j")
    alertmanager.post(alertname="Slow", severity="page", case="elsewhere", job="k", agent="a")
    wait_until(lambda: "firing LivekitExporterDown" in printer.printed, "the page is printed")
    states = alertmanager.states()

    assert {case for (_, case), state in states.items() if state == "active"} == {
        "down",
        "elsewhere",
    }
    assert "  summary: S\n" in printer.printed
