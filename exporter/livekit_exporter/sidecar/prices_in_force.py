"""Loads the prices in force: the shipped ones, or with the operator's file and legs over them."""

from livekit_exporter.prices import catalogue
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.files import compile, overlay  # noqa: A004 - it compiles prices
from livekit_exporter.prices.files.located import PriceFileError
from livekit_exporter.sidecar.config.settings import Config
from livekit_exporter.sidecar.config.sources import ConfigError, hint
from livekit_exporter.sidecar.config.values import condition


def load(config: Config) -> tuple[Catalogue, str | None]:
    """Load the prices in force.

    Args:
        config: Settings; `prices.file` and `platform.legs` change the shipped prices.

    Returns:
        The catalogue, and its compiled text for agents; `None` where the shipped prices hold.

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
