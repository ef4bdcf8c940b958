# ruff: noqa: INP001 - a program in a folder of configuration, no package
"""Prints the alerts that Alertmanager sends: a receiver that works without any account.

Standard library only, so that any Python runs it:

    python3 prometheus/webhook_printer.py --listen-address 127.0.0.1:7891
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

_LARGEST_BODY: Final = 4 * 1024 * 1024
_TITLE_LABELS: Final = ("alertname", "severity")


def _plain(value: object) -> str:
    """Text without control characters: labels are written by others, and terminals obey them."""
    return "".join(character if character.isprintable() else "?" for character in str(value))


def _named(alert: Mapping[str, object], key: str) -> Mapping[str, object]:
    """Labels or annotations of an alert; none where the sender wrote something else."""
    named = alert.get(key)
    return named if isinstance(named, Mapping) else {}


def lines(notification: object) -> Sequence[str]:
    """What is printed of one notification.

    Args:
        notification: The JSON document that Alertmanager posts, of version 4.

    Raises:
        ValueError: It holds no list of alerts.
    """
    alerts = notification.get("alerts") if isinstance(notification, Mapping) else None
    if not isinstance(alerts, list) or not all(isinstance(alert, Mapping) for alert in alerts):
        raise ValueError("no list of alerts in the notification; send what Alertmanager sends")
    said = []
    for alert in alerts:
        labels = _named(alert, "labels")
        title = [alert.get("status", "unknown"), *(labels.get(name, "-") for name in _TITLE_LABELS)]
        rest = [
            f"{name}={value}" for name, value in sorted(labels.items()) if name not in _TITLE_LABELS
        ]
        said.append(" ".join(_plain(part) for part in (*title, *rest)))
        said.extend(
            f"  {_plain(name)}: {_plain(text)}"
            for name, text in sorted(_named(alert, "annotations").items())
        )
    return said


class _Receiver(BaseHTTPRequestHandler):
    """Answers 200 to notifications and to health checks."""

    timeout = 10

    def do_GET(self) -> None:
        """Say that the printer is there."""
        self._answer(HTTPStatus.OK, "webhook printer: POST Alertmanager's notifications here")

    def do_POST(self) -> None:
        """Print a notification."""
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            length = -1
        if not 0 <= length <= _LARGEST_BODY:
            self._answer(HTTPStatus.BAD_REQUEST, f"the body may have up to {_LARGEST_BODY} bytes")
            return
        try:
            said = lines(json.loads(self.rfile.read(length)))
        except (ValueError, RecursionError) as error:
            self._answer(HTTPStatus.BAD_REQUEST, str(error))
            return
        sys.stdout.write("".join(f"{line}\n" for line in said))
        sys.stdout.flush()
        self._answer(HTTPStatus.OK, "printed")

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name in the base class
        """Say nothing of requests: standard output is for alerts."""

    def _answer(self, status: HTTPStatus, text: str) -> None:
        body = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _address(text: str) -> tuple[str, int]:
    """Host and port; both are needed, since no host would mean every interface."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no host:port, such as 127.0.0.1:7891")
    return host, int(port)


def main(arguments: Sequence[str]) -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description="Print the alerts that Alertmanager sends.")
    parser.add_argument(
        "--listen-address", type=_address, default="127.0.0.1:7891", help="host:port, port 0: any"
    )
    address = parser.parse_args(arguments).listen_address
    with ThreadingHTTPServer(address, _Receiver) as server:
        sys.stderr.write(f"prints alerts posted to http://{address[0]}:{server.server_port}/\n")
        sys.stderr.flush()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main(sys.argv[1:])
