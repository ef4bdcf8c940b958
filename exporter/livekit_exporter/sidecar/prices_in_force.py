"""Which prices hold: the shipped ones, or those with the operator's file and legs over them.

Agents price their running calls with the same ones: merged prices are left, compiled,
in the data directory, where a job reads them without parsing YAML.
"""

from pathlib import Path

from livekit_exporter import files
from livekit_exporter.prices import catalogue
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.files import compile, overlay  # noqa: A004 - it compiles prices
from livekit_exporter.prices.files.located import PriceFileError
from livekit_exporter.sidecar.config.settings import Config, condition
from livekit_exporter.sidecar.config.sources import ConfigError, hint


def load(config: Config) -> tuple[Catalogue, str | None]:
    """The prices in force, and merged ones as agents are to read them.

    Args:
        config: Settings; says which price file and which platform legs there are.

    Raises:
        ConfigError: The price file cannot be read or has mistakes, or a leg has no price.
    """
    file = config.prices.file
    if file is None and not config.platform.legs:
        return catalogue.load(), None
    try:
        merged = compile.compiled(compile.shipped()) if file is None else overlay.load(file)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"prices.file: cannot read '{file}': {reason}") from error
    except PriceFileError as error:
        raise ConfigError(f"prices.file: {error}") from error
    merged["legs"] = [
        {"price": price, "when": condition(calls)} for price, calls in config.platform.legs.items()
    ]
    platform = [entry["id"] for entry in merged["entries"] if entry["stage"] == "platform"]
    for price in config.platform.legs:
        if price not in platform:
            raise ConfigError(
                f"platform.legs: '{price}' is no price of stage platform"
                f"{hint(price, platform) or '; known are ' + ', '.join(platform)}"
            )
    return catalogue.from_compiled(merged), compile.rendered(merged)


def share(merged: str | None, root: Path) -> None:
    """Leave merged prices in a data directory for its agents; without any, take old ones away.

    Raises:
        OSError: The directory cannot be written.
    """
    target = files.prices(root)
    if merged is None:
        target.unlink(missing_ok=True)
        return
    hidden = target.with_name(f".{target.name}.tmp")
    hidden.write_text(merged, "utf-8")
    hidden.chmod(files.file_mode(root))
    hidden.replace(target)
