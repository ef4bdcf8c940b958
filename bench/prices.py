"""Measure what pricing costs: one event, and a catalogue in a new process."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Final, NamedTuple

from bench.figures import Answer, Quote, digits, micros, millis, percentile, ratio
from livekit_exporter.prices import catalogue, pricing
from livekit_exporter.record import Stage, Usage, UsageReported

_WARM_UP_ROUNDS: Final = 50
_AT: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)

LLM: Final = "livekit-exporter, LLM"
STT: Final = "livekit-exporter, STT"
REALTIME: Final = "livekit-exporter, realtime"
GENAI: Final = "genai-prices, the same LLM"

OURS: Final = "livekit-exporter"
GENAI_PRICES: Final = "genai-prices"

_IN_A_NEW_PROCESS: Final = """
import json, resource, time
from pathlib import Path
def resident(): return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
size, begun = resident(), time.perf_counter()
{imports}
imported, larger = time.perf_counter(), resident()
{first}
print(json.dumps([imported - begun, time.perf_counter() - imported, larger - size,
                  resident() - larger]))
"""
_FIRST: Final = {
    OURS: _IN_A_NEW_PROCESS.format(
        imports="from livekit_exporter.prices import catalogue, pricing\n"
        "from livekit_exporter.record import Usage",
        first="pricing.price(catalogue.load(), stage='llm', provider='api.openai.com',"
        " model='gpt-4o-mini', label='', usage=Usage(input_tokens=1412, output_tokens=87),"
        " at=time.time(), streamed=False, connection=False)",
    ),
    GENAI_PRICES: _IN_A_NEW_PROCESS.format(
        imports="from genai_prices import Usage, calc_price",
        first="calc_price(Usage(input_tokens=1412, output_tokens=87), 'gpt-4o-mini',"
        " provider_id='openai')",
    ),
}


class _Start(NamedTuple):
    """Cost of a new process, in seconds and bytes."""

    imports: float
    first: float
    """Loading the prices and pricing once."""
    imports_bytes: float
    first_bytes: float

    @property
    def seconds(self) -> float:
        """Time from the start of the process to the first price."""
        return self.imports + self.first

    @property
    def resident(self) -> float:
        """Bytes by which the process grew."""
        return self.imports_bytes + self.first_bytes


def measure(*, quick: bool) -> list[Answer]:
    """Price events in turns, then start processes in turns."""
    return [_events(200 if quick else 20_000), _starts(3 if quick else 9)]


def _events(rounds: int) -> Answer:
    ours = partial(pricing.price_record, catalogue.load())
    asked = _reported("llm", "api.openai.com", "gpt-4o-mini", Usage(
        input_tokens=1412, cached_input_tokens=1024, output_tokens=87, total_tokens=1499
    ))  # fmt: skip
    heard = _reported("stt", "Deepgram", "nova-3", Usage(audio_seconds=5.0))
    spoke = _reported("realtime", "api.openai.com", "gpt-realtime", Usage(
        input_tokens=1200, cached_input_tokens=900, output_tokens=260, total_tokens=1460,
        input_audio_tokens=400, cached_audio_tokens=300, output_audio_tokens=210,
    ))  # fmt: skip
    theirs = _genai(asked)
    cost, other = ours(asked).cost, theirs()
    assert cost == other, f"{cost} USD by this catalogue, {other} by genai-prices"
    spent = _in_turns(
        {
            LLM: lambda: ours(asked),
            STT: lambda: ours(heard),
            REALTIME: lambda: ours(spoke),
            GENAI: theirs,
        },
        rounds,
    )
    base = percentile(spent[GENAI], 50)
    for name in (LLM, STT, REALTIME):
        took = percentile(spent[name], 50)
        assert took < base, f"{name}: {micros(took)} µs, genai-prices {micros(base)} µs"
    return Answer(
        question="What pricing one event costs",
        method=(
            f"{rounds} events of each kind, one by one, in random order, in a process that has"
            " priced before. Both say the same cost for the LLM event."
        ),
        columns=("event", "p50 µs", "p99 µs", "p50 to genai-prices"),
        rows=[
            (
                name,
                micros(percentile(values, 50)),
                micros(percentile(values, 99)),
                ratio(percentile(values, 50), base),
            )
            for name, values in spent.items()
        ],
        quotes=[
            Quote(
                what="pricing one LLM event, p50 (p99)",
                measured=_both(spent[LLM]),
                against=f"genai-prices: {_both(spent[GENAI])}",
                ratio=ratio(percentile(spent[LLM], 50), base),
            )
        ],
    )


def _reported(stage: Stage, provider: str, model: str, usage: Usage) -> UsageReported:
    return UsageReported(
        session="bench", at=_AT.timestamp(), stage=stage, provider=provider, model=model,
        usage=usage,
    )  # fmt: skip


def _genai(record: UsageReported) -> Callable[[], Decimal]:
    import genai_prices

    usage = genai_prices.Usage(
        input_tokens=record.usage.input_tokens,
        cache_read_tokens=record.usage.cached_input_tokens,
        output_tokens=record.usage.output_tokens,
    )

    def price() -> Decimal:
        return genai_prices.calc_price(
            usage, record.model, provider_id="openai", genai_request_timestamp=_AT
        ).total_price

    return price


def _in_turns(variants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[int]]:
    """Nanoseconds of every call; each round gives every variant one, in random order."""
    chance = random.Random(1)
    spent: dict[str, list[int]] = {name: [] for name in variants}
    for number in range(_WARM_UP_ROUNDS + rounds):
        for name in chance.sample(list(variants), len(variants)):
            call = variants[name]
            begun = time.perf_counter_ns()
            call()
            took = time.perf_counter_ns() - begun
            if number >= _WARM_UP_ROUNDS:
                spent[name].append(took)
    return spent


def _starts(processes: int) -> Answer:
    starts: dict[str, list[_Start]] = {name: [] for name in _FIRST}
    for _ in range(processes):
        for name, code in _FIRST.items():
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            )
            starts[name].append(_Start(*json.loads(done.stdout)))
    middle = {name: _middle(values) for name, values in starts.items()}
    ours, theirs = middle[OURS], middle[GENAI_PRICES]
    # The quickest of each: whatever else ran, it did not make these two slower.
    quickest = {name: min(start.seconds for start in values) for name, values in starts.items()}
    assert quickest[OURS] < quickest[GENAI_PRICES], quickest
    assert ours.resident < theirs.resident, f"{ours.resident} B, genai-prices {theirs.resident} B"
    return Answer(
        question="What prices cost a new process",
        method=(
            f"{processes} new interpreters each, medians: import, then load and price one LLM"
            " event; and by how much resident memory grew."
        ),
        columns=("library", "import ms", "MiB", "load and first price ms", "MiB"),
        rows=[
            (
                name,
                millis(start.imports),
                _mebibytes(start.imports_bytes),
                millis(start.first),
                _mebibytes(start.first_bytes),
            )
            for name, start in middle.items()
        ],
        quotes=[
            Quote(
                what="a new process up to its first price",
                measured=_said(ours),
                against=f"genai-prices: {_said(theirs)}",
                ratio=ratio(ours.seconds, theirs.seconds),
            )
        ],
    )


def _middle(starts: list[_Start]) -> _Start:
    return _Start(*(percentile(values, 50) for values in zip(*starts, strict=True)))


def _said(start: _Start) -> str:
    return f"{millis(start.seconds)} ms, {_mebibytes(start.resident)} MiB"


def _mebibytes(size: float) -> str:
    return digits(size / 2**20)


def _both(values: list[int]) -> str:
    return f"{micros(percentile(values, 50))} ({micros(percentile(values, 99))}) µs"
