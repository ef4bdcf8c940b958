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
        _replace(target, merged)


def share_sizes(sizes: Mapping[SizesKey, Sizes], root: Path) -> None:
    """Write the sizes of finished requests, which agents estimate with; nothing where none are.

    Raises:
        OSError: The directory cannot be written.
    """
    if sizes:
        models = [{**key._asdict(), **asdict(known)} for key, known in sorted(sizes.items())]
        _replace(files.calibration(root), json.dumps({"models": models}))


def _replace(target: Path, text: str) -> None:
    hidden = target.with_name(f".{target.name}.tmp")
    hidden.write_text(text, "utf-8")
    hidden.chmod(files.file_mode(target.parent))
    hidden.replace(target)
