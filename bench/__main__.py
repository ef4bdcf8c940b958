"""Measure the figures that the README quotes, in one run.

python -m bench            about five minutes
python -m bench --quick    under a minute, to see that everything still runs
python -m bench --quote    writes the result into the README
"""

import argparse
import platform
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Final

from bench import exports, handlers, intake, prices, quote, reports, scrapes, spans, turns
from bench.figures import Answer, table

_QUESTIONS: Final[Sequence[Callable[[bool], list[Answer]]]] = (
    lambda quick: [intake.measure(quick=quick)],
    lambda quick: [intake.measure_replay(quick=quick)],
    lambda quick: [scrapes.measure(quick=quick)],
    lambda quick: prices.measure(quick=quick),
    lambda quick: [reports.measure(quick=quick)],
    lambda quick: [exports.measure(quick=quick)],
    # Last: it loads LiveKit, and what comes after would carry that.
    lambda quick: handlers.measure(quick=quick),
    lambda quick: [turns.measure(quick=quick)],
    # From here on every call of this process looks for spans.
    lambda quick: spans.measure(quick=quick),
)


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and if asked quote."""
    parser = argparse.ArgumentParser(prog="bench", description="Measures what the README quotes.")
    parser.add_argument("--quick", action="store_true", help="small sizes; no figures to quote")
    parser.add_argument("--quote", action="store_true", help="write the result into the README")
    chosen = parser.parse_args(arguments)
    if chosen.quick and chosen.quote:
        parser.error("--quick measures nothing worth quoting; leave one of them out")
    begun = time.monotonic()
    answers = []
    for ask in _QUESTIONS:
        for answer in ask(chosen.quick):
            print(f"## {answer.question}\n\n{answer.method}\n")
            print(table(answer.columns, answer.rows), end="\n\n", flush=True)
            answers.append(answer)
    block = quote.block(answers, _circumstances(quick=chosen.quick))
    print(block)
    print(f"\nmeasured in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    if chosen.quote:
        quote.write(block)
        print("README.md: written", file=sys.stderr)
    return 0


def _circumstances(*, quick: bool) -> str:
    versions = ", ".join(
        f"{name} {metadata.version(name)}"
        for name in ("livekit-agents", "prometheus-client", "opentelemetry-sdk", "genai-prices")
    )
    size = "a quick run, too small to quote" if quick else "one run"
    return (
        f"`make bench`, {size}, {datetime.now(UTC):%Y-%m-%d}: {platform.system()}"
        f" {platform.machine()}, {quote.cores()} shared cores, Python"
        f" {platform.python_version()}, {versions}."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
