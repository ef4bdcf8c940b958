"""Measure how quickly the sidecar takes journals in."""

import gc
import sqlite3
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench import calls
from bench.figures import Answer, Quote, digits, percentile, ratio
from bench.sidecar import Scraper, serving
from livekit_exporter import contract, files
from livekit_exporter.prices import catalogue
from livekit_exporter.sidecar.config import settings as config
from livekit_exporter.sidecar.ingest import Ingest
from livekit_exporter.sidecar.intake import BATCH_RECORDS
from livekit_exporter.sidecar.registry import Distribution, Registry

_REPLAY_LIMIT_SECONDS: Final = 600.0
_TABLES: Final = ("usage", "turns", "sessions")


def measure(*, quick: bool) -> Answer:
    """Take journals in, and write the rows that came of it to a bare table, in turns."""
    journals, records = (5, 5_000) if quick else (50, 100_000)
    taken: list[float] = []
    bare: list[float] = []
    for _ in range(1 if quick else 3):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            calls.write(root, journals, records)
            gc.collect()
            taken.append(_take_in(root, records))
            bare.append(_write_bare(_rows(files.ledger(root)), root / "bare.db"))
    seconds, floor = percentile(taken, 50), percentile(bare, 50)
    return Answer(
        question="How many events a second the sidecar takes in",
        method=(
            f"{records} records of {journals} ended calls, decoded, priced, into a fresh ledger"
            " with its indexes and onto the page, one thread; against SQLite's `executemany` of"
            f" the resulting rows into tables without index, {BATCH_RECORDS} rows a transaction."
        ),
        columns=("way", "seconds", "events/s", "speed to executemany"),
        rows=[
            ("livekit-exporter", digits(seconds), digits(records / seconds), ratio(floor, seconds)),
            ("executemany", digits(floor), digits(records / floor), ratio(floor, floor)),
        ],
        quotes=[
            Quote(
                what="events the sidecar takes in per second, one core",
                measured=digits(records / seconds),
                against=f"bare SQLite `executemany` of its rows: {digits(records / floor)}",
                ratio=ratio(floor, seconds),
            )
        ],
    )


def measure_replay(*, quick: bool) -> Answer:
    """Let a real sidecar read a large backlog."""
    journals, records = (20, 20_000) if quick else (500, 1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        calls.write(root, journals, records)
        begun = time.perf_counter()
        with serving(root) as sidecar:
            address = sidecar.address()
            up = time.perf_counter() - begun
            sidecar.wait_until_read(_REPLAY_LIMIT_SECONDS)
            seconds = time.perf_counter() - begun
            peak = sidecar.peak_bytes()
            scraper = Scraper(address)
            there = scraper.records()
            scraper.close()
            assert there == records, f"{records} records in journals, {there} on the page"
        size = files.ledger(root).stat().st_size
    mebibytes = f"{digits(peak / 2**20)} MiB"
    return Answer(
        question="How long a large backlog takes",
        method=(
            f"{records} records in {journals} journals when `livekit-exporter serve` starts, until"
            " the last journal is in the ledger and deleted; peak resident size of that process."
        ),
        columns=("records", "seconds", "of it start", "events/s", "peak memory", "ledger MiB"),
        rows=[
            (
                str(records),
                digits(seconds),
                digits(up),
                digits(records / seconds),
                mebibytes,
                digits(size / 2**20),
            )
        ],
        quotes=[
            Quote(
                what=f"backlog of {records:,} records in {journals} journals".replace(",", " "),
                measured=f"{digits(seconds)} s, {mebibytes} peak",
            )
        ],
    )


def _take_in(root: Path, records: int) -> float:
    """Seconds until every record is in the ledger and on the page."""
    settings = config.load(None, {}, {"data_dir": str(root)})
    registry = Registry()
    ingest = Ingest(settings, catalogue.load(), registry)
    try:
        ingest.open()
        begun = time.perf_counter()
        while _taken(registry) < records:
            assert ingest.attempt(), ingest.problem()
        return time.perf_counter() - begun
    finally:
        ingest.close()


def _taken(registry: Registry) -> float:
    values = registry.series(contract.RECORDS).values()
    return sum(value for value in values if not isinstance(value, Distribution))


def _rows(ledger: Path) -> Mapping[str, list[tuple[object, ...]]]:
    connection = sqlite3.connect(ledger)
    try:
        return {
            table: connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - our own names
            for table in _TABLES
        }
    finally:
        connection.close()


def _write_bare(tables: Mapping[str, list[tuple[object, ...]]], path: Path) -> float:
    """Seconds to insert rows, as durably as the ledger does."""
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        begun = time.perf_counter()
        for table, rows in tables.items():
            names = ", ".join(f"c{index}" for index in range(len(rows[0])))
            marks = ", ".join("?" * len(rows[0]))
            connection.execute(f"CREATE TABLE {table} ({names})")
            for start in range(0, len(rows), BATCH_RECORDS):
                with connection:
                    connection.executemany(
                        f"INSERT INTO {table} VALUES ({marks})",  # noqa: S608 - as above
                        rows[start : start + BATCH_RECORDS],
                    )
        return time.perf_counter() - begun
    finally:
        connection.close()
