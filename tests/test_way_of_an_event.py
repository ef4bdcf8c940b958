"""The way of one event that docs/architecture.md describes is the way that events take."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("livekit.agents", reason="needs livekit-agents: pip install -e '.[agent]'")

from livekit.agents import AgentSession
from livekit.agents.metrics import LLMMetrics
from livekit.agents.voice.events import MetricsCollectedEvent

import livekit_exporter
from livekit_exporter import attach
from tests.agent.speech import ScriptedLLM
from tests.intake import Intake

if TYPE_CHECKING:
    from types import FrameType

PACKAGE = Path(livekit_exporter.__file__).parent
ARCHITECTURE = Path(__file__).resolve().parent.parent / "docs" / "architecture.md"
MOST_FILES = 20
MOST_SHAPES = 5
QUESTION_TOKENS = 1_234_567
"""No other number in the call is the same, so whatever holds it holds the event."""

DEPTH = 6
LIVEKIT = {"LLMMetrics", "MetricsCollectedEvent"}


class Tracer:
    """Notes which files of the package are handed the event, and in which shapes."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.shapes: set[str] = set()

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        """Look at the arguments of a call and at what it returns."""
        path = frame.f_code.co_filename
        if not path.startswith(str(PACKAGE)):
            return
        if event == "call":
            held = any(self._holds(value, DEPTH) for value in frame.f_locals.values())
        elif event == "return":
            held = self._holds(argument, DEPTH)
        else:
            return
        if held:
            self.files.add(str(Path(path).relative_to(PACKAGE)))

    def _holds(self, value: object, depth: int) -> bool:
        if isinstance(value, (int, float, Decimal)):
            return value == QUESTION_TOKENS
        if isinstance(value, (bytes, bytearray)):
            found = str(QUESTION_TOKENS).encode() in value
            self._note("JSON line", held=found)
            return found
        if depth == 0 or value is None or isinstance(value, str):
            return False
        if isinstance(value, Mapping):
            return self._any_holds(value.values(), depth)
        if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
            return self._any_holds(value, depth)
        parts = list(_parts(value))
        # What holds events in collections is a container of them, not another shape.
        found = self._any_holds((part for part in parts if not _is_many(part)), depth)
        self._note(type(value).__name__, held=found)
        return found | self._any_holds(filter(_is_many, parts), depth)

    def _any_holds(self, parts: Iterable[object], depth: int) -> bool:
        # All of them, because each shape is noted.
        return sum(self._holds(part, depth - 1) for part in parts) > 0

    def _note(self, shape: str, *, held: bool) -> None:
        if held:
            self.shapes.add(shape)


def _parts(value: object) -> list[object]:
    if isinstance(value, (LLMMetrics, MetricsCollectedEvent)):
        return list(vars(value).values())
    if not type(value).__module__.startswith(livekit_exporter.__name__):
        return []
    if hasattr(value, "_fields"):
        assert isinstance(value, tuple)
        return list(value)
    if is_dataclass(value):
        return [getattr(value, spec.name, None) for spec in fields(value)]
    # A class with slots keeps a few values, such as the fields that the event loop has picked.
    names = getattr(type(value), "__slots__", ())
    return [getattr(value, name, None) for name in names if name != "_records"]


def _is_many(part: object) -> bool:
    if isinstance(part, Mapping):
        # Fields of one event by name are no collection of events.
        return QUESTION_TOKENS not in part.values()
    return isinstance(part, (list, tuple)) and not hasattr(part, "_fields")


def event(tokens: int) -> MetricsCollectedEvent:
    """A finished request of a language model."""
    return MetricsCollectedEvent(
        metrics=LLMMetrics.model_validate(
            {
                "label": "livekit.plugins.openai.llm.LLM",
                "request_id": "req",
                "timestamp": time.time(),
                "duration": 1.0,
                "ttft": 0.3,
                "cancelled": False,
                "completion_tokens": 10,
                "prompt_tokens": tokens,
                "prompt_cached_tokens": 0,
                "total_tokens": tokens + 10,
                "tokens_per_second": 10.0,
                "metadata": {"model_name": "gpt-4.1-mini", "model_provider": "openai"},
            }
        )
    )


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Tracer:
    """Two events of one call from LiveKit to the page, one of them followed."""
    tracer = Tracer()
    page = asyncio.run(page_of_two_events(tmp_path_factory.mktemp("way"), tracer))

    assert "1.234574e+06" in page
    return tracer


async def page_of_two_events(data_dir: Path, tracer: Tracer) -> str:
    """Meter both on the session's loop; the page adds them up."""
    # The writer's thread takes it over when it starts.
    threading.setprofile(tracer)
    try:
        session: AgentSession[None] = AgentSession(llm=ScriptedLLM("Hello."))
        call = attach(session, agent="support", data_dir=data_dir)
        intake = Intake(data_dir)
        intake.passes()
        # Sums over both events are not the number that is looked for.
        session.emit("metrics_collected", event(7))
        assert call.flush(10)
        sys.setprofile(tracer)
        session.emit("metrics_collected", event(QUESTION_TOKENS))
        assert call.flush(10)
        intake.passes()
        return intake.page()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def listed(heading: str) -> set[str]:
    """First cells of the table below a heading, without their marks."""
    text = ARCHITECTURE.read_text("utf-8")
    assert f"\n### {heading}\n" in text
    section = re.split(r"\n#+ ", text.partition(f"\n### {heading}\n")[2])[0]
    return set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))


def test_documented_files_are_those_that_an_event_passes(traced: Tracer) -> None:
    """A newcomer who reads the list has read what happens."""
    way, beside = listed("Files"), listed("Listeners")

    assert traced.files == way | beside
    assert not way & beside
    assert len(way) <= MOST_FILES


def test_documented_shapes_are_those_that_an_event_takes(traced: Tracer) -> None:
    """Each shape has a reason; another one would be a copy."""
    shapes = listed("Shapes")

    assert traced.shapes - LIVEKIT - {"Usage"} == shapes
    assert len(shapes) <= MOST_SHAPES
