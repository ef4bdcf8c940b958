"""The metric contract, and that the rest of the repository keeps to it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from livekit_exporter import contract
from livekit_exporter.contract import (
    FAMILIES,
    LATENCY_BUCKETS,
    Family,
    Kind,
)

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "exporter" / "livekit_exporter"
SOURCES = sorted(PACKAGE.rglob("*.py"))
METRIC_CLASSES = {"Counter", "Gauge", "Histogram", "Summary", "Info", "Enum"}
BASE_UNITS = ("seconds", "bytes", "usd")

families = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def strings(tree: ast.AST) -> Iterator[str]:
    """Every string literal that is not a docstring."""
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
        ):
            yield node.value


@families
def test_name_follows_the_rules(family: Family) -> None:
    """Lower case with underscores, one of two prefixes, nothing that Prometheus reserves."""
    assert re.fullmatch(r"livekit_(agent|exporter)_[a-z]+(_[a-z0-9]+)*", family.name)
    assert not family.name.endswith(
        ("_total", "_count", "_sum", "_bucket", "_created", "_info_info")
    )


@families
def test_a_unit_in_the_name_is_declared(family: Family) -> None:
    """A name that ends in a base unit has that unit, so that OpenMetrics can say so."""
    ending = family.name.rpartition("_")[2]

    if ending in BASE_UNITS:
        assert family.unit == ending or family.name.endswith(f"_per_{ending.removesuffix('s')}")
    elif family.unit:
        assert family.unit == ending


@families
def test_help_is_one_sentence(family: Family) -> None:
    """The help text says what is counted, begins with a capital and ends with a full stop."""
    assert family.help[0].isupper()
    assert family.help.endswith(".")
    assert "\n" not in family.help


@families
def test_labels_are_minimal(family: Family) -> None:
    """No target labels, none with the name of a unit, none twice, no ids of calls or people."""
    forbidden = {"type", "job", "instance", "env", "session", "session_id", "room", "user", "le"}

    assert len(set(family.labels)) == len(family.labels)
    assert not forbidden & set(family.labels)


@families
def test_buckets_rise(family: Family) -> None:
    """Bounds stand in order, each once, and the last one is left to the client library."""
    assert list(family.buckets) == sorted(set(family.buckets))
    assert float("inf") not in family.buckets


@families
def test_stages_initialised_at_zero_exist(family: Family) -> None:
    """A series is initialised only for a stage that exists."""
    assert family.init_at_zero <= set(contract.STAGES)


def test_names_are_distinct() -> None:
    """Two families never share a series."""
    series = [name for family in FAMILIES for name in family.series()]

    assert len(set(series)) == len(series)


def test_every_family_of_the_module_is_listed() -> None:
    """A family that is not in FAMILIES would be on no page and in no document."""
    defined = [value for value in vars(contract).values() if isinstance(value, Family)]

    assert len(defined) > 40
    assert list(FAMILIES) == defined


@pytest.mark.parametrize("threshold", [0.8, 1.5, 3.5, 5.0])
def test_latency_threshold_is_a_bucket_bound(threshold: float) -> None:
    """A classic histogram can only answer for its bounds."""
    assert threshold in LATENCY_BUCKETS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"name": "turns"}, "must start with", id="no prefix"),
        pytest.param({"name": "livekit_agent_turns_total"}, "leave out '_total'", id="total"),
        pytest.param(
            {"name": "livekit_agent_wait", "unit": "seconds"}, "end in its unit", id="unit"
        ),
        pytest.param({"name": "livekit_agent_wait", "buckets": (1.0,)}, "no bucket", id="buckets"),
    ],
)
def test_a_wrong_family_names_itself_and_the_remedy(
    arguments: dict[str, object], message: str
) -> None:
    """Whoever adds a metric learns at once what to change."""
    with pytest.raises(ValueError, match=message) as caught:
        Family(kind=Kind.COUNTER, help="Turns.", **arguments)  # type: ignore[arg-type]

    assert repr(arguments["name"]) in str(caught.value)


def test_a_histogram_needs_buckets() -> None:
    """The client library's defaults misjudge voice latencies."""
    with pytest.raises(ValueError, match="takes a bucket list"):
        Family("livekit_agent_wait_seconds", Kind.HISTOGRAM, "Wait.", unit="seconds")


def test_no_other_module_spells_a_metric_name() -> None:
    """A name in a second place is a name that can drift."""
    prefixes = re.compile(r"^(livekit_agent|livekit_exporter)_[a-z]")
    known = {name for family in FAMILIES for name in (family.name, *family.series())}
    spelt = {
        (path.relative_to(PACKAGE).as_posix(), text)
        for path in SOURCES
        if path.name != "contract.py"
        for text in strings(ast.parse(path.read_text("utf-8")))
        if text in known or prefixes.match(text)
    }

    assert len(SOURCES) > 10
    assert not spelt


def test_no_module_makes_a_metric_of_its_own() -> None:
    """The registry is built from the contract; the client library's metric classes stay unused."""
    made = {
        path.relative_to(PACKAGE).as_posix()
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("prometheus_client")
        and METRIC_CLASSES & {alias.name for alias in node.names}
    }

    assert not made


def test_readme_table_is_fresh() -> None:
    """The README shows the contract as it is; `make generate` writes it."""
    page = (ROOT / "README.md").read_text("utf-8")
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels) or "none"
        assert f"| `{family.full_name}` | {family.kind} | {labels} | {family.help} |" in page
