"""Writes the files that agents read from the data directory: merged prices and request sizes."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from livekit_exporter import files
from livekit_exporter.calls.sizes import Sizes
from livekit_exporter.ledger.rows import SizesKey


def share_prices(merged: str | None, root: Path) -> None:
    """Write merged prices, or remove those of an earlier configuration when there are none.

    Args:
        merged: Compiled prices, so that a job reads them without parsing YAML.
        root: The data directory.

    Raises:
        OSError: The directory cannot be written.
    """
    target = files.prices(root)
    if merged is None:
        target.unlink(missing_ok=True)
    else:
        files.write_atomically(target, merged.encode())


def share_sizes(sizes: Mapping[SizesKey, Sizes], root: Path) -> None:
    """Write the sizes of finished requests, which agents estimate with; nothing where none are.

    Raises:
        OSError: The directory cannot be written.
    """
    if sizes:
        models = [{**key._asdict(), **asdict(known)} for key, known in sorted(sizes.items())]
        files.write_atomically(files.calibration(root), json.dumps({"models": models}).encode())
