"""What finished requests in the ledger say of their models, left for agents to estimate with."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from livekit_exporter import files
from livekit_exporter.calls.sizes import Sizes
from livekit_exporter.ledger.rows import SizesKey


def share(sizes: Mapping[SizesKey, Sizes], root: Path) -> None:
    """Write the sizes into a data directory, unless there are none.

    Raises:
        OSError: The directory cannot be written.
    """
    if not sizes:
        return
    models = [{**key._asdict(), **asdict(known)} for key, known in sorted(sizes.items())]
    target = files.calibration(root)
    hidden = target.with_name(f".{target.name}.tmp")
    hidden.write_text(json.dumps({"models": models}), "utf-8")
    hidden.chmod(files.file_mode(root))
    hidden.replace(target)
