"""One colour for one meaning, on every dashboard.

Green, yellow and red mean good, worse and bad, so no stage has one of them.  The
stages are apart from each other on light and on dark background, and for people
who cannot tell red from green.
"""

from typing import Final

from livekit_exporter.contract import STAGES

NEUTRAL: Final = "text"
"""A number that is neither good nor bad."""

GOOD: Final = "green"
WORSE: Final = "orange"
BAD: Final = "red"

_STAGES: Final = {
    "stt": "#5794F2",
    "llm": "#A66BE0",
    "tts": "#F2A03D",
    "realtime": "#1FA8A0",
    "turn_detection": "#E8739F",
    "interruption": "#C9B037",
    "avatar": "#A1745A",
    "platform": "#8492A6",
    "custom": "#8AB86B",
}
STAGE: Final = {stage: _STAGES[stage] for stage in STAGES}
"""Colour of each stage of the contract."""

QUANTILE: Final = {"p50": "#9FB1C9", "p95": "#3D8BFD", "p99": "#7A5CC7"}
"""Quantiles of one thing: the one that alerts watch stands out."""

REASON: Final = {
    "speculative": "#F2CC0C",
    "interrupted": "#FA6400",
    "recovery_probe": "#8AB8FF",
    "failed": "#B877D9",
    "open_connection": "#73BF69",
    "error": "#E02F44",
    "lost": "#AD0317",
}
"""Reasons with a colour of their own: those that are bad."""

ANY_IS_BAD: Final[tuple[tuple[float | None, str], ...]] = ((None, GOOD), (0.5, BAD))
"""Colours of a count that should be zero; counts over a time may be fractions."""
