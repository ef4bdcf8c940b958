"""Measure what a scrape costs after many jobs have come and gone."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from bench import calls
from bench.figures import Answer, Quote, millis, percentile, ratio
from bench.sidecar import Scraper, serving
from livekit_exporter import files
from livekit_exporter.agent.journal import Journal
from livekit_exporter.record import SessionStarted

_LIMIT_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.02
_CACHED_SCRAPES: Final = 5


class _Target:
    """A sidecar whose jobs have ended, and one call that goes on."""

    def __init__(self, root: Path, jobs: int, stack: ExitStack) -> None:
        calls.write(root, jobs, jobs * calls.RECORDS_PER_CALL)
        sidecar = stack.enter_context(serving(root))
        self.scraper = Scraper(sidecar.address())
        stack.callback(self.scraper.close)
        sidecar.wait_until_read(_LIMIT_SECONDS)
        self._journal = Journal(files.journals(root), "live")
        stack.callback(self._journal.close)
        self.invalidate()

    def invalidate(self) -> None:
        """Write a record, and wait until it is on the page.

        Raises:
            TimeoutError: It does not get there.
        """
        before = self.scraper.records()
        self._journal.put(SessionStarted(session="live", at=time.time(), agent="reception"))
        deadline = time.monotonic() + _LIMIT_SECONDS
        while self.scraper.records() == before:
            if time.monotonic() > deadline:
                raise TimeoutError("a record did not get to the page")
            time.sleep(_POLL_SECONDS)
        # The gauges follow the counters within the same pass.
        time.sleep(_POLL_SECONDS)


def measure(*, quick: bool) -> Answer:
    """Scrape ours and the library's multiprocess mode, few jobs and many, in turns."""
    few, many = (10, 50) if quick else (10, 1000)
    rounds = 3 if quick else 15
    spent: dict[tuple[str, int], list[float]] = {}
    size: dict[tuple[str, int], int] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root = Path(folder)
        ours = {jobs: _Target(root / f"ours-{jobs}", jobs, stack) for jobs in (few, many)}
        theirs = {
            jobs: stack.enter_context(_multiprocess(root / f"theirs-{jobs}", jobs))
            for jobs in (few, many)
        }
        for turn in range(rounds):
            for jobs, target in ours.items():
                target.invalidate()
                _scrape(target.scraper, (_FRESH, jobs), 1, spent, size)
                _scrape(target.scraper, (_CACHED, jobs), _CACHED_SCRAPES, spent, size)
            if turn % 3 == 0:
                for jobs, scraper in theirs.items():
                    _scrape(scraper, (_THEIRS, jobs), 1, spent, size)
    return _answer(spent, size, few, many)


_FRESH: Final = "livekit-exporter, page out of date"
_CACHED: Final = "livekit-exporter, page cached"
_THEIRS: Final = "prometheus_client, multiprocess mode"


def _scrape(
    scraper: Scraper,
    name: tuple[str, int],
    times: int,
    spent: dict[tuple[str, int], list[float]],
    size: dict[tuple[str, int], int],
) -> None:
    for _ in range(times):
        seconds, body = scraper.get()
        spent.setdefault(name, []).append(seconds)
        size[name] = len(body)


@contextmanager
def _multiprocess(root: Path, jobs: int) -> Iterator[Scraper]:
    """Serve the library's multiprocess mode after `jobs` processes have ended."""
    root.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "bench.multiprocess", str(jobs)],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address:
            raise RuntimeError("the multiprocess server did not come up, see above")
        scraper = Scraper(address)
        try:
            yield scraper
        finally:
            scraper.close()
            process.terminate()


def _answer(
    spent: Mapping[tuple[str, int], list[float]],
    size: Mapping[tuple[str, int], int],
    few: int,
    many: int,
) -> Answer:
    median = {name: percentile(values, 50) for name, values in spent.items()}
    rows = [
        (
            name,
            str(jobs),
            millis(median[name, jobs]),
            millis(percentile(values, 99)),
            ratio(median[name, jobs], median[name, few]),
            f"{size[name, jobs]:,}".replace(",", " "),
        )
        for (name, jobs), values in sorted(spent.items())
    ]
    return Answer(
        question="What a scrape costs after many jobs",
        method=(
            "Seconds of `GET /metrics`, gzip, from a real `livekit-exporter serve` and from"
            " prometheus_client's own server over forked processes of 402 values each;"
            " all jobs have ended, scraped in turns."
        ),
        columns=("page", "ended jobs", "p50 ms", "p99 ms", f"p50 to {few} jobs", "bytes, gzip"),
        rows=rows,
        quotes=[
            Quote(
                what=f"scrape after {many} ended jobs, page out of date",
                measured=f"{millis(median[_FRESH, many])} ms",
                against=f"after {few} jobs: {millis(median[_FRESH, few])} ms",
                ratio=ratio(median[_FRESH, many], median[_FRESH, few]),
            ),
            Quote(
                what="the same, page cached",
                measured=f"{millis(median[_CACHED, many])} ms",
                against=f"after {few} jobs: {millis(median[_CACHED, few])} ms",
                ratio=ratio(median[_CACHED, many], median[_CACHED, few]),
            ),
            Quote(
                what=f"scrape after {many} ended jobs, page out of date",
                measured=f"{millis(median[_FRESH, many])} ms",
                against=(
                    f"prometheus_client multiprocess mode, {many} ended processes:"
                    f" {millis(median[_THEIRS, many])} ms"
                ),
                ratio=ratio(median[_FRESH, many], median[_THEIRS, many]),
            ),
        ],
    )
