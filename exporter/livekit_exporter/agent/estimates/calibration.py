"""What the ledger knows of the sizes of requests, as the sidecar left it for agents."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from livekit_exporter import files
from livekit_exporter.calls.sizes import Sizes
from livekit_exporter.record import Model


def known(root: Path) -> Callable[[Model], Sizes | None]:
    """Look up what finished requests of a model say; the file is read when somebody asks.

    Args:
        root: The data directory.
    """

    @cache
    def read() -> Mapping[tuple[str, str, str], Sizes]:
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            said = json.loads(files.calibration(root).read_bytes())
            return {
                (row["stage"], row["provider"], row["model"]): Sizes.read(row)
                for row in said["models"]
            }
        return {}

    return lambda model: read().get((model.stage, model.provider, model.model))
