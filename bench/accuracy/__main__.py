"""Run scripted calls whose bill is known, and compare the exporter's figures with it.

python -m bench.accuracy                  every scenario with every plugin, about three minutes
python -m bench.accuracy --simulated      without plugins
python -m bench.accuracy --json FILE      every figure, for programs
python -m bench.accuracy --quote          writes docs/accuracy.json and docs/accuracy.md
"""

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final, TypeAlias

from bench.accuracy import quote, report, scenarios
from bench.accuracy.call import Cast, simulated
from bench.accuracy.measure import Measured, measure
from bench.accuracy.script import Scenario

_PLUGINS: Final = ("anthropic", "cartesia", "deepgram", "elevenlabs", "google", "groq", "openai")


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and if asked quote."""
    parser = argparse.ArgumentParser(
        prog="bench.accuracy", description="Holds scripted calls whose bill is known."
    )
    parser.add_argument("--simulated", action="store_true", help="without LiveKit's plugins")
    parser.add_argument("--scenario", action="append", help="only this one; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where every figure goes")
    parser.add_argument("--quote", action="store_true", help="write into docs/accuracy.md")
    chosen = parser.parse_args(arguments)
    if chosen.quote and (chosen.simulated or chosen.scenario):
        parser.error("--quote takes everything; leave --simulated and --scenario out")
    known = {scenario.name: scenario for scenario in scenarios.ALL}
    unknown = [name for name in chosen.scenario or () if name not in known]
    if unknown:
        parser.error(f"no scenario '{unknown[0]}'; there are: {', '.join(known)}")
    # What goes wrong in these calls is meant to.
    logging.getLogger("livekit").setLevel(logging.CRITICAL)
    begun = time.monotonic()
    wanted = [known[name] for name in chosen.scenario or known]
    measured = _held(_simulated(wanted) if chosen.simulated else _plugins(wanted))
    print(report.as_table(measured))
    print(f"\n{len(measured)} calls in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    told = report.as_json(measured, "" if chosen.simulated else _circumstances(len(measured)))
    if chosen.json:
        chosen.json.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    if chosen.quote:
        quote.write(told)
        print(f"{quote.PAGE.name}: written", file=sys.stderr)
    return 0


_Calls: TypeAlias = list[tuple[Scenario, str, Cast]]


def _simulated(wanted: Iterable[Scenario]) -> _Calls:
    casts = {"simulated": simulated(), "by sentence": simulated(sentences=True)}
    return [(scenario, name, cast) for scenario in wanted for name, cast in casts.items()]


def _plugins(wanted: Iterable[Scenario]) -> _Calls:
    from bench.accuracy.plugins import CASTS, scripted

    return [
        (scenario, name, cast)
        for one in wanted
        for name, cast in CASTS.items()
        if (scenario := scripted(one, name)) is not None
    ]


def _held(calls: _Calls) -> list[Measured]:
    with tempfile.TemporaryDirectory() as root:
        return asyncio.run(measure(calls, Path(root)))


def _circumstances(calls: int) -> str:
    versions = {name: metadata.version(f"livekit-plugins-{name}") for name in _PLUGINS}
    same = set(versions.values())
    plugins = (
        f"plugins {same.pop()}"
        if len(same) == 1
        else ", ".join(f"{name} {version}" for name, version in versions.items())
    )
    return (
        f"`make accuracy`, one run of {calls} calls, {datetime.now(UTC):%Y-%m-%d}: livekit-agents"
        f" {metadata.version('livekit-agents')}, {plugins}."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
