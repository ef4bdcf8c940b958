"""A call in which everything happens."""

from dataclasses import replace
from typing import Final

from livekit_exporter.demo.script import ScriptedTurn, call_script

SPEED: Final = 6.0
_LONG: Final = (
    "Let me explain that to you in detail, because there is more than one way to do it. " * 8
)

EVENTFUL: Final = replace(
    call_script(1, 0),
    turns=(
        ScriptedTurn(says=("where is my order",), reply="On its way.", failures=2),
        ScriptedTurn(says=("tell me more",), reply=_LONG, interrupted_after=0.3),
        ScriptedTurn(
            says=("stop", "look it up instead"), reply="It comes tomorrow.", tool="answers"
        ),
        ScriptedTurn(says=("let me speak to somebody",), reply="I am somebody.", tool="transfers"),
    ),
)
"""The transfer takes it to a third language model."""
