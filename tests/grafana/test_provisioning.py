"""The files by which Grafana finds Prometheus and the dashboards."""

from typing import Any, Final

import yaml

from tests.grafana.boards import ROOT

PROVISIONING: Final = ROOT / "grafana" / "provisioning"


def _one(folder: str) -> dict[str, Any]:
    [path] = sorted((PROVISIONING / folder).glob("*.yml"))
    loaded: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return loaded


def test_prometheus_is_the_default_data_source_with_a_uid_that_stays() -> None:
    """Links out of alerts and saved views name the uid."""
    sources = {source["type"]: source for source in _one("datasources")["datasources"]}

    prometheus = sources["prometheus"]
    assert prometheus["uid"] == "prometheus"
    assert prometheus["isDefault"]
    assert sources["alertmanager"]["uid"] == "alertmanager"
    assert not any(source["editable"] for source in sources.values())


def test_grafana_counts_with_the_interval_of_scrapes() -> None:
    """`$__rate_interval` is four times as long; with less a rate would find one sample."""
    scraped = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text("utf-8"))
    prometheus = _one("datasources")["datasources"][0]

    assert prometheus["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]


def test_dashboards_are_provisioned_read_only_into_one_folder() -> None:
    """From wherever the environment says they lie."""
    [provider] = _one("dashboards")["providers"]

    assert provider["allowUiUpdates"] is False
    assert provider["disableDeletion"] is True
    assert provider["folder"]
    assert provider["options"]["path"] == "${LIVEKIT_DASHBOARDS}"
