"""What many tests need: a data directory, and sidecar processes that end with the test."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import HealthCheck, settings

from livekit_exporter.agent.rate_limited_log import problems
from tests.intake import Intake
from tests.sidecars import Sidecar

if TYPE_CHECKING:
    from tests.postgres import Postgres

# Time says nothing on a machine that runs all tests at once.
settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy machine")


def pytest_configure() -> None:
    """Keep numpy's threads off the cores of the other tests: its matrices here are small."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


Serve: TypeAlias = Callable[..., Sidecar]


@pytest.fixture(autouse=True)
def _log_every_problem() -> None:
    """Let a test see a line that another one has caused within the same minute."""
    problems.reset()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory; what makes it is the test's own business."""
    return tmp_path / "data"


@pytest.fixture
def serve(tmp_path: Path, data_dir: Path) -> Iterator[Serve]:
    """Start `livekit-exporter serve` on the data directory, any number of times."""
    begun: list[Sidecar] = []

    def begin(*arguments: str, directory: Path = data_dir) -> Sidecar:
        begun.append(Sidecar(directory, tmp_path / f"log-{len(begun)}", *arguments))
        return begun[-1]

    yield begin
    for sidecar in begun:
        sidecar.kill()


@pytest.fixture
def intake(data_dir: Path) -> Iterator[Intake]:
    """A sidecar's loop on the data directory."""
    made = Intake(data_dir)
    yield made
    made.ingest.close()


@pytest.fixture(scope="session")
def postgres() -> "Iterator[Postgres]":
    """A PostgreSQL server for all tests of this process that do not kill it."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install -e '.[postgres]'")
    from tests.postgres import Postgres

    with Postgres() as server:
        yield server


@pytest.fixture
def database_url(postgres: "Postgres") -> str:
    """An empty PostgreSQL database."""
    return postgres.url(postgres.new_database())
