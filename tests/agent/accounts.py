"""Followers of a journal that are told records without one."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import pytest

from livekit_exporter.agent.account import LiveAccount
from livekit_exporter.agent.prices import Prices
from livekit_exporter.agent.summary import Summary
from livekit_exporter.prices import catalogue
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.record import Record


class Loads:
    """Counts how often a catalogue of prices is loaded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        for name in ("load", "read"):
            monkeypatch.setattr(catalogue, name, self._counting(getattr(catalogue, name)))

    def _counting(self, load: Callable[..., Catalogue]) -> Callable[..., Catalogue]:
        def counted(*args: Path) -> Catalogue:
            self.count += 1
            return load(*args)

        return counted


class _Follower(Protocol):
    def take(self, record: Record) -> None: ...


class Followed:
    """An account with the followers behind it, told each record as the writer tells it."""

    def __init__(self, prices: Prices | None = None) -> None:
        self.account = LiveAccount(prices or Prices())
        self.followers: list[_Follower] = []

    def take(self, *records: Record) -> None:
        """Tell records, each to the account first."""
        for record in records:
            self.account.take(record)
            for follower in self.followers:
                follower.take(record)


def summarise(
    session: str, records: Iterable[Record], slow: float | None, prices: Prices | None = None
) -> None:
    """Log a call from its first record to its last."""
    followed = Followed(prices)
    summary = Summary(session, followed.account, slow)
    followed.followers.append(summary)
    followed.take(*records)
    followed.account.end()
    summary.end()
