"""Spend today on the dashboard is the ledger's, when `increase()` is not.

The clock is real.  Only the time zone is made for the test: its midnight comes some
seconds after the sidecar starts.
"""

import sqlite3
import struct
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.grafana import boards
from tests.integration.test_every_query import as_grafana_asks
from tests.integration.test_prometheus import Prometheus
from tests.integration.test_prometheus import pytestmark as pytestmark  # noqa: PLC0414 - the same
from tests.records import spoken, started, thought, write_journal
from tests.sidecars import Sidecar, wait_until

SECONDS_TO_MIDNIGHT = 12
DAY_SECONDS = 86_400


def make_zone(folder: Path, midnight: float) -> None:
    """Write the zone `Test/Soon`, in which a day begins at a Unix time, as zoneinfo reads it."""
    offset = -int(midnight) % DAY_SECONDS
    offset -= DAY_SECONDS if offset > DAY_SECONDS // 2 else 0
    header = b"TZif" + bytes(16) + struct.pack(">6l", 0, 0, 0, 0, 1, 5)
    (folder / "Test").mkdir(parents=True)
    (folder / "Test" / "Soon").write_bytes(header + struct.pack(">lbb", offset, 0, 0) + b"SOON\0")


def spend_today() -> str:
    """What the panels of that name ask, on every dashboard the same."""
    asked = {
        as_grafana_asks(query.expression)
        for path in boards.FILES
        for query in boards.panel_queries(boards.read(path))
        if " Spend today A" in query.where or query.where.endswith("Spend today")
    }
    assert len(asked) == 1, asked
    return asked.pop()


def in_ledger(data_dir: Path, since: float) -> float:
    """Cost since a Unix time, asked with nothing but SQLite."""
    with closing(sqlite3.connect(data_dir / "ledger.db")) as ledger:
        query = "SELECT coalesce(sum(cost_usd), 0) FROM usage WHERE at >= ?"
        return float(ledger.execute(query, (since,)).fetchone()[0])


def call(data_dir: Path, name: str, model: str = "gpt-4.1-mini") -> None:
    """A finished call, now."""
    now = time.time()
    write_journal(
        data_dir,
        [started(name, at=now), thought(name, at=now, model=model), spoken(name, at=now)],
        name,
    )


def test_spend_today_is_exact_over_midnight_restart_and_a_new_model(
    tmp_path: Path, data_dir: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a billionth of a dollar, where the counter's increase shows nothing at all."""
    midnight = float(int(time.time()) + SECONDS_TO_MIDNIGHT)
    make_zone(tmp_path / "zones", midnight)
    monkeypatch.setenv("PYTHONTZPATH", str(tmp_path / "zones"))
    config = tmp_path / "exporter.yml"
    config.write_text("timezone: Test/Soon\n")
    sidecar = serve("--config", str(config))
    prometheus = Prometheus(tmp_path / "prometheus", sidecar.url.removeprefix("http://"))
    try:
        panel = spend_today()

        def exact(since: float, calls: int) -> bool:
            """The panel shows the ledger's sum, and the ledger has all calls."""
            with closing(sqlite3.connect(data_dir / "ledger.db")) as ledger:
                (there,) = ledger.execute("SELECT count(*) FROM sessions").fetchone()
            shown = prometheus.value(panel)
            owed = in_ledger(data_dir, since)
            return there == calls and shown is not None and abs(shown - owed) < 1e-9

        call(data_dir, "evening")
        wait_until(lambda: exact(midnight - DAY_SECONDS, 1), "the evening is shown")
        yesterday = in_ledger(data_dir, 0.0)
        assert yesterday > 0

        wait_until(lambda: time.time() > midnight, "midnight")
        wait_until(lambda: prometheus.value(panel) == 0, "the new day begins at nothing")

        call(data_dir, "morning")
        wait_until(lambda: exact(midnight, 2), "the morning is shown")

        sidecar.kill()
        sidecar = again(serve, sidecar, config)
        call(data_dir, "new-model", model="llama-3.3-70b-versatile-unheard-of")
        call(data_dir, "first-of-its-kind", model="gpt-4.1")
        wait_until(lambda: exact(midnight, 4), "restart and new model are shown")
        assert in_ledger(data_dir, midnight) < in_ledger(data_dir, 0.0)

        of_the_model = 'livekit_agent_cost_usd_total{model="gpt-4.1"}'
        wait_until(lambda: prometheus.value(of_the_model) is not None, "its series is scraped")
        counted = prometheus.value(of_the_model)
        assert counted is not None
        assert counted > 0
        grown = prometheus.value(f"increase({of_the_model}[1h])")
        assert not grown, "a series that is born at its value has not grown, says increase()"
    finally:
        prometheus.stop()


def again(serve: Serve, before: Sidecar, config: Path) -> Sidecar:
    """A sidecar in the place of one that was killed, where Prometheus looks for it."""
    address = before.url.removeprefix("http://")
    return serve("--config", str(config), "--listen-address", address)
