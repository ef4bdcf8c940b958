"""Holds calls and holds their figures against their bills."""

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

_AT_ONCE: Final = 12
"""Calls that go on at the same time: they mostly wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One call and what became of its bill.

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
    """Hold calls, many at once, and read what the ledger has of each.

    Every call has a data directory of its own, so that none learns from another.

    Args:
        calls: What happens, and the name and the makers of the providers.
        root: Where the data directories are made.
        meter: How the exporter is attached.
    """
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int, scenario: Scenario, cast: Cast) -> Held:
        async with room:
            return await hold(scenario, cast, root / str(number), meter=meter)

    async with asyncio.TaskGroup() as tasks:
        held = [
            tasks.create_task(one(number, scenario, cast))
            for number, (scenario, _, cast) in enumerate(calls)
        ]
    return [
        Measured(
            scenario=scenario,
            cast=name,
            session=task.result().session,
            data_dir=root / str(number),
            books=task.result().books,
            stages=figures.read(task.result(), root / str(number)),
        )
        for number, ((scenario, name, _), task) in enumerate(zip(calls, held, strict=True))
    ]
