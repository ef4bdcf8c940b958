"""The operator's own prices, in the sidecar and in the agents of its data directory."""

import signal
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from livekit_exporter import files
from livekit_exporter.agent.account import LiveAccount
from livekit_exporter.agent.prices import Prices
from livekit_exporter.record import Usage
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
    account = LiveAccount(Prices(data_dir))
    account.put(asked)
    assert float(account.cost) == 0.002


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


def test_unknown_unreported_and_free_are_three_answers_and_three_metrics(
    tmp_path: Path, data_dir: Path, serve: Serve
) -> None:
    """Only one of them means that money is missing without anybody knowing how much."""
    file, config = tmp_path / "own.yaml", tmp_path / "config.yaml"
    file.write_text(
        f"{OWN}  - id: openai/own-model\n    stage: llm\n    free: self-hosted behind our proxy\n"
    )
    config.write_text(f"prices: {{file: {file}}}\n")
    sidecar = serve("--config", str(config))
    silent = replace(thought(model="house-model"), usage=Usage())
    asked = [thought(model="gpt-99"), silent, thought(model="own-model")]
    write_journal(data_dir, [started(), *asked], "s1")

    wait_until(lambda: total(sidecar.samples(), "livekit_agent_requests_total") == 3)
    page = sidecar.samples()
    answers = {
        family: [
            model
            for model in ("gpt-99", "house-model", "own-model")
            if total(page, f"livekit_agent_{family}_requests_total", model=model)
            or total(page, f"livekit_agent_requests_{family}_total", model=model)
        ]
        for family in ("unpriced", "without_usage", "free")
    }
    assert answers == {
        "unpriced": ["gpt-99"],
        "without_usage": ["house-model"],
        "free": ["own-model"],
    }
    assert total(page, "livekit_agent_cost_usd_total") == 0
    with closing(sqlite3.connect(files.ledger(data_dir))) as ledger:
        rows = dict(ledger.execute("SELECT model, status FROM usage"))
    assert rows == {"gpt-99": "unpriced", "house-model": "nothing_to_bill", "own-model": "priced"}


def test_prices_are_read_again_on_sighup(tmp_path: Path, data_dir: Path, serve: Serve) -> None:
    """From then on; what was priced keeps its price, and a mistake changes nothing."""
    file, config = tmp_path / "own.yaml", tmp_path / "config.yaml"
    file.write_text(OWN)
    config.write_text(f"prices: {{file: {file}}}\n")
    sidecar = serve("--config", str(config))
    write_journal(data_dir, [started(), thought(model="house-model", tokens=100)], "s1")

    def cost() -> float:
        return round(total(sidecar.samples(), "livekit_agent_cost_usd_total"), 9)

    def reloaded() -> float:
        return total(sidecar.samples(), "livekit_exporter_config_last_reload_successful")

    wait_until(lambda: cost() == 0.002)

    file.write_text(OWN.replace("input: 1,", "input: one,"))
    sidecar.signal(signal.SIGHUP)
    wait_until(lambda: reloaded() == 0, "the mistake is shown")
    assert f"{file}:10: entry 'openai/house-model'" in sidecar.said

    file.write_text(OWN.replace("input: 1,", "input: 3,"))
    sidecar.signal(signal.SIGHUP)
    wait_until(lambda: reloaded() == 1)
    second = (
        replace(started(), session="s2"),
        replace(thought(model="house-model", tokens=100), session="s2"),
    )
    write_journal(data_dir, second, "s2")
    wait_until(lambda: cost() == 0.006, "the second call costs 0.004")
    account = LiveAccount(Prices(data_dir))
    account.put(second[1])
    assert float(account.cost) == 0.004
