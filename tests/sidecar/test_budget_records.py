"""The page counts budgets of calls that were reached or could not be looked up."""

from dataclasses import replace

import pytest

from livekit_exporter import contract
from livekit_exporter.record import BudgetLookupFailed, BudgetReached, to_line
from livekit_exporter.sidecar.config.settings import MetricsSettings
from livekit_exporter.sidecar.decode import RejectedError, decode
from tests.intake import Intake
from tests.records import AT, closed, started

REACHED = BudgetReached(
    session="s1",
    at=AT + 5,
    scope="user_day",
    threshold="limit",
    limit_usd=1.0,
    spend_usd=1.02,
    stale=True,
)


def test_limits_and_warnings_are_counted_apart(intake: Intake) -> None:
    """By scope; a model without a price has a counter of its own."""
    intake.take(
        started(),
        replace(REACHED, threshold="warn", scope="session"),
        replace(REACHED, threshold="warn"),
        REACHED,
        replace(REACHED, threshold="unpriced", scope="session"),
        closed(),
    )

    assert intake.values(contract.BUDGET_EXCEEDED) == {("support", "user_day"): 1.0}
    assert intake.values(contract.BUDGET_WARNINGS) == {
        ("support", "session"): 1.0,
        ("support", "user_day"): 1.0,
    }
    assert intake.counter(contract.RECORDS, kind="budget_reached") == 4


def test_the_series_of_a_limit_are_there_before_it_is_reached(intake: Intake) -> None:
    """So that the first increment is one for `rate()`."""
    intake.take(replace(started(), budgets=("session", "day")), closed())

    zero = {("support", "session"): 0.0, ("support", "day"): 0.0}
    assert intake.values(contract.BUDGET_EXCEEDED) == zero
    assert intake.values(contract.BUDGET_WARNINGS) == zero
    assert intake.values(contract.BUDGET_LOOKUPS_FAILED) == {("support",): 0.0}


def test_failed_lookups_are_counted(intake: Intake) -> None:
    """Each of them."""
    failed = BudgetLookupFailed(session="s1", at=AT + 1, error="URLError")
    intake.take(started(), failed, replace(failed, at=AT + 2), closed())

    assert intake.counter(contract.BUDGET_LOOKUPS_FAILED, agent="support") == 2


def test_the_operators_labels_are_on_them(data_dir: object) -> None:
    """As on whatever is about agents."""
    intake = Intake(data_dir, MetricsSettings(labels=("tenant",)))  # type: ignore[arg-type]
    try:
        intake.take(
            replace(started(), labels={"tenant": "acme"}, budgets=("session",)), REACHED, closed()
        )

        assert intake.counter(contract.BUDGET_EXCEEDED, tenant="acme", scope="user_day") == 1
        assert intake.counter(contract.BUDGET_EXCEEDED, tenant="acme", scope="session") == 0
    finally:
        intake.ingest.close()


def test_a_budget_record_comes_through_its_line() -> None:
    """Nothing is lost on the way."""
    assert decode(to_line(REACHED)) == REACHED
    assert decode(to_line(replace(REACHED, limit_usd=None))).limit_usd is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "wrong",
    [b'"scope":"galaxy"', b'"scope":"day","spend_usd":-1', b'"scope":"day","limit_usd":1e300'],
)
def test_a_record_that_cannot_be_is_refused(wrong: bytes) -> None:
    """A scope is a label value, so there are four."""
    line = b'{"v":1,"kind":"budget_reached","session":"s","at":1795000000,"threshold":"warn",%s}'

    with pytest.raises(RejectedError):
        decode(line % wrong)
