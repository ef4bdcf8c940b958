"""The promise: processes die, and every event that was handed to us is there once.

Twenty real job processes at once, five killed by SIGKILL and three by SIGTERM, which
ends a LiveKit job process just as fast, while the sidecar is killed three times.
"""

import asyncio
import os
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import pytest

pytest.importorskip("livekit.agents", reason="needs livekit-agents: pip install -e '.[agent]'")

from livekit_exporter.demo.fleet import Fleet, StartedCall
from livekit_exporter.demo.truth import Bill, bills
from tests.conftest import Serve
from tests.sidecars import Sidecar, total, wait_until

CALLS = 20
VICTIMS = (
    ((3, signal.SIGKILL), (5, signal.SIGTERM)),
    ((8, signal.SIGKILL), (11, signal.SIGTERM)),
    ((14, signal.SIGKILL), (6, signal.SIGTERM)),
    ((12, signal.SIGKILL), (17, signal.SIGKILL)),
)
GRACE_SECONDS = 0.1
"""An event whose handler returned so long before the kill must be there."""

Billed: TypeAlias = tuple[str, str, str, float]
"""Session, stage, model and cost: one report of one provider.

Not the request id: LiveKit has none for a synthesis that was cut off before its first byte.
"""


def key(bill: Bill) -> Billed:
    stage, _, model = bill.product
    return (bill.session, stage, model, round(float(bill.cost), 12))


def in_ledger(data_dir: Path) -> "Counter[Billed]":
    query = (
        "select session, stage, model, round(cost_usd, 12) from usage"
        " where cost_usd > 0 and source = 'reported'"
    )
    with closing(sqlite3.connect(data_dir / "ledger.db")) as ledger:
        return Counter(tuple(row) for row in ledger.execute(query))


def finished(sidecar: Sidecar) -> bool:
    """Whether every call is closed on the page."""
    return total(sidecar.samples(), "livekit_agent_sessions_closed_total") == CALLS


async def churn(
    data_dir: Path, serve: Serve
) -> tuple[list[StartedCall], dict[int, float], Sidecar]:
    """Run all calls, kill eight of them and three sidecars; when each call was killed."""
    killed_at: dict[int, float] = {}
    sidecar = serve()
    async with Fleet(data_dir, seed=7, speed=3.0) as fleet:
        calls = [await fleet.start_call(number) for number in range(CALLS)]
        for pair in VICTIMS:
            await asyncio.sleep(0.5)
            for number, how in pair:
                assert calls[number].going_on, "a call that is over cannot be killed"
                killed_at[number] = time.time()
                os.kill(calls[number].pid, how)
            if pair is not VICTIMS[-1]:
                await asyncio.to_thread(sidecar.kill)
                sidecar = serve()
        await asyncio.wait_for(asyncio.gather(*(call.done() for call in calls)), 180)
    return calls, killed_at, sidecar


async def test_nothing_is_lost_and_nothing_counted_twice(data_dir: Path, serve: Serve) -> None:
    """Metrics, ledger and the providers' own bills are one sum, to a billionth of a dollar."""
    calls, killed_at, sidecar = await churn(data_dir, serve)
    await asyncio.to_thread(wait_until, lambda: finished(sidecar), "all calls are closed")
    samples = await asyncio.to_thread(sidecar.samples)

    billed = [bill for call in calls for bill in bills(call.truth)]
    everything = Counter(key(bill) for bill in billed if bill.cost)
    due = Counter(
        key(bill)
        for bill in billed
        if bill.cost and bill.at < killed_at.get(bill.call, float("inf")) - GRACE_SECONDS
    )
    ledger = in_ledger(data_dir)
    assert due, "the calls cost something"
    lost = due - ledger
    assert not lost
    # Between the collector's handler and the provider's bill a process may die.
    unbilled = ledger - everything
    victims = {bill.session for bill in billed if bill.call in killed_at}
    assert {session for session, *_ in unbilled} <= victims, "counted twice"

    cost = total(samples, "livekit_agent_cost_usd_total")
    assert cost == pytest.approx(sum(row[-1] * n for row, n in ledger.items()), abs=1e-9)
    truth = sum((bill.cost for bill in billed), Fraction(0))
    missing = sum(row[-1] * n for row, n in (everything - ledger).items())
    extra = sum(row[-1] * n for row, n in unbilled.items())
    assert cost == pytest.approx(float(truth) - missing + extra, abs=1e-9)

    closed = "livekit_agent_sessions_closed_total"
    assert total(samples, "livekit_agent_sessions_total") == CALLS
    assert total(samples, closed, reason="lost") == len(killed_at)
    assert total(samples, "livekit_agent_active_sessions") == 0
    assert total(samples, "livekit_exporter_records_rejected_total", reason="torn") <= len(
        killed_at
    )
    assert not list((data_dir / "journal").iterdir()), "journals that are read to the end are gone"
