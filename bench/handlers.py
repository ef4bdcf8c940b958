"""Measure what a metrics event costs the event loop: metered, with a budget, on a slow disk."""

import asyncio
import gc
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.figures import Answer
from bench.loop import (
    COLUMNS,
    EMPTY,
    OPENTELEMETRY,
    PROMETHEUS,
    WARM_UP_EVENTS,
    Attached,
    Handle,
    in_turns,
    opentelemetry,
    prometheus,
    quote,
    rows,
)
from livekit_exporter import Budget, files

_HANG_SECONDS: Final = 0.2

OURS: Final = "livekit-exporter"
BUDGETED: Final = "livekit-exporter with a budget"
OURS_EMITTED: Final = "livekit-exporter, through session.emit"
EMPTY_EMITTED: Final = "empty handler, through session.emit"
HEALTHY: Final = "healthy disk"
HUNG: Final = "each write hangs 200 ms"


def measure(*, quick: bool) -> list[Answer]:
    """Handlers side by side, then ours on a disk that hangs."""
    events = 100 if quick else 2000
    # Left over from importing LiveKit; an agent that runs has been through it.
    gc.collect()
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder), events))


async def _measure(root: Path, events: int) -> list[Answer]:
    budgeted = await _with_a_budget(root / "budgeted", events)
    # One session, as a job process has.
    ours = Attached(root / "ours")
    source = ours.events
    compared = await in_turns(
        {
            EMPTY: (source, lambda _: None),
            PROMETHEUS: (source, prometheus()),
            OPENTELEMETRY: (source, opentelemetry()),
            OURS: (source, ours.handle),
            EMPTY_EMITTED: (source, _empty_session()),
            OURS_EMITTED: (
                source,
                lambda event: ours.session.emit("metrics_collected", event),
            ),
        },
        events,
    )
    await ours.leave()
    healthy, hung = Attached(root / "healthy"), Attached(root / "hung")
    with _hanging_disk(files.journals(hung.root)):
        disks = await in_turns(
            {HEALTHY: (healthy.events, healthy.handle), HUNG: (hung.events, hung.handle)}, events
        )
        put = events + WARM_UP_EVENTS
        written = await asyncio.to_thread(hung.written)
    await asyncio.gather(healthy.leave(), hung.leave())
    assert written == put, f"{put} events, {written} records on file"
    return [_comparison(compared, events), _budget(budgeted, events), _stall(disks, put, written)]


async def _with_a_budget(root: Path, events: int) -> dict[str, list[int]]:
    """A session that adds up what it spends, alone in the process like one without."""
    ours = Attached(root, Budget(session_usd=1_000_000, on_unpriced="stop"))
    spent = await in_turns(
        {PROMETHEUS: (ours.events, prometheus()), BUDGETED: (ours.events, ours.handle)}, events
    )
    put = events + WARM_UP_EVENTS
    written = await asyncio.to_thread(ours.written)
    assert written == put, f"{put} events, {written} records on file"
    await ours.leave()
    return spent


@contextmanager
def _hanging_disk(folder: Path) -> Iterator[None]:
    """Let every write to a file in a folder take 200 ms longer, as a stalled disk would."""
    write = os.write

    def hang(descriptor: int, data: bytes) -> int:
        if Path(f"/proc/self/fd/{descriptor}").readlink().parent == folder:
            time.sleep(_HANG_SECONDS)
        return write(descriptor, data)

    os.write = hang  # type: ignore[assignment]
    try:
        yield
    finally:
        os.write = write


def _empty_session() -> Handle:
    from livekit import rtc
    from livekit.agents import AgentSession

    session: AgentSession[None] = AgentSession()
    # Not `session.on`: that warns that this event is deprecated.
    rtc.EventEmitter.on(session, "metrics_collected", lambda _: None)  # type: ignore[arg-type]
    return lambda event: session.emit("metrics_collected", event)


def _comparison(spent: Mapping[str, list[int]], events: int) -> Answer:
    return Answer(
        question="What one event costs the call's event loop",
        method=(
            f"One real `LLMMetrics` event every 2 ms in an asyncio loop, {events} for each"
            " handler, which take turns in random order: caches are as cold as in an agent."
            " What LiveKit's `emit` itself costs is the empty handler's line."
        ),
        columns=(*COLUMNS, "p50 to prometheus_client"),
        rows=rows(spent, PROMETHEUS),
        quotes=[
            quote(
                "handler on the event loop, one event, p50 (p99)",
                spent[OURS],
                "prometheus_client in one process",
                spent[PROMETHEUS],
            ),
            quote("the same", spent[OURS], "OpenTelemetry SDK", spent[OPENTELEMETRY]),
        ],
    )


def _budget(spent: Mapping[str, list[int]], events: int) -> Answer:
    return Answer(
        question="What one event costs the call's event loop when there is a budget",
        method=(
            f"The same with a session of its own, {events} events for each handler. Its usage is"
            " priced and added up on the journal's writer thread."
        ),
        columns=(*COLUMNS, "p50 to prometheus_client"),
        rows=rows(spent, PROMETHEUS),
        quotes=[
            quote(
                "handler on the event loop with a budget, one event, p50 (p99)",
                spent[BUDGETED],
                "prometheus_client in one process",
                spent[PROMETHEUS],
            )
        ],
    )


def _stall(spent: Mapping[str, list[int]], put: int, written: int) -> Answer:
    return Answer(
        question="What it costs while the disk hangs",
        method=(
            "Two sessions take turns; each write of the second one's journal takes 200 ms."
            f" It put {put} events, and {written} records are on file at the end."
        ),
        columns=("disk", *COLUMNS[1:], "p50 to healthy"),
        rows=rows(spent, HEALTHY),
        quotes=[
            quote(
                "the same while every disk write hangs 200 ms, nothing lost",
                spent[HUNG],
                "healthy disk",
                spent[HEALTHY],
            )
        ],
    )
