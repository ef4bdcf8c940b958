"""The whole stack for tests: free ports, short intervals, simulated calls in a hurry."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, TypeAlias

from deploy.configuration import Pace
from deploy.stack import Options, Stack

RunStack: TypeAlias = Callable[..., AbstractContextManager[Stack]]

QUICK: Final = Pace(scrape_interval="1s", rule_interval="1s", rule_for="1s", notify="1s")
"""Nobody waits: a condition that holds for two evaluations is an alert at the receiver."""


def stack(
    data_dir: Path,
    *demo: str,
    pace: Pace = QUICK,
    exporter: Mapping[str, Mapping[str, object]] | None = None,
) -> Stack:
    """A stack to be entered.

    Args:
        data_dir: Folder for everything that it writes.
        demo: Arguments of `livekit-exporter demo`, for example `"--llm-delay", "10"`; calls go
            on until the stack ends.
        pace: Durations to shorten in the repository's configuration.
        exporter: Settings of the sidecar, by section.
    """
    return Stack(
        Options(
            data_dir=data_dir,
            free_ports=True,
            pace=pace,
            demo=("--duration", "inf", *demo),
            exporter=exporter or {},
            grafana=False,
        )
    )
