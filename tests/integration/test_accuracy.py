"""What docs/accuracy.md states of LiveKit's plugins still holds.  Runs where they are installed."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Final

import pytest

pytest.importorskip("livekit.agents", reason="needs livekit-agents: pip install -e '.[agent]'")

from bench.accuracy import quote, report, scenarios
from bench.accuracy.measure import measure

if TYPE_CHECKING:
    from pathlib import Path

_PLUGINS: Final = ("openai", "cartesia", "anthropic", "deepgram")
_TOLERANCE: Final = 0.05
"""A caller cuts in at a slightly other moment each time."""

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("livekit.plugins") is None
        or any(importlib.util.find_spec(f"livekit.plugins.{name}") is None for name in _PLUGINS),
        reason="needs LiveKit's plugins: make accuracy",
    ),
    # Vendors' clients and plugins leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]


async def test_a_rerun_errs_no_more_than_the_document_states(tmp_path: Path) -> None:
    """Cut, dropped and whole calls, with two language models and two voices."""
    from bench.accuracy.plugins import CASTS

    stated = {(line["scenario"], line["plugin"]): line["error"] for line in quote.read()["lines"]}
    chosen = (scenarios.CUT_LATE, scenarios.DROP_BEFORE, scenarios.BARGE_IN_CALL)
    casts = ("openai + cartesia", "anthropic + deepgram")

    measured = await measure(
        [(scenario, cast, CASTS[cast]) for scenario in chosen for cast in casts], tmp_path
    )

    lines = report.lines(measured)
    assert len(lines) == 14
    for line in lines:
        allowed = abs(stated[line.scenario, line.plugin]) + _TOLERANCE
        assert abs(line.figures.error) <= allowed, (line.scenario, line.plugin)
