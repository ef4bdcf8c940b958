"""Prices in the process that carries the call: those of the sidecar.

They are read when somebody asks for a cost, not before: a call that nobody asks pays nothing
for them.
"""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from livekit_exporter import files
from livekit_exporter.calls.account import Billed
from livekit_exporter.calls.turns import plausible
from livekit_exporter.record import Model, SessionStarted, UsageEstimated, UsageReported

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

    @property
    def loaded(self) -> bool:
        """True once the prices have been read."""
        return self._catalogue is not None

    def quote(self, record: Billed) -> "Quote":
        """Price usage by the same rules as the sidecar."""
        from livekit_exporter.prices import pricing

        if isinstance(record, UsageEstimated):
            record = record.as_reported()
        seconds = plausible(record.request_seconds)
        if seconds != record.request_seconds:
            # The ledger does not keep an implausible length, so it does not bill it either.
            record = replace(record, request_seconds=seconds)
        return pricing.price_record(self._in_force(), record)

    def legs(self, started: SessionStarted, ended_at: float) -> list[UsageReported]:
        """List the platform legs of a call as the sidecar is configured: what its length costs."""
        from livekit_exporter.prices import legs

        call = legs.Call(
            session=started.session,
            agent=started.agent,
            labels=started.labels,
            started_at=started.at,
            ended_at=ended_at,
        )
        return legs.usage(self._in_force(), call)

    def named(self, model: Model) -> Model:
        """Name a model as metrics do: its provider by the catalogue's name."""
        provider = self._in_force().provider(model.provider, model.label)
        return replace(model, provider=provider, model=model.model or "unknown")

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
