"""The choices at the top of a dashboard."""

from typing import Final

from grafana_foundation_sdk.builders.dashboard import DatasourceVariable, QueryVariable
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.dashboard import VariableRefresh, VariableSort

from livekit_exporter import contract

PROMETHEUS: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
"""The data source of every query: the one chosen at the top."""

WORKER_LOAD: Final = "lk_agents_worker_load"
"""A metric of LiveKit's own, by which its workers are found."""


def datasource() -> DatasourceVariable:
    """Variable for the Prometheus data source."""
    return DatasourceVariable("datasource").label("Data source").type("prometheus")


def job() -> QueryVariable:
    """Variable for the job of the exporters."""
    return _values_of("job", "Job", contract.BUILD_INFO.full_name)


def worker() -> QueryVariable:
    """Variable for the job of LiveKit's workers."""
    return _values_of("job", "Worker job", WORKER_LOAD, name="worker")


def agent() -> QueryVariable:
    """Variable for agents."""
    return _values_of("agent", "Agent", f'{contract.SESSIONS.full_name}{{job=~"$job"}}')


def provider() -> QueryVariable:
    """Variable for the providers that the chosen agents use."""
    chosen = 'job=~"$job", agent=~"$agent"'
    return _values_of("provider", "Provider", f"{contract.REQUESTS.full_name}{{{chosen}}}")


def model() -> QueryVariable:
    """Variable for the models that the chosen providers serve."""
    chosen = 'job=~"$job", agent=~"$agent", provider=~"$provider"'
    return _values_of("model", "Model", f"{contract.REQUESTS.full_name}{{{chosen}}}")


def _values_of(label: str, title: str, series: str, name: str | None = None) -> QueryVariable:
    return (
        QueryVariable(name or label)
        .label(title)
        .datasource(PROMETHEUS)
        .query(f"label_values({series}, {label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
    )
