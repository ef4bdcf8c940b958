"""Settings of the sidecar, for commands that work on what it keeps."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from livekit_exporter import files
from livekit_exporter.cli.errors import one_line_for
from livekit_exporter.cli.parameters import CONFIG_VARIABLE

if TYPE_CHECKING:
    from livekit_exporter.sidecar.config.settings import Config


def load(config: Path | None = None, **flags: str | None) -> "Config":
    """Read the configuration file, the environment and flags; exit with one line on a mistake.

    Args:
        config: The file; else the one that the environment names, else none.
        flags: Settings by their names, over those of the file.
    """
    from livekit_exporter.sidecar.config import settings

    named = config or os.environ.get(CONFIG_VARIABLE)
    with one_line_for(settings.ConfigError):
        return settings.load(Path(named) if named else None, os.environ, flags)


def ledger(config: "Config") -> Path | str:
    """Find the ledger that a sidecar with these settings keeps: its file, or its URL."""
    from livekit_exporter.sidecar.config.settings import ConfigError

    with one_line_for(ConfigError):
        return config.ledger.where(config.data_dir)


def ledger_at(place: str) -> Path | str:
    """Turn a data directory into the file of its ledger; a URL stays as it is."""
    return place if "://" in place else files.ledger(Path(place).expanduser().absolute())
