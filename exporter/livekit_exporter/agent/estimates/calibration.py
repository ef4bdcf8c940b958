"""Reads the sizes of finished requests that the sidecar wrote for agents."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from livekit_exporter import files
from livekit_exporter.calls.sizes import Sizes
from livekit_exporter.record import Model


def ledger_sizes(root: Path) -> Callable[[Model], Sizes | None]:
    """Return a look-up of the sizes of a model's requests; the first one reads the file.

    Args:
        root: The data directory.
    """

    @cache
    def read() -> Mapping[tuple[str, str, str], Sizes]:
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            written = json.loads(files.calibration(root).read_bytes())
            return {
                (row["stage"], row["provider"], row["model"]): Sizes.read(row)
                for row in written["models"]
            }
        return {}

    return lambda model: read().get((model.stage, model.provider, model.model))
