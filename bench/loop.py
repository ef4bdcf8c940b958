"""Handlers of metrics events side by side, on the event loop of a call.

One event every 2 ms inside asyncio, and the handlers take turns: in a tight loop, with
warm caches, each would look five to twenty times cheaper.
"""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from bench.figures import Quote, Row, micros, percentile, ratio
from livekit_exporter import Budget, attach, files

if TYPE_CHECKING:
    from livekit.agents import MetricsCollectedEvent
    from livekit.agents.metrics import LLMMetrics

    from livekit_exporter.agent.call import Call

Handle: TypeAlias = "Callable[[MetricsCollectedEvent], None]"
Source: TypeAlias = "Callable[[], MetricsCollectedEvent]"

GAP_SECONDS: Final = 0.002
WARM_UP_EVENTS: Final = 20
LEFT_SECONDS: Final = 1.5
"""After which a session that was closed hears nothing more."""
AGENT: Final = "reception"
MODEL: Final = "gpt-4o-mini"
_LABELS: Final = {"agent": AGENT, "stage": "llm", "provider": "openai", "model": MODEL}

PROMETHEUS: Final = "prometheus_client, 6 inc + 2 observe"
OPENTELEMETRY: Final = "OpenTelemetry SDK, 6 add + 2 record"
EMPTY: Final = "empty handler"
COLUMNS: Final[Row] = ("handler", "p50 µs", "p99 µs", "max µs")


class LLMEvents:
    """Real LiveKit events, each an object of its own with a request id of its own."""

    def __init__(self, speech: str) -> None:
        self._speech = speech
        self._numbers = itertools.count()

    def __call__(self) -> "MetricsCollectedEvent":
        """The next one."""
        from livekit.agents import MetricsCollectedEvent
        from livekit.agents.metrics import LLMMetrics
        from livekit.agents.metrics.base import Metadata

        return MetricsCollectedEvent(
            metrics=LLMMetrics(
                label="livekit.plugins.openai.llm.LLM",
                request_id=f"chatcmpl-{next(self._numbers):024d}",
                timestamp=time.time(),
                duration=1.31,
                ttft=0.42,
                cancelled=False,
                completion_tokens=87,
                prompt_tokens=1412,
                prompt_cached_tokens=1024,
                total_tokens=1499,
                tokens_per_second=66.4,
                speech_id=self._speech,
                metadata=Metadata(model_name=MODEL, model_provider="api.openai.com"),
            )
        )


class Attached:
    """A real session with our collector, in the middle of a reply."""

    def __init__(self, root: Path, budget: Budget | None = None) -> None:
        from livekit.agents import AgentSession, SpeechCreatedEvent
        from livekit.agents.voice import SpeechHandle

        self.root = root
        self.session: AgentSession[None] = AgentSession()
        self.call: Call = attach(self.session, agent=AGENT, budget=budget, data_dir=root)
        speech = SpeechHandle.create()
        self.session.emit(
            "speech_created",
            SpeechCreatedEvent(user_initiated=False, source="generate_reply", speech_handle=speech),
        )
        self.events = LLMEvents(speech.id)
        # What emit calls; there is no public way to ask for it.
        (self.handle,) = self.session._events["metrics_collected"]  # noqa: SLF001

    async def leave(self) -> None:
        """Close, and wait until it gets no more events: the next session is alone, as in a job."""
        from livekit.agents import CloseEvent, CloseReason

        self.session.emit("close", CloseEvent(reason=CloseReason.USER_INITIATED))
        await asyncio.sleep(LEFT_SECONDS)

    def written(self) -> int:
        """Usage records on file.

        Raises:
            TimeoutError: Not everything got there.
        """
        if not self.call.flush(30):
            raise TimeoutError("the journal was not written within 30 s")
        paths = files.journals(self.root).glob("*.jsonl")
        lines = [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]
        return sum(line["kind"] == "usage" for line in lines)


async def in_turns(
    variants: Mapping[str, tuple[Source, Handle]], events: int
) -> dict[str, list[int]]:
    """Nanoseconds of every event; each round gives every handler one, in random order."""
    chance = random.Random(1)
    spent: dict[str, list[int]] = {name: [] for name in variants}
    for number in range(WARM_UP_EVENTS + events):
        for name in chance.sample(list(variants), len(variants)):
            source, handle = variants[name]
            event = source()
            begun = time.perf_counter_ns()
            handle(event)
            took = time.perf_counter_ns() - begun
            if number >= WARM_UP_EVENTS:
                spent[name].append(took)
            await asyncio.sleep(GAP_SECONDS)
    return spent


def prometheus() -> Handle:
    """Handler that a careful user of the library writes: children looked up once."""
    from prometheus_client import CollectorRegistry, Counter, Histogram

    registry = CollectorRegistry()
    requests, asked, cached, answered, total, usd = (
        Counter(name, name, _LABELS, registry=registry).labels(**_LABELS)
        for name in ("requests", "asked", "cached", "answered", "tokens", "usd")
    )
    first, whole = (
        Histogram(name, name, _LABELS, registry=registry).labels(**_LABELS)
        for name in ("first_seconds", "request_seconds")
    )

    def handle(event: "MetricsCollectedEvent") -> None:
        metrics = llm_of(event)
        requests.inc()
        asked.inc(metrics.prompt_tokens)
        cached.inc(metrics.prompt_cached_tokens)
        answered.inc(metrics.completion_tokens)
        total.inc(metrics.total_tokens)
        usd.inc(0.0001)
        first.observe(metrics.ttft)
        whole.observe(metrics.duration)

    return handle


def opentelemetry() -> Handle:
    """The SDK with a reader in memory: nothing is exported, which is in its favour."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    meter = MeterProvider([InMemoryMetricReader()]).get_meter("bench")
    requests, asked, cached, answered, total, usd = (
        meter.create_counter(name)
        for name in ("requests", "asked", "cached", "answered", "tokens", "usd")
    )
    first, whole = (
        meter.create_histogram(name, unit="s") for name in ("first_seconds", "request_seconds")
    )

    def handle(event: "MetricsCollectedEvent") -> None:
        metrics = llm_of(event)
        requests.add(1, _LABELS)
        asked.add(metrics.prompt_tokens, _LABELS)
        cached.add(metrics.prompt_cached_tokens, _LABELS)
        answered.add(metrics.completion_tokens, _LABELS)
        total.add(metrics.total_tokens, _LABELS)
        usd.add(0.0001, _LABELS)
        first.record(metrics.ttft, _LABELS)
        whole.record(metrics.duration, _LABELS)

    return handle


def rows(spent: Mapping[str, list[int]], base: str) -> list[Row]:
    """Make a row of each handler: its durations, and its multiple of the p50 of `base`."""
    middle = percentile(spent[base], 50)
    return [
        (
            name,
            micros(percentile(values, 50)),
            micros(percentile(values, 99)),
            micros(max(values)),
            ratio(percentile(values, 50), middle),
        )
        for name, values in spent.items()
    ]


def quote(what: str, spent: list[int], against: str, base: list[int]) -> Quote:
    """A line of the README: one handler against another."""
    return Quote(
        what=what,
        measured=both(spent),
        against=f"{against}: {both(base)}",
        ratio=ratio(percentile(spent, 50), percentile(base, 50)),
    )


def both(values: list[int]) -> str:
    """The p50 and the p99."""
    return f"{micros(percentile(values, 50))} ({micros(percentile(values, 99))}) µs"


def llm_of(event: "MetricsCollectedEvent") -> "LLMMetrics":
    """The metrics of an event of a language model."""
    return event.metrics  # type: ignore[return-value]  # one kind of many, by construction
