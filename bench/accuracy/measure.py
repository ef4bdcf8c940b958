"""Run calls and compare their figures with their bills."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.accuracy import figures
from bench.accuracy.bills import Books
from bench.accuracy.call import Cast, Held, Meter, hold, meter
from bench.accuracy.figures import Figures
from bench.accuracy.script import Scenario

_AT_ONCE: Final = 8
"""Calls that go on at the same time: they mostly wait."""
_ATTEMPTS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One call with its bill and its figures.

    Args:
        scenario: What happened in it.
        cast: Whose providers took part.
        session: The exporter's id of the call.
        data_dir: Where its journal and its ledger are.
        books: Every request that a vendor bills.
        stages: The figures of each stage.
    """

    scenario: Scenario
    cast: str
    session: str
    data_dir: Path
    books: Books
    stages: Mapping[str, Figures]

    @property
    def total(self) -> Figures:
        """The figures of the whole call."""
        return figures.add(self.stages.values())


async def measure(
    calls: Sequence[tuple[Scenario, str, Cast]], root: Path, *, meter: Meter = meter
) -> list[Measured]:
    """Run calls, many at once, and read the ledger's figures of each.

    Every call has a data directory of its own, so that none learns from another.  On a busy
    machine a caller may speak a moment too late; such a call is not the scripted one, and
    is held again.

    Args:
        calls: What happens, and the name and the makers of the providers.
        root: Where the data directories are made.
        meter: How the exporter is attached.

    Raises:
        RuntimeError: A call would not go by its script.
    """
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int, scenario: Scenario, cast: Cast) -> tuple[Held, Path]:
        for attempt in range(_ATTEMPTS):
            data_dir = root / f"{number}-{attempt}"
            async with room:
                held = await hold(scenario, cast, data_dir, meter=meter)
            went = tuple(bill.outcome for bill in held.books.of("llm"))
            if scenario.went(went):
                return held, data_dir
        raise RuntimeError(
            f"'{scenario.name}' does not go by its script: requests end {', '.join(went)}"
            f" in place of {', '.join(scenario.requests)}"
        )

    async with asyncio.TaskGroup() as tasks:
        held = [
            tasks.create_task(one(number, scenario, cast))
            for number, (scenario, _, cast) in enumerate(calls)
        ]
    measured = []
    for (scenario, name, _), task in zip(calls, held, strict=True):
        call, data_dir = task.result()
        measured.append(
            Measured(
                scenario=scenario,
                cast=name,
                session=call.session,
                data_dir=data_dir,
                books=call.books,
                stages=figures.read(call, data_dir),
            )
        )
    return measured
