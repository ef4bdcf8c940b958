"""Which prices hold: the shipped ones, or those with the operator's file over them.

Agents price their running calls with the same ones: merged prices are left, compiled,
in the data directory, where a job reads them without parsing YAML.
"""

from pathlib import Path

from livekit_exporter import data_directory
from livekit_exporter.prices import catalogue, compile, overlay  # noqa: A004 - it compiles prices
from livekit_exporter.prices.catalogue import Catalogue


def load(file: Path | None) -> tuple[Catalogue, str | None]:
    """The prices in force, and merged ones as agents are to read them.

    Args:
        file: The operator's price file, if there is one.

    Raises:
        OSError: It cannot be read.
        PriceFileError: There are mistakes in it.
    """
    if file is None:
        return catalogue.load(), None
    merged = overlay.load(file)
    return catalogue.from_compiled(merged), compile.rendered(merged)


def share(merged: str | None, root: Path) -> None:
    """Leave merged prices in a data directory for its agents; without any, take old ones away.

    Raises:
        OSError: The directory cannot be written.
    """
    target = data_directory.prices(root)
    if merged is None:
        target.unlink(missing_ok=True)
        return
    hidden = target.with_name(f".{target.name}.tmp")
    hidden.write_text(merged, "utf-8")
    hidden.chmod(data_directory.file_mode(root))
    hidden.replace(target)
