"""What a running call costs: the sidecar's prices, in the process that carries the call.

Prices are read when somebody asks for a cost, not before: a call that nobody asks
pays nothing for them.
"""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from livekit_exporter import files
from livekit_exporter.calls.turns import plausible
from livekit_exporter.record import SessionStarted, UsageReported

if TYPE_CHECKING:
    from livekit_exporter.prices.catalogue import Catalogue
    from livekit_exporter.prices.pricing import Quote


class Prices:
    """The prices that the sidecar left in a data directory, or the shipped ones.

    May be shared between threads; at worst both read them.

    Args:
        data_dir: The data directory; without one, the shipped prices hold.
    """

    def __init__(self, data_dir: Path | None = None) -> None:
        self._data_dir = data_dir
        self._catalogue: Catalogue | None = None

    def quote(self, record: UsageReported) -> "Quote":
        """What usage costs, by the same rules as in the sidecar."""
        from livekit_exporter.prices import pricing

        seconds = plausible(record.request_seconds)
        if seconds != record.request_seconds:
            # The ledger keeps no length that is none, so it bills none.
            record = replace(record, request_seconds=seconds)
        return pricing.price_record(self._in_force(), record)

    def legs(self, started: SessionStarted, ended_at: float) -> list[UsageReported]:
        """What a call that is over costs by its length, as the sidecar's configuration says."""
        from livekit_exporter.prices import legs

        call = legs.Call(
            session=started.session,
            agent=started.agent,
            labels=started.labels,
            started_at=started.at,
            ended_at=ended_at,
        )
        return legs.usage(self._in_force(), call)

    def provider(self, record: UsageReported) -> str:
        """Who is billed for usage, by the name that metrics have for them."""
        return self._in_force().provider(record.provider, record.label)

    def _in_force(self) -> "Catalogue":
        if self._catalogue is None:
            self._catalogue = _read(self._data_dir)
        return self._catalogue


def _read(data_dir: Path | None) -> "Catalogue":
    from livekit_exporter.prices import catalogue

    if data_dir is not None:
        with suppress(OSError, ValueError, KeyError):
            return catalogue.read(files.prices(data_dir))
    return catalogue.load()
