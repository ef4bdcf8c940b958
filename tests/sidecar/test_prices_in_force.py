"""The operator's own prices, in the sidecar and in the agents of its data directory."""

from pathlib import Path

from livekit_exporter.agent.tally import Tally
from tests.conftest import Serve
from tests.records import started, thought, write_journal
from tests.sidecars import total, wait_until

OWN = """\
schema: 1
currency: USD
providers:
  openai: {hosts: [api.openai.com]}
entries:
  - id: openai/house-model
    stage: llm
    basis: tokens
    prices:
      - {per_1m: {input: 1, output: 10}, source: our contract, checked: 2026-11-01}
"""


def serve_with(text: str, tmp_path: Path, serve: Serve) -> str:
    """Serve with a price file; what the sidecar says about it when it ends at once."""
    file, config = tmp_path / "own.yaml", tmp_path / "config.yaml"
    file.write_text(text)
    config.write_text(f"prices: {{file: {file}}}\n")
    sidecar = serve("--config", str(config))
    assert sidecar.wait() == 1
    return sidecar.said


def test_own_prices_hold_in_the_sidecar_and_in_the_running_call(
    tmp_path: Path, data_dir: Path, serve: Serve
) -> None:
    """1 000 tokens in at 1 USD and 100 out at 10 USD per million: 0.002 USD, in both places."""
    file, config = tmp_path / "own.yaml", tmp_path / "config.yaml"
    file.write_text(OWN)
    config.write_text(f"prices: {{file: {file}}}\n")
    sidecar = serve("--config", str(config))
    asked = thought(model="house-model", tokens=100)
    write_journal(data_dir, [started(), asked], "s1")

    wait_until(lambda: total(sidecar.samples(), "livekit_agent_cost_usd_total") > 0)
    assert abs(total(sidecar.samples(), "livekit_agent_cost_usd_total") - 0.002) < 1e-9
    tally = Tally(data_dir)
    tally.take(asked)
    assert float(tally.cost) == 0.002


def test_own_prices_reach_agents_also_of_a_directory_that_could_not_be_used_at_first(
    tmp_path: Path, data_dir: Path, serve: Serve
) -> None:
    """Otherwise a running call would be priced with others, and nobody would say so."""
    file, config = tmp_path / "own.yaml", tmp_path / "config.yaml"
    file.write_text(OWN)
    config.write_text(f"prices: {{file: {file}}}\n")
    data_dir.write_text("not a directory")
    sidecar = serve("--config", str(config))
    wait_until(lambda: str(data_dir) in sidecar.get("/-/ready")[1], "it says why")

    data_dir.unlink()
    sidecar.wait_ready()

    assert "house-model" in (data_dir / "prices.json").read_text()


def test_without_a_file_of_ones_own_the_shipped_prices_come_back(
    data_dir: Path, serve: Serve
) -> None:
    """Old prices must not stay behind in the data directory."""
    data_dir.mkdir()
    (data_dir / "prices.json").write_text("{}")
    serve().wait_ready()

    assert not (data_dir / "prices.json").exists()


def test_a_broken_price_file_is_said_and_nothing_is_served(tmp_path: Path, serve: Serve) -> None:
    """Prices nobody can read are not replaced by others."""
    said = serve_with(OWN.replace("per_1m", "per_1k"), tmp_path, serve)

    assert "own.yaml:" in said
    assert "per_1k" in said
    assert "Traceback" not in said
