"""The page: every family, both formats, values that survive a restart."""

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics import parser
from prometheus_client.parser import text_string_to_metric_families as prometheus_text

from livekit_exporter import contract
from livekit_exporter.contract import FAMILIES, Family, Kind
from livekit_exporter.ledger.rows import SeriesRow
from livekit_exporter.sidecar.config.settings import MetricsSettings
from livekit_exporter.sidecar.labels import LabelValues
from livekit_exporter.sidecar.registry import Distribution, Registry, Values
from livekit_exporter.sidecar.transaction import Transaction, exemplar
from tests.intake import Intake
from tests.records import AT, answered, asked, call, closed, heard, started, thought

TEXT = "text/plain; version=0.0.4"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
GOLDEN = Path(__file__).parents[1] / "golden" / "metrics.txt"


def open_metrics(page: str) -> list[Metric]:
    """Families of a page in the OpenMetrics format, read by the strict parser."""
    return list(parser.text_string_to_metric_families(page))  # type: ignore[no-untyped-call]


def begin(registry: Registry) -> Transaction:
    """Begin a transaction whose labels have no cap."""
    return Transaction(registry, LabelValues(lambda _: 1000))


def filled(registry: Registry) -> Transaction:
    """Something of every counter and histogram."""
    transaction = begin(registry)
    for family in FAMILIES:
        labels = tuple(
            family.values[0] if family.values else f"some-{name}"
            for name in registry.label_names(family)
        )
        if family.kind is Kind.COUNTER:
            transaction.count(family, labels, 2.0)
        elif family.kind is Kind.HISTOGRAM:
            for bound in (family.buckets[0], family.buckets[3], family.buckets[-1] * 2):
                transaction.observe(family, labels, bound, exemplar(bound, AT, "s1", "ab" * 16))
    return transaction


@pytest.mark.parametrize("accept", [TEXT, OPEN_METRICS])
def test_every_family_is_on_an_empty_page(accept: str) -> None:
    """A dashboard can be built before the first call."""
    page = Registry().render(accept).body.decode()

    for family in FAMILIES:
        name = family.name if accept == OPEN_METRICS else family.full_name
        assert f"# TYPE {name} {family.kind}\n" in page
        assert f"# HELP {name} {family.help}\n" in page


def test_families_without_labels_are_zero_from_the_start() -> None:
    """Counters of the exporter itself must be seen to rise from something."""
    page = Registry().render(TEXT).body.decode()

    assert "\nlivekit_exporter_ledger_errors_total 0.0\n" in page
    assert "\nlivekit_exporter_ledger_commit_seconds_count 0.0\n" in page


def test_nothing_is_shown_before_it_is_published() -> None:
    """A batch that does not become durable leaves no trace."""
    registry = Registry()
    before = registry.render(TEXT).body
    transaction = filled(registry)

    assert registry.render(TEXT).body == before
    registry.publish(transaction.changed)
    assert registry.render(TEXT).body != before


def test_a_batch_that_was_thrown_away_leaves_no_trace() -> None:
    """Also not in the distributions that it began to change."""
    registry = Registry()
    registry.publish(filled(registry).changed)
    before = registry.render(TEXT).body

    filled(registry)

    assert registry.render(TEXT).body == before


def test_both_formats_hold_the_same_numbers() -> None:
    """One is for Prometheus, the other for people with curl."""
    registry = Registry()
    registry.publish(filled(registry).changed)

    def numbers(families: Iterable[Metric]) -> set[tuple[str, frozenset[tuple[str, str]], float]]:
        return {
            (sample.name, frozenset(sample.labels.items()), sample.value)
            for family in families
            for sample in family.samples
        }

    text = numbers(prometheus_text(registry.render(TEXT).body.decode()))
    assert text == numbers(open_metrics(registry.render(OPEN_METRICS).body.decode()))
    assert len(text) > 300


def test_the_page_is_the_same_bytes_until_a_number_changes() -> None:
    """Ten scrapes cost one rendering; each format has a page of its own."""
    registry = Registry()
    first = registry.render(TEXT)

    assert registry.render(TEXT) is first
    assert registry.render(OPEN_METRICS) is not first
    assert registry.render(TEXT) is first
    registry.publish(filled(registry).changed)
    assert registry.render(TEXT) is not first


def test_gauges_are_those_shown_last() -> None:
    """They are states, not sums."""
    registry = Registry()
    registry.show({contract.JOURNAL_FILES: {(): 3.0}})
    page = registry.render(TEXT)
    registry.show({contract.JOURNAL_FILES: {(): 3.0}})
    assert registry.render(TEXT) is page

    registry.show({contract.JOURNAL_FILES: {(): 4.0}})
    assert b"\nlivekit_exporter_journal_files 4.0\n" in registry.render(TEXT).body


def test_exemplars_stand_in_openmetrics_only() -> None:
    """The text format has no place for them."""
    registry = Registry()
    registry.publish(filled(registry).changed)

    assert b"session_id" not in registry.render(TEXT).body
    page = registry.render(OPEN_METRICS).body.decode()
    assert re.search(
        r'^livekit_agent_turn_latency_seconds_bucket\{agent="some-agent",le="0\.05"\} 1\.0'
        r' # \{session_id="s1",trace_id="(ab){16}"\} 0\.05 1795000000\.0$',
        page,
        re.MULTILINE,
    ), page


@pytest.mark.parametrize("session", ["", "s1", "s" * 128, "s" * 5000, "é" * 200])
@pytest.mark.parametrize("trace", [None, "", "ab" * 16, "t" * 110, "t" * 111, "t" * 5000])
def test_an_exemplar_always_fits(session: str, trace: str | None) -> None:
    """OpenMetrics allows 128 characters, and a page with more would not be written at all."""
    registry = Registry()
    transaction = begin(registry)
    transaction.observe(contract.TURN_LATENCY, ("a",), 0.5, exemplar(0.5, AT, session, trace))
    registry.publish(transaction.changed)

    page = registry.render(OPEN_METRICS).body.decode()

    (family,) = [
        family for family in open_metrics(page) if family.name == contract.TURN_LATENCY.name
    ]
    (found,) = [sample.exemplar for sample in family.samples if sample.exemplar]
    assert sum(len(name) + len(value) for name, value in found.labels.items()) <= 128
    assert session.startswith(found.labels["session_id"])


def test_hostile_label_values_are_escaped() -> None:
    """A provider may call its model anything."""
    registry = Registry()
    transaction = begin(registry)
    value = 'quote " backslash \\ newline \n } # tab \t é \u2028'
    transaction.count(contract.TURNS, (value,), 1.0)
    registry.publish(transaction.changed)

    for accept, parse in ((TEXT, prometheus_text), (OPEN_METRICS, open_metrics)):
        page = registry.render(accept).body.decode()
        values = [
            sample.labels["agent"]
            for family in parse(page)
            for sample in family.samples
            if sample.name == contract.TURNS.full_name
        ]
        assert values == [value]


def test_values_survive_a_restart() -> None:
    """Counters and histograms continue; exemplars are of the process."""
    old = Registry()
    transaction = filled(old)
    old.publish(transaction.changed)
    new = Registry()

    new.restore(old.rows(transaction.changed, AT))

    assert new.render(TEXT).body == old.render(TEXT).body
    again = filled(new)
    new.publish(again.changed)
    for family in FAMILIES:
        for labels, value in new.series(family).items():
            before = old.series(family)[labels]
            if isinstance(value, Distribution) and isinstance(before, Distribution):
                assert value.counts == [2 * number for number in before.counts]
            elif isinstance(value, float) and isinstance(before, float):
                assert value == 2 * before


def test_rows_that_the_contract_no_longer_has_are_left_out() -> None:
    """A family that was dropped, a histogram whose buckets changed."""
    registry = Registry()
    registry.restore(
        [
            SeriesRow("livekit_agent_dreams", "{}", 1.0, None, AT),
            SeriesRow(contract.TURN_LATENCY.name, '{"agent": "a"}', 1.0, (1, 2), AT),
            SeriesRow(contract.TURN_LATENCY.name, '{"agent": "a"}', 1.0, None, AT),
            SeriesRow(contract.EOU_DELAY.name, '{"tenant": "t"}', 1.0, (1, 2), AT),
            SeriesRow(contract.ACTIVE_SESSIONS.name, '{"agent": "a"}', 1.0, None, AT),
        ]
    )

    assert registry.render(TEXT).body == Registry().render(TEXT).body


def test_dropped_series_leave_the_page() -> None:
    """Those that are there from the start stay."""
    registry = Registry()
    transaction = filled(registry)
    registry.publish(transaction.changed)

    registry.drop(registry.rows(transaction.changed, AT))

    for family in FAMILIES:
        if not family.values:
            assert bool(registry.series(family)) is (not family.labels), family.name


def test_a_number_in_a_bucket_is_at_most_its_bound() -> None:
    """The bound itself is inside; what is over all of them has a bucket of its own."""
    registry = Registry()
    transaction = begin(registry)
    for amount in (0.05, 0.0500001, 20.0, 20.1):
        transaction.observe(contract.TURN_LATENCY, ("a",), amount)
    registry.publish(transaction.changed)

    (held,) = registry.series(contract.TURN_LATENCY).values()
    assert isinstance(held, Distribution)
    assert held.counts == [1, 1, *[0] * 16, 1, 1]


def per_tenant(intake: Intake, family: Family) -> dict[str, float]:
    """A counter by the last label."""
    return {
        labels[-1]: value
        for labels, value in intake.values(family).items()
        if isinstance(value, float)
    }


def take_tenants(intake: Intake, *tenants: str) -> None:
    """One call of each tenant, with one turn."""
    for number, tenant in enumerate(tenants):
        session = f"{tenant}-{number}-{id(intake)}"
        intake.take(
            replace(started(session), labels={"tenant": tenant, "secret": "x"}),
            asked(session),
            thought(session),
            answered(session),
            closed(session),
        )


def test_allowed_labels_are_on_every_series_about_agents(data_dir: Path) -> None:
    """And those that nobody allowed on none."""
    intake = Intake(data_dir, MetricsSettings(labels=("tenant",)))
    take_tenants(intake, "acme", "bell")
    page = intake.page()
    intake.ingest.close()

    for family in FAMILIES:
        for labels in intake.values(family):
            names = intake.registry.label_names(family)
            assert ("tenant" in names) is family.about_agents, family.name
            if family.about_agents:
                assert labels[-1] in {"acme", "bell"}
    assert "secret" not in page
    assert per_tenant(intake, contract.TURNS) == {"acme": 1, "bell": 1}


def test_a_call_without_an_allowed_label_is_unknown(data_dir: Path) -> None:
    """An empty label equals an absent one."""
    intake = Intake(data_dir, MetricsSettings(labels=("tenant",)))
    intake.take(*call())
    intake.ingest.close()

    assert per_tenant(intake, contract.TURNS) == {"unknown": 1}


@pytest.mark.parametrize(
    "steps",
    [
        ((), ("tenant",), ()),
        (("tenant",), (), ("tenant",)),
        (("tenant",), (), (), ()),
        ((), ("tenant",), ("tenant",), ("tenant",)),
        (("tenant",), ("tenant", "secret"), ("secret", "tenant"), ("secret",)),
    ],
    ids=str,
)
def test_sums_continue_whatever_labels_come_and_go(
    data_dir: Path, steps: tuple[tuple[str, ...], ...]
) -> None:
    """Each restart projects the old series, and counts none of them twice."""
    for restarts, names in enumerate(steps, start=1):
        intake = Intake(data_dir, MetricsSettings(labels=names))
        take_tenants(intake, "acme", "bell", "acme")
        intake.take(*call(f"untold-{restarts}"))
        intake.ingest.close()

        assert intake.counter(contract.TURNS) == 4 * restarts
        assert intake.counter(contract.SESSIONS) == 4 * restarts
        assert intake.count(contract.TURN_LATENCY) == 4 * restarts
        assert intake.sum(contract.TURN_LATENCY) == pytest.approx(4 * restarts * 0.9)


def test_a_restart_alone_changes_no_number(data_dir: Path) -> None:
    """Counters equal the ledger at any time."""
    first = Intake(data_dir)
    first.take(*call(), *call("s2"))
    before = agent_samples(first.page())
    first.ingest.close()

    second = Intake(data_dir)
    second.passes()
    after = agent_samples(second.page())
    second.ingest.close()

    assert after == before


def agent_samples(page: str) -> list[str]:
    """Lines about agents, gauges left out: they are states of the moment."""
    gauges = {family.name for family in FAMILIES if family.kind is Kind.GAUGE}
    return sorted(
        line
        for line in page.splitlines()
        if line.startswith("livekit_agent_") and line.partition("{")[0] not in gauges
    )


def test_the_page_of_a_known_call_is_known(intake: Intake) -> None:
    """Names, labels and values as operators see them; a rename shows in the diff of this file.

    Costs are left out: they follow the catalogue.
    """
    intake.take(*call(), started("s2", agent="sales"), heard("s2"))

    shown = "".join(
        f"{line}\n"
        for line in intake.page().splitlines()
        if line.startswith("# ") or (line.startswith("livekit_agent_") and "usd" not in line)
    )
    assert shown == GOLDEN.read_text(), (
        f"if this is meant, write the page of the failure to {GOLDEN}"
    )


def test_labels_in_the_ledger_are_json_in_one_order() -> None:
    """The same series is the same row, whoever writes it."""
    changed: Values = {contract.TURNS: {("support", "acme"): 1.0}}
    (row,) = Registry(("tenant",)).rows(changed, AT)

    assert row.labels == json.dumps({"agent": "support", "tenant": "acme"})
