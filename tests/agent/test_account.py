"""The account of a running call: exact at once, and each record priced once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from livekit_exporter import Budget
from livekit_exporter.agent.account import LiveAccount
from livekit_exporter.agent.budget.tracker import BudgetTracker
from livekit_exporter.agent.call import Call
from livekit_exporter.agent.journal import Journal
from livekit_exporter.agent.prices import Prices
from livekit_exporter.agent.spans.charges import CallCharges, traced_calls
from livekit_exporter.agent.summary import Summary
from livekit_exporter.prices import pricing
from tests.agent.accounts import Followed
from tests.agent.logs import logged
from tests.records import answered, asked, call, closed, heard, started, thought

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from livekit_exporter.prices.catalogue import Catalogue
    from livekit_exporter.record import UsageReported

OF_ONE = Decimal("0.00056")
"""What `thought()` costs."""


def request(name: str) -> UsageReported:
    """A request to a language model, with an id of its own."""
    return replace(thought(), request=name)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    traced_calls.reset()


@pytest.fixture
def priced(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each request was priced, by its id."""
    counts: Counter[str] = Counter()
    price = pricing.price_record

    def counted(catalogue: Catalogue, record: UsageReported) -> pricing.Quote:
        counts[record.request] += 1
        return price(catalogue, record)

    monkeypatch.setattr(pricing, "price_record", counted)
    return counts


def test_a_record_is_priced_once_whoever_asks(tmp_path: Path, priced: Counter[str]) -> None:
    """The log, a budget, exported spans, and the agent between two records."""
    account = LiveAccount(Prices())
    summary = Summary("s1", account, 3.5)
    journal = Journal(tmp_path, "s1", followers=[account, summary])
    begun = started()
    traced_calls.export()
    charges = CallCharges(begun, account, journal)
    budget = Budget(session_usd=1)
    journal.follow(
        BudgetTracker(
            budget,
            ("session",),
            None,  # type: ignore[arg-type]  # it is only handed on
            account=account,
            notes=journal,
            tell=lambda _: None,
        )
    )
    running = Call("s1", "support", journal, account)
    with logged():
        running.put(begun)
        for number in range(50):
            running.put(request(f"r-{number}"))
            if number % 7 == 0:
                assert running.cost == (number + 1) * OF_ONE
        running.put(closed())
        assert journal.close(10)

    assert running.cost == 50 * OF_ONE
    assert charges.by_stage() == {"llm": 50 * 560_000_000_000_000}
    assert set(priced.values()) == {1}
    assert len(priced) == 50


def test_costs_asked_for_late_are_priced_once_too(priced: Counter[str]) -> None:
    """Nobody wanted them before; from then on the writer prices."""
    account = LiveAccount(Prices())
    account.take(started())
    for number in range(3):
        account.take(request(f"r-{number}"))
    assert not priced
    assert not account.prices.loaded

    assert account.cost == 3 * OF_ONE
    account.take(request("r-3"))
    assert priced["r-3"] == 1
    assert account.cost == 4 * OF_ONE

    assert set(priced.values()) == {1}


def test_the_account_is_exact_before_the_writer_comes() -> None:
    """Turns, usage and cost, with whatever the writer has taken in and what it has not."""
    records = call()
    account, whole = LiveAccount(Prices()), LiveAccount(Prices())
    for record in records:
        account.put(record)
        whole.take(record)
    expected = (whole.turns, whole.usage, whole.cost)
    assert (account.turns, account.usage, account.cost) == expected

    for record in records:
        account.take(record)
        assert (account.turns, account.usage, account.cost) == expected


def test_a_record_that_the_journal_refused_counts_for_the_agent(priced: Counter[str]) -> None:
    """The journal is full: the writer never comes to it."""
    account = LiveAccount(Prices())
    refused, written = request("refused"), request("written")
    account.put(refused)
    account.put(written)
    before = account.cost

    account.take(written)

    assert account.cost == before == 2 * OF_ONE
    assert priced == {"refused": 1, "written": 1}


def test_an_empty_user_message_makes_no_turn() -> None:
    """LiveKit adds one while a session closes; what is said after it answers nobody."""
    followed = Followed()
    followed.take(started(), heard(), replace(asked(), characters=0), answered(latency=None))
    assert followed.account.turns == 0

    followed.take(asked(), answered(latency=None, speech="speech-2"))
    assert followed.account.turns == 1
