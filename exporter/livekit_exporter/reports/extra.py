"""The error of a report whose package is not installed."""


class ExtraError(Exception):
    """Something needs a package that is not installed; the message says how to install it."""

    def __init__(self, what: str, package: str) -> None:
        super().__init__(
            f"{what} needs {package}; install it with: pip install 'livekit-exporter[reports]'"
        )
