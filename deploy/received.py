"""Alerts that the webhook printer has printed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, cast, get_args

Status: TypeAlias = Literal["firing", "resolved"]

_TITLE: Final = re.compile(rf"({'|'.join(get_args(Status))}) (\S+) (\S+)(?: (.*))?")
_LABEL: Final = re.compile(r"(\w+)=(.*?)(?= \w+=|$)")
_ANNOTATION: Final = re.compile(r"  (\w+): (.*)")


@dataclass(frozen=True, slots=True)
class ReceivedAlert:
    """One alert of one notification."""

    status: Status
    name: str
    severity: str
    labels: Mapping[str, str]
    """Without name and severity."""
    annotations: dict[str, str] = field(default_factory=dict)


def received(printed: str) -> list[ReceivedAlert]:
    """Read the output of `prometheus/webhook_printer.py`, in its order."""
    alerts: list[ReceivedAlert] = []
    for line in printed.splitlines():
        if title := _TITLE.fullmatch(line):
            status, name, severity, labels = title.groups()
            alerts.append(
                ReceivedAlert(
                    cast("Status", status), name, severity, dict(_LABEL.findall(labels or ""))
                )
            )
        elif alerts and (annotation := _ANNOTATION.fullmatch(line)):
            alerts[-1].annotations[annotation[1]] = annotation[2]
    return alerts
