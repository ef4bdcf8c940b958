"""A real Prometheus scrapes a real sidecar that was fed from a recorded stream."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from livekit_exporter.agent.replay import replay
from livekit_exporter.contract import FAMILIES
from tests.conftest import Serve
from tests.sidecars import PATIENCE_SECONDS, Sidecar, total, wait_until

STREAM = Path(__file__).parents[1] / "data" / "stream.jsonl"

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="prometheus and promtool are not installed (Debian: apt-get install prometheus)",
)


class Prometheus:
    """A server that scrapes one target every second.

    Args:
        folder: Where its configuration and data are.
        target: `host:port` of the sidecar.
    """

    def __init__(self, folder: Path, target: str) -> None:
        folder.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        config = folder / "prometheus.yml"
        config.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
                    "scrape_configs": [
                        {"job_name": "agents", "static_configs": [{"targets": [target]}]}
                    ],
                }
            )
        )
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={config}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                    "--enable-feature=exemplar-storage",
                ],
                stderr=log,
                stdout=log,
            )

    def ask(self, path: str, **parameters: str) -> list[dict[str, object]]:
        """Result of an API call; nothing while the server starts."""
        with (
            suppress(OSError),
            urlopen(  # noqa: S310 - our own http
                f"{self.url}/api/v1/{path}?{urlencode(parameters)}", timeout=PATIENCE_SECONDS
            ) as response,
        ):
            data: dict[str, list[dict[str, object]]] | list[dict[str, object]]
            data = json.load(response)["data"]
            return data["result"] if isinstance(data, dict) else data
        assert self.process.poll() is None, self.log.read_text()
        return []

    def value(self, query: str) -> float | None:
        """The one value of a query."""
        found = self.ask("query", query=query)
        if not found:
            return None
        value = found[0]["value"]
        assert isinstance(value, list)
        return float(value[1])

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(PATIENCE_SECONDS)


@pytest.fixture
def sidecar(data_dir: Path, serve: Serve) -> Sidecar:
    """A sidecar with one recorded call in its ledger."""
    made = serve()
    replay(STREAM, data_dir, agent="lamps")
    wait_until(lambda: total(made.samples(), "livekit_agent_sessions_closed_total") == 1)
    return made


@pytest.fixture
def prometheus(tmp_path: Path, sidecar: Sidecar) -> Iterator[Prometheus]:
    """A Prometheus that scrapes it."""
    server = Prometheus(tmp_path / "prometheus", sidecar.url.removeprefix("http://"))
    yield server
    server.stop()


def test_prometheus_stores_numbers_and_exemplars(
    prometheus: Prometheus, sidecar: Sidecar, data_dir: Path
) -> None:
    """Cost by stage, latencies with the call that they came from, and nothing rejected."""
    wait_until(lambda: prometheus.value('up{job="agents"}') == 1, "the target is up")
    page = sidecar.samples()

    for stage in ("stt", "llm", "tts"):
        stored = prometheus.value(f'sum(livekit_agent_cost_usd_total{{stage="{stage}"}})')
        assert stored is not None
        assert stored > 0
        assert stored == pytest.approx(total(page, "livekit_agent_cost_usd_total", stage=stage))
    for name, count in (("turn_latency", 3), ("eou_delay", 3), ("llm_ttft", 4), ("tts_ttfb", 3)):
        assert prometheus.value(f"sum(livekit_agent_{name}_seconds_count)") == count, name
    latency = prometheus.value(
        "histogram_quantile(0.95, sum by (le) (livekit_agent_turn_latency_seconds_bucket))"
    )
    assert latency is not None
    assert 0.88 < latency <= 2.0

    def exemplars() -> list[dict[str, object]]:
        return prometheus.ask(
            "query_exemplars",
            query="livekit_agent_turn_latency_seconds_bucket",
            start="1794990000",
            end="4102444800",
        )

    wait_until(lambda: exemplars() != [], "exemplars are stored")
    assert "session_id" in json.dumps(exemplars())
    assert data_dir.exists()


def test_prometheus_knows_type_and_help_of_every_family(prometheus: Prometheus) -> None:
    """What Grafana's query editor shows."""
    wait_until(lambda: prometheus.value('up{job="agents"}') == 1, "the target is up")
    shown = {name for family in FAMILIES for name in (family.name, family.full_name)}

    known = prometheus.ask("targets/metadata", limit="500")

    for entry in known:
        name = str(entry["metric"])
        assert name in shown, name
    helped = {(str(entry["type"]), str(entry["help"])) for entry in known}
    assert helped == {(str(family.kind), family.help) for family in FAMILIES}


@pytest.mark.parametrize(
    "accept",
    [
        "text/plain",
        "text/plain; version=0.0.4",
        "text/plain; version=1.0.0; escaping=allow-utf-8",
        "*/*",
    ],
)
def test_promtool_accepts_the_page(sidecar: Sidecar, accept: str) -> None:
    """Names, types, help and units as Prometheus wants them."""
    status, page = sidecar.get("/metrics", accept)
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, text=True, check=False
    )

    assert status == 200
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
