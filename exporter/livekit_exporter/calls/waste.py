"""Computes the cost of replies that no caller heard, as far as LiveKit's events show it.  Pure.

An interrupted reply was generated further than it was heard.  A reply generated speculatively,
ahead of the user's turn, and thrown away was not heard at all.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, Protocol, TypeAlias, TypeVar

from livekit_exporter.calls.turns import Reply
from livekit_exporter.record import Usage

_R = TypeVar("_R", bound=Reply)
Reason: TypeAlias = Literal["interrupted", "speculative", "recovery_probe", "failed"]

_CHARACTERS_PER_SECOND: Final = 15.0
"""Speed of speech whose length nobody reports, as English voices speak."""


class CostedUsage(Protocol):
    """A report of usage with its cost, such as a row of the ledger.  Money is US dollars."""

    @property
    def stage(self) -> str:
        """Stage of the request."""
        ...

    @property
    def usage(self) -> Usage:
        """Quantities that the provider counted."""
        ...

    @property
    def cost_usd(self) -> float | None:
        """Cost; `None` while there is no price."""
        ...

    @property
    def output_usd(self) -> float:
        """Part of the cost for the model's output, 0 for speech synthesis."""
        ...

    @property
    def wasted_usd(self) -> float:
        """Part of the cost that is known to be wasted."""
        ...


def reason(turn: Reply) -> Reason | None:
    """Return why a reply's cost, or part of it, was wasted; `None` where it was not."""
    if turn.spoken:
        return "interrupted" if turn.interrupted else None
    if turn.tool_calls:
        # It acted rather than spoke, such as handing the call to another agent.
        return None
    return "interrupted" if turn.committed else "speculative"


def unfinished(turns: Iterable[_R], *, lost: bool) -> list[_R]:
    """List replies of a call that is over which answer nobody and were not heard to their end.

    Args:
        turns: All of its replies, or all that were not said or were cut off.
        lost: Its process died, perhaps in the middle of a reply: the last one was not thrown
            away.
    """
    turns = list(turns)
    unspoken = [turn for turn in turns if not turn.spoken]
    if lost and unspoken:
        unspoken.remove(max(unspoken, key=lambda turn: turn.at))
    return unspoken + [turn for turn in turns if turn.interrupted and not turn.answered]


def unheard(turn: Reply, costs: Sequence[CostedUsage]) -> list[float]:
    """Return the part of each cost that nobody heard, in US dollars.

    Of a reply that nobody heard at all, everything.  Of one that was cut off, of
    speech synthesis and of the text that it spoke, the share of characters that the
    caller did not hear; the question was needed either way, so input is none of it.
    """
    if not turn.spoken:
        return [cost.cost_usd or 0.0 for cost in costs]
    spoken = [cost for cost in costs if cost.usage.characters and not _repeated(cost)]
    sent = sum(cost.usage.characters for cost in spoken)
    share = max(0.0, 1 - _heard(turn, spoken) / sent) if sent else 0.0
    return [
        share * ((cost.cost_usd or 0.0) if cost.stage == "tts" else cost.output_usd)
        for cost in costs
    ]


def _repeated(cost: CostedUsage) -> bool:
    """Return `True` where the whole cost was wasted: another request was made for the same."""
    return 0 < (cost.cost_usd or 0.0) <= cost.wasted_usd


def _heard(turn: Reply, spoken: Sequence[CostedUsage]) -> float:
    """Return the number of characters of a reply that the caller heard.

    Its message may hold more than was heard, where nobody cuts the text to the audio; then
    the time says it, at the speed at which this reply was spoken.
    """
    if turn.spoken_seconds is None:
        return turn.characters
    timed = [cost.usage for cost in spoken if cost.usage.audio_seconds]
    speed = _CHARACTERS_PER_SECOND
    if timed:
        speed = sum(each.characters for each in timed) / sum(each.audio_seconds for each in timed)
    return min(turn.characters, turn.spoken_seconds * speed)
