"""Runs named jobs, each when it is due, one after the other and on one clock."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Job:
    """One thing that the sidecar does again and again.

    Args:
        name: Its name, unique in a loop.
        run: Does it once.  Seconds that it returns are the pause until the next run, in place
            of `every`.
        every: Seconds from one run to the next; 0 for each pass.
        first_after: Seconds until the first run.
    """

    name: str
    run: Callable[[], float | None]
    every: float = 0.0
    first_after: float = 0.0


class Loop:
    """Runs the jobs that are due, in their order.

    Args:
        jobs: The jobs.
        clock: Monotonic seconds.
    """

    def __init__(self, jobs: Sequence[Job], clock: Clock = time.monotonic) -> None:
        self._jobs = jobs
        self._clock = clock
        self._due = {job.name: clock() + job.first_after for job in jobs}

    def run_due(self) -> None:
        """Make one pass.

        An error of a job ends the pass: the jobs behind it build on what it did.  They stay
        due.  The job itself has had its turn, so that one that keeps failing stops the others
        no more often than it is due.
        """
        for job in self._jobs:
            now = self._clock()
            if now < self._due[job.name]:
                continue
            self._due[job.name] = now + job.every
            pause = job.run()
            if pause is not None:
                self._due[job.name] = now + pause
